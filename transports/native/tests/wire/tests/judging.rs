//! The judge, with planted histories.

use bytes::Bytes;

use crate::history::LogView;
use crate::judge::{Judge, Outcome, Promises};
use crate::log::Entry;

const TOPIC: &str = "orders";

/// A log with these records, whose offsets begin at 10.
fn log(partition: i32, generation: u32, numbers: &[u64]) -> LogView {
    let entries = (10..).zip(numbers).map(|(offset, number)| Entry { offset, number: Some(*number), key: None });
    LogView { topic: TOPIC, generation, partition, entries: entries.collect() }
}

/// A judge to whom records 0, 1 and so on were sent, with these outcomes.
fn judge(promises: Promises, outcomes: &[Outcome]) -> Judge {
    let mut judge = Judge::new(promises);
    for (number, outcome) in (0..).zip(outcomes) {
        judge.calls(number, TOPIC, None, None);
        judge.outcome(number, outcome.clone());
    }
    judge
}

fn at(offset: i64) -> Outcome {
    Outcome::Delivered { partition: 0, offset: Some(offset) }
}

fn not() -> Outcome {
    Outcome::NotPersisted("no".into())
}

fn possibly() -> Outcome {
    Outcome::PossiblyPersisted("who knows".into())
}

/// What is found if these records, with these outcomes, are in the log of partition 0.
fn found(outcomes: &[Outcome], numbers: &[u64]) -> Vec<String> {
    texts(&judge(Promises::IDEMPOTENT, outcomes), &[log(0, 0, numbers)])
}

fn texts(judge: &Judge, logs: &[LogView]) -> Vec<String> {
    judge.verdict(logs).iter().map(ToString::to_string).collect()
}

#[test]
fn a_true_history_has_no_findings() {
    let unknown = Outcome::Delivered { partition: 0, offset: None };
    let all = [at(10), not(), possibly(), possibly(), Outcome::Dropped, Outcome::Dropped, unknown, Outcome::Written];
    assert_eq!(found(&all, &[0, 2, 4, 6]), [""; 0]);
    assert_eq!(judge(Promises::IDEMPOTENT, &all).outcomes(), [2, 1, 1, 2, 2]);
}

#[test]
fn lost() {
    assert_eq!(found(&[at(10), at(11)], &[0]), ["orders[0]: record 1 was reported at orders[0]@Some(11), and is lost"]);
    let plain = judge(Promises::PLAIN, &[at(10), at(11)]);
    assert_eq!(texts(&plain, &[log(0, 0, &[0])]), [""; 0]);
}

#[test]
fn twice() {
    for outcome in [at(10), possibly(), Outcome::Dropped, Outcome::Written] {
        let text = "orders[0]: record 0 is in the log twice: at orders[0]@10 and orders[0]@11";
        assert_eq!(found(&[outcome], &[0, 0]), [text]);
    }
    let delivered = judge(Promises::IDEMPOTENT, &[at(10)]);
    let text = "orders[0]: record 0 is in the log twice: at orders[0]@10 and orders[1]@10";
    assert_eq!(texts(&delivered, &[log(0, 0, &[0]), log(1, 0, &[0])]), [text]);
    // The topic was made anew between them.
    assert_eq!(texts(&delivered, &[log(0, 0, &[0]), log(0, 1, &[0])]), [""; 0]);
}

#[test]
fn the_wrong_place() {
    let text = "orders[0]: record 0 was reported at orders[0]@Some(11), and is at orders[0]@10";
    assert_eq!(found(&[at(11)], &[0]), [text]);
    let delivered = judge(Promises::IDEMPOTENT, &[at(10)]);
    let text = "orders[0]: record 0 was reported at orders[0]@Some(10), and is at orders[1]@10, made anew";
    assert_eq!(texts(&delivered, &[log(1, 1, &[0])]), [text]);
}

