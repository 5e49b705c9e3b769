use super::*;

/// Two keys: the even and the odd numbers.
fn sent(records: u64) -> Ledger {
    let mut ledger = Ledger::new(2);
    (0..records).for_each(|number| assert_eq!(ledger.send(), number));
    ledger
}

fn all(mut ledger: Ledger, said: &[(u64, Said)], read: &[u64]) -> Verdict {
    said.iter().for_each(|(number, said)| ledger.said(*number, *said));
    read.iter().for_each(|number| ledger.read(*number));
    ledger.verdict(true)
}

fn delivered(numbers: &[u64]) -> Vec<(u64, Said)> {
    numbers.iter().map(|number| (*number, Said::Delivered)).collect()
}

#[test]
fn what_is_there_once_is_good_and_forgotten() {
    let mut ledger = sent(4);
    (0..4).for_each(|number| ledger.said(number, Said::Delivered));
    [1, 0, 2, 3].into_iter().for_each(|number| ledger.read(number));
    let verdict = ledger.verdict(true);
    assert!(verdict.passed(), "{verdict:?}");
    assert_eq!((verdict.counts.sent, verdict.counts.delivered, verdict.counts.read), (4, 4, 4));
    assert!(ledger.open.is_empty());
}

#[test]
fn a_record_may_be_read_before_its_answer() {
    let mut ledger = sent(2);
    (0..2).for_each(|number| ledger.read(number));
    (0..2).for_each(|number| ledger.said(number, Said::Delivered));
    assert!(ledger.verdict(true).passed() && ledger.open.is_empty());
}

#[test]
fn a_planted_loss_is_found() {
    let verdict = all(sent(3), &delivered(&[0, 1, 2]), &[0, 2]);
    assert_eq!(
        (verdict.faults.lost, verdict.faults.first.as_slice(), verdict.passed()),
        (1, &[Fault::Lost(1)][..], false)
    );
}

#[test]
fn a_loss_is_not_claimed_of_what_was_not_read() {
    let mut ledger = sent(1);
    ledger.said(0, Said::Delivered);
    let verdict = ledger.verdict(false);
    assert_eq!((verdict.faults.lost, verdict.unread, verdict.passed()), (0, 1, false));
}

#[test]
fn a_planted_double_is_found_also_of_a_record_that_was_forgotten() {
    for read in [&[0, 0, 1][..], &[0, 1, 0]] {
        let verdict = all(sent(2), &delivered(&[0, 1]), read);
        assert_eq!(verdict.faults.first, [Fault::Doubled(0)]);
        assert!(!verdict.passed() && verdict.counts.read == 2);
    }
    let verdict = all(sent(1), &[(0, Said::PossiblyPersisted)], &[0, 0]);
    assert_eq!(verdict.faults.doubled, 1, "also of one that may have been written");
}

#[test]
fn a_planted_disorder_is_found() {
    let mut ledger = sent(2);
    ledger.said(0, Said::Delivered);
    ledger.said(1, Said::Delivered);
    // Sent after 0 and 1 were delivered.
    (2..4).for_each(|number| assert_eq!(ledger.send(), number));
    let verdict = all(ledger, &delivered(&[2, 3]), &[2, 0, 1, 3]);
    assert_eq!((verdict.faults.first.as_slice(), verdict.counts.overtaken), (&[Fault::Reordered(0)][..], 1));
    assert!(!verdict.passed());
}

#[test]
fn records_in_flight_at_the_same_time_may_overtake_each_other() {
    let verdict = all(sent(4), &delivered(&[0, 1, 2, 3]), &[2, 0, 3, 1]);
    assert!(verdict.passed(), "{verdict:?}");
    assert_eq!(verdict.counts.overtaken, 2);
}

#[test]
fn what_may_have_been_written_is_no_fault_wherever_it_is() {
    let mut ledger = sent(2);
    ledger.said(0, Said::PossiblyPersisted);
    ledger.said(1, Said::PossiblyPersisted);
    ledger.send();
    ledger.said(2, Said::Delivered);
    ledger.send();
    ledger.send();
    let verdict = all(ledger, &[(3, Said::NotPersisted), (4, Said::Delivered)], &[2, 4, 0]);
    assert!(verdict.passed(), "{verdict:?}");
    assert_eq!((verdict.counts.possibly_persisted, verdict.possibly_persisted_found), (2, 1));
}

#[test]
fn a_record_that_was_not_written_must_not_be_there() {
    let verdict = all(sent(1), &[(0, Said::NotPersisted)], &[0]);
    assert_eq!(verdict.faults.first, [Fault::WrittenAfterAll(0)]);
    let mut ledger = sent(1);
    ledger.read(0);
    ledger.said(0, Said::NotPersisted);
    assert_eq!(ledger.verdict(true).faults.first, [Fault::WrittenAfterAll(0)]);
}

#[test]
fn a_run_without_deliveries_proves_nothing() {
    assert!(!all(sent(1), &[(0, Said::NotPersisted)], &[]).passed());
}

#[test]
fn faults_are_listed_up_to_a_limit_and_all_counted() {
    let numbers: Vec<_> = (0..50).collect();
    let verdict = all(sent(50), &delivered(&numbers), &[]);
    assert_eq!((verdict.faults.lost, verdict.faults.first.len()), (50, LISTED));
    let mut ledger = sent(1);
    ledger.read(7);
    ledger.damaged();
    assert_eq!(ledger.verdict(true).faults.damaged, 2, "a number that was not sent is damage, too");
}
