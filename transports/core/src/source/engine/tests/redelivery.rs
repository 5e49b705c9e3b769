//! Records that are given back, put back or rejected, and the limit of those that are unsettled.

use super::*;

#[test]
fn a_record_that_is_given_back_comes_again_after_growing_delays_with_what_follows() {
    let mut case = case(CommitStrategy::Automatic);
    for (attempt, delay) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)] {
        let (id, number) = case.read(0, false);
        assert_eq!(number, Some(attempt));
        let next = case.take(1);
        case.settle(next);
        assert_eq!(case.engine.give_back(&case.at, id, 1, case.now).settled, Settled::Done);
        assert!(case.engine.needs_turn(&case.at) && case.engine.readable().is_empty());
        assert!(case.wait(delay * SECOND - Duration::from_millis(1)).is_empty());
        let actions = case.wait(Duration::from_millis(1));
        assert!(matches!(&actions[..], [Action::Seek { to: 0, .. }]), "{actions:?}");
        assert_eq!(case.engine.readable().len(), 1);
    }
}

/// A source that takes messages before it handles them puts those back that it has not begun.
#[test]
fn a_record_that_is_put_back_comes_again_at_once_and_holds_no_drain_up() {
    let mut case = case(CommitStrategy::Automatic);
    let (begun, behind) = (case.take(0), case.take(1));
    assert!(case.engine.may_begin(&case.at, behind));
    assert_eq!(case.engine.put_back(&case.at, behind, case.now).settled, Settled::Done);
    assert!(!case.engine.may_begin(&case.at, behind) && case.engine.needs_turn(&case.at));
    let actions = case.turn();
    assert!(matches!(&actions[..], [Action::Seek { to: 1, .. }]), "{actions:?}");
    assert_eq!((case.engine.is_stale(&case.at, begun), case.engine.is_stale(&case.at, behind)), (false, true));
    let (behind, attempt) = case.read(1, false);
    assert_eq!(attempt, Some(1), "it was not tried");

    case.engine.event(case.now, GroupEvent::Revoked(vec![case.at.clone()]));
    assert!(!case.engine.may_begin(&case.at, behind) && !case.engine.is_stale(&case.at, behind));
    case.engine.put_back(&case.at, behind, case.now);
    case.settle(begun);
    let (ticket, offset) = commit(&case.turn());
    assert_eq!(offset, 1);
    let actions = case.answer(ticket, CommitAnswer::Committed);
    assert!(matches!(&actions[..], [Action::Release(_)]), "nothing is reported as unsettled: {actions:?}");
    assert!(case.engine.is_stale(&case.at, begun));
}

#[test]
fn a_record_that_failed_several_times_before_it_was_given_back_keeps_their_number() {
    let mut case = case(CommitStrategy::Automatic);
    let id = case.take(0);
    case.engine.give_back(&case.at, id, 3, case.now);
    assert!(case.wait(4 * SECOND - Duration::from_millis(1)).is_empty(), "the delay of the third attempt");
    case.wait(Duration::from_millis(1));
    assert_eq!(case.read(0, false).1, Some(4));
}

#[test]
fn a_rejected_record_stops_its_partition_until_it_is_skipped_and_what_was_read_behind_it_is_read_again() {
    let mut case = case(CommitStrategy::Each);
    let readable = case.engine.readable();
    let (bad, attempt) = case.read(0, true);
    assert_eq!(attempt, Some(1));
    let behind = case.engine.deliver(&readable[0])(1).unwrap();
    assert_eq!(case.engine.dispatch(&case.at, behind), None);
    assert!(case.wait(60 * SECOND).is_empty() && case.engine.readable().is_empty());
    assert_eq!(case.engine.skip(&case.at, bad, case.now).settled, Settled::Done);
    assert!(case.engine.needs_turn(&case.at));
    let actions = case.turn();
    let [Action::Seek { to: 1, .. }, rest @ ..] = &actions[..] else { panic!("{actions:?}") };
    let (ticket, offset) = commit(rest);
    assert_eq!(offset, 1);
    case.answer(ticket, CommitAnswer::Committed);
    assert_eq!((case.engine.closed().settled, case.engine.closed().skipped), (0, 1));
    // A rejected record holds no drain up.
    case.read(1, true);
    let actions = case.revoke();
    assert!(matches!(&actions[..], [Action::Notice(Notice::Unsettled(_)), Action::Release(_)]), "{actions:?}");
}

#[test]
fn a_full_partition_is_not_read_until_its_first_record_is_settled() {
    let mut case = case(CommitStrategy::Automatic);
    let ids = [case.take(0), case.take(1), case.take(2)];
    assert!(case.engine.readable().is_empty());
    case.settle(ids[1]);
    assert!(case.engine.readable().is_empty(), "settled behind one that is not");
    case.settle(ids[0]);
    let readable = case.engine.readable();
    assert_eq!((readable.len(), case.engine.room(&readable[0])), (1, 2));
}

/// A dead letter fails while records behind its own are in the user's hands.
#[test]
fn a_record_that_is_rejected_late_stops_its_partition_and_leaves_the_others() {
    let mut case = case(CommitStrategy::Each);
    let (first, second) = (case.take(0), case.take(1));
    assert_eq!(case.engine.reject(&case.at, first, case.now), Settled::Done);
    assert_eq!(case.engine.reject(&case.at, first, case.now), Settled::Again);
    assert!(case.engine.readable().is_empty());
    assert_eq!(case.engine.settle(&case.at, second, || case.now).settled, Settled::Done);
    assert!(case.turn().is_empty(), "nothing is committed, and it waits");
    assert_eq!(case.engine.dead_letter(&case.at, first, case.now).settled, Settled::Done);
    assert_eq!(case.engine.dead_letter(&case.at, first, case.now).settled, Settled::Again);
    let actions = case.turn();
    assert!(actions.iter().any(|action| matches!(action, Action::Seek { to: 2, .. })), "{actions:?}");
    let commits = |action: &Action| matches!(action, Action::Commit { offsets, .. } if offsets[0].offset == 2);
    assert!(actions.iter().any(commits), "{actions:?}");
    assert_eq!((case.engine.closed().settled, case.engine.closed().dead_lettered), (1, 1));
    let gone = case.take(2);
    case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert_eq!(case.engine.reject(&case.at, gone, case.now), Settled::Stale);
    assert_eq!(case.engine.dead_letter(&case.at, gone, case.now).settled, Settled::Stale);
}