#[test]
fn not_persisted_but_in_the_log() {
    let text = "orders[0]: record 0 was reported not persisted (no), and is at orders[0]@10";
    assert_eq!(found(&[not()], &[0]), [text]);
    // Also if the topic is not there any more.
    assert_eq!(texts(&judge(Promises::IDEMPOTENT, &[not()]), &[log(0, 0, &[0]), log(0, 1, &[])]), [text]);
}

#[test]
fn order() {
    let text = "orders[0]: record 0 was sent before record 1, and is behind it";
    assert_eq!(found(&[at(11), at(10)], &[1, 0]), [text]);
    // One record that is too early accuses all that it has overtaken, and nobody else.
    assert_eq!(found(&[at(11), at(12), at(10), at(13)], &[2, 0, 1, 3]).len(), 2);
    assert_eq!(texts(&judge(Promises::PLAIN, &[at(11), at(10)]), &[log(0, 0, &[1, 0])]), [""; 0]);
    for unknown in [possibly(), Outcome::Dropped] {
        assert_eq!(found(&[unknown.clone(), at(10)], &[1, 0]), [""; 0]);
        assert_eq!(found(&[at(11), unknown], &[1, 0]), [""; 0]);
    }
}

#[test]
fn order_in_a_topic_that_was_made_anew() {
    let mut judge = Judge::new(Promises::IDEMPOTENT);
    for (number, key) in [(0, Some("a")), (1, Some("b")), (2, None), (3, None), (4, Some("a"))] {
        judge.calls(number, TOPIC, None, key.map(Bytes::from));
        judge.outcome(number, Outcome::Delivered { partition: 0, offset: None });
    }
    let found = |numbers: &[u64]| {
        let mut log = log(0, 1, numbers);
        let keys = [Some("a"), Some("b"), None, None, Some("a")];
        for entry in &mut log.entries {
            entry.key = keys[usize::try_from(entry.number.unwrap()).unwrap()].map(Bytes::from);
        }
        texts(&judge, &[log])
    };
    assert_eq!(found(&[3, 2, 1, 0, 4]), [""; 0]);
    assert_eq!(found(&[4, 3, 2, 1, 0]), ["orders[0]: record 0 was sent before record 4, and is behind it"]);
}

#[test]
fn one_outcome_for_each() {
    let mut judge = judge(Promises::IDEMPOTENT, &[at(10)]);
    judge.calls(1, TOPIC, Some(2), None);
    let text = "orders[2]: record 1 has no outcome";
    assert_eq!(texts(&judge, &[log(0, 0, &[0])]), [text]);
    judge.outcome(1, possibly());
    judge.outcome(0, not());
    let text = "record 0 has two outcomes: Delivered { partition: 0, offset: Some(10) }, then NotPersisted(\"no\")";
    assert_eq!(texts(&judge, &[log(0, 0, &[])]), [text]);
}

#[test]
fn another_record_than_was_sent() {
    let mut judge = Judge::new(Promises::IDEMPOTENT);
    judge.calls(0, TOPIC, Some(1), Some(Bytes::from_static(b"key")));
    judge.outcome(0, possibly());
    let mut log = log(0, 0, &[0, 9]);
    log.entries.push(Entry { offset: 12, number: None, key: None });
    assert_eq!(
        texts(&judge, &[log]),
        [
            "orders[0]: record 0 has another topic or key than it was sent with",
            "orders[0]: record 0 was sent to partition Some(1), and is in another",
            "orders[0]: offset 11 has a record that was never sent",
            "orders[0]: offset 12 has a record that was never sent",
        ]
    );
}

#[test]
fn a_record_that_nothing_hindered() {
    let mut judge = judge(Promises::IDEMPOTENT, &[possibly()]);
    judge.must_arrive(0);
    let text = "orders[0]: nothing hindered record 0, and it was not delivered: PossiblyPersisted(\"who knows\")";
    assert_eq!(texts(&judge, &[log(0, 0, &[0])]), [text]);
}
