use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::source::{Action, CommitSettings, CommitStrategy, EngineSettings, OutOfRangePolicy, Settled};
use crate::{Assignment, GroupEvent};

const SECOND: Duration = Duration::from_secs(1);

struct Case {
    engine: Engine,
    now: Instant,
    at: TopicPartition,
}

impl Case {
    fn new() -> Self {
        let commits =
            CommitSettings { strategy: CommitStrategy::Transaction, interval: SECOND, every: 1, timeout: SECOND };
        let settings = EngineSettings {
            commits,
            commit_on_revoke: true,
            drain: 10 * SECOND,
            redelivery_backoff: SECOND,
            max_unsettled: 1_000,
            locate: false,
            out_of_range: OutOfRangePolicy::default(),
            stall_warning: None,
            listener: false,
        };
        let mut case =
            Self { engine: Engine::new(settings), now: Instant::now(), at: TopicPartition::new("orders", 0) };
        case.event(GroupEvent::Assigned(vec![case.at.clone()]));
        case
    }

    fn event(&mut self, event: GroupEvent) -> Vec<Action> {
        self.engine.event(self.now, event);
        self.engine.turn(self.now).0
    }

    fn wait(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.engine.turn(self.now).0
    }

    fn assigned(&self) -> Assignment {
        self.engine.readable().remove(0)
    }

    fn assigned_after(&mut self, time: Duration) -> Assignment {
        self.wait(time);
        self.assigned()
    }

    fn take(&mut self, offset: i64) -> DeliveryId {
        let id = self.engine.deliver(&self.assigned())(offset).unwrap();
        self.engine.dispatch(&self.at, id).unwrap();
        id
    }

    fn span(&mut self, offsets: [i64; 2]) -> Span {
        let ids = offsets.map(|offset| self.take(offset));
        Span { at: self.at.clone(), first: ids[0], last: ids[1], records: 2, dead_letters: 0 }
    }

    fn end(&self, span: &Span) -> Option<i64> {
        self.engine.offsets_after(std::slice::from_ref(span)).map(|offsets| offsets[0].offset)
    }
}

#[test]
fn the_offset_is_that_of_the_next_record_or_the_position_and_nothing_else_commits() {
    let mut case = Case::new();
    let span = case.span([3, 7]);
    case.engine.reach(&case.assigned(), 12, case.now);
    assert_eq!(case.end(&span), Some(12), "behind aborted records");
    let next = case.take(14);
    assert_eq!(case.end(&span), Some(14));
    assert!(case.engine.settle_span(&span, 14));
    assert_eq!(case.engine.closed().settled, 2);
    assert_eq!(case.end(&span), None, "once");
    assert_eq!(case.end(&Span { at: case.at.clone(), first: next, last: next, records: 1, dead_letters: 0 }), Some(15));
    assert!(case.wait(60 * SECOND).is_empty(), "no commit of its own");
}

#[test]
fn dead_letters_are_counted_when_they_are_committed() {
    let mut case = Case::new();
    let span = Span { dead_letters: 1, ..case.span([3, 7]) };
    assert!(case.engine.settle_span(&span, 8) && !case.engine.settle_span(&span, 8));
    assert_eq!((case.engine.closed().settled, case.engine.closed().dead_lettered), (1, 1));
}

/// The position is committed if no record is left, and never past one.
#[test]
fn a_position_is_passed_when_all_records_before_it_are_settled() {
    let mut case = Case::new();
    assert_eq!(case.engine.passed(), [], "nothing is known");
    case.engine.reach(&case.assigned(), 3, case.now);
    let at = case.assigned();
    assert_eq!(case.engine.passed(), [(at.clone(), 3)], "what the group has is not known");
    case.engine.committed_position(&at, 3);
    assert_eq!(case.engine.passed(), []);
    let span = case.span([3, 4]);
    case.engine.reach(&at, 9, case.now);
    assert_eq!(case.engine.passed(), [], "two records are not settled");
    assert!(case.engine.settle_span(&span, 5));
    assert_eq!(case.engine.passed(), [(at.clone(), 9)]);
    let read = case.engine.deliver(&at)(11).unwrap();
    assert_eq!(case.engine.passed(), [], "one waits");
    case.engine.dispatch(&case.at, read).unwrap();
    case.engine.retry(&case.at, read, case.now + SECOND);
    let epoch = case.assigned_after(SECOND);
    case.engine.committed_position(&at, 12);
    assert_ne!(epoch, at, "it is read again");
    case.engine.reach(&epoch, 12, case.now);
    assert_eq!(case.engine.passed(), [(epoch, 12)], "an old epoch commits nothing");
    case.engine.event(case.now, GroupEvent::Revoked(vec![case.at.clone()]));
    assert_eq!(case.engine.passed(), []);
}

/// Otherwise the offset would commit a record that is in nobody's transaction.
#[test]
fn only_all_records_up_to_the_last_one_are_a_span() {
    let mut case = Case::new();
    let (first, second) = (case.take(0), case.take(1));
    let span = |first, last| {
        let records = if first == last { 1 } else { 2 };
        Span { at: TopicPartition::new("orders", 0), first, last, records, dead_letters: 0 }
    };
    assert_eq!(case.end(&span(second, second)), None, "one before it is not settled");
    let undispatched = case.engine.deliver(&case.assigned())(2).unwrap();
    assert_eq!(case.end(&span(first, undispatched)), None);
    assert_eq!(case.end(&span(first, second)), Some(2));
    let third = case.engine.dispatch(&case.at, undispatched).map(|_| undispatched).unwrap();
    assert_eq!(case.end(&span(first, third)), None, "one between them is in other hands");
    case.engine.skip(&case.at, second, case.now);
    assert_eq!(case.end(&span(first, third)), Some(3), "it is settled");
    case.engine.give_back(&case.at, third, 1, case.now);
    assert_eq!(case.end(&span(first, third)), None, "it comes again");
    assert_eq!(case.end(&span(first, first)), Some(1));
}

#[test]
fn a_revocation_waits_for_the_end_of_the_transaction_and_no_longer_than_a_drain() {
    for ends in [Some(true), Some(false), None] {
        let mut case = Case::new();
        let span = case.span([0, 1]);
        assert_eq!(case.end(&span), Some(2));
        assert!(case.event(GroupEvent::Revoked(vec![case.at.clone()])).is_empty());
        assert!(case.engine.is_draining(&case.at));
        assert_eq!(case.end(&span), Some(2), "it may still be committed");
        assert!(case.wait(10 * SECOND - Duration::from_millis(1)).is_empty());
        match ends {
            Some(true) => drop(case.engine.settle_span(&span, 2)),
            Some(false) => assert!(case.engine.rewind(&span, case.now)),
            None => {}
        }
        let actions = case.wait(Duration::from_millis(u64::from(ends.is_none())));
        let released = matches!(actions.last(), Some(Action::Release(_)));
        let unsettled = matches!(actions.first(), Some(Action::Notice(_)));
        assert_eq!((released, unsettled), (true, ends != Some(true)), "{ends:?}: {actions:?}");
        assert_eq!((case.end(&span), case.engine.is_draining(&case.at)), (None, false));
    }
}

/// The member is current again; what it has read before is not.
#[test]
fn a_span_of_an_old_epoch_is_stale() {
    let mut case = Case::new();
    let span = case.span([0, 1]);
    case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert_eq!(case.end(&span), None);
    case.event(GroupEvent::Assigned(vec![case.at.clone()]));
    let new = case.span([0, 1]);
    assert_eq!((case.end(&span), case.end(&new)), (None, Some(2)));
    assert!(!case.engine.is_current(&case.at, span.first) && case.engine.is_current(&case.at, new.first));
    // Neither end of the old one changes the new one.
    let _ = case.engine.settle_span(&span, 2);
    assert!(!case.engine.rewind(&span, case.now));
    assert_eq!((case.end(&new), case.engine.closed().settled), (Some(2), 0));
}

#[test]
fn an_abort_reads_the_records_again_and_what_follows_them() {
    let mut case = Case::new();
    let (span, behind) = (case.span([0, 4]), case.span([5, 6]));
    assert!(case.engine.rewind(&span, case.now + SECOND) && case.engine.needs_turn(&case.at));
    assert!(case.engine.readable().is_empty());
    assert!(case.wait(SECOND / 2).is_empty());
    let actions = case.wait(SECOND / 2);
    assert!(matches!(&actions[..], [Action::Seek { to: 0, .. }]), "{actions:?}");
    assert_eq!((case.end(&span), case.end(&behind)), (None, None));
    let again = case.span([0, 4]);
    assert_eq!(case.end(&again), Some(5));
    assert_eq!(case.engine.settle(&case.at, behind.first, || case.now).settled, Settled::Stale);
}

#[test]
fn a_retry_delivers_a_record_as_the_next_attempt_and_leaves_those_before_it() {
    let mut case = Case::new();
    let (span, failed, behind) = (case.span([0, 1]), case.take(2), case.take(3));
    case.engine.retry(&case.at, failed, case.now + SECOND);
    assert!(!case.engine.is_current(&case.at, behind));
    assert_eq!(case.end(&span), Some(2), "it can still be committed");
    let actions = case.wait(SECOND);
    assert!(matches!(&actions[..], [Action::Seek { to: 2, .. }]), "{actions:?}");
    assert_eq!(case.end(&span), Some(2));
    let _ = case.engine.settle_span(&span, 2);
    let again = case.engine.deliver(&case.assigned())(2).unwrap();
    assert_eq!(case.engine.dispatch(&case.at, again), Some(2));
    let behind = case.engine.deliver(&case.assigned())(3).unwrap();
    assert_eq!(case.engine.dispatch(&case.at, behind), Some(1));
}

proptest! {
    /// Transactions of any size that end in any way, with rewinds and losses between: each record is settled once, in order.
    #[test]
    fn each_record_is_settled_once_and_in_order(steps in prop::collection::vec((0..6_u8, 1..5_usize), 0..80)) {
        let mut case = Case::new();
        let (mut next, mut committed) = (0, 0);
        let mut handed: VecDeque<(i64, DeliveryId)> = VecDeque::new();
        for (what, count) in steps {
            match what {
                0 | 1 => for _ in 0..count {
                    if !case.engine.readable().is_empty() {
                        handed.push_back((next, case.take(next)));
                        next += 1 + i64::from(what);
                    }
                },
                2..4 if !handed.is_empty() => {
                    let count = count.min(handed.len());
                    let span = Span { at: case.at.clone(), first: handed[0].1, last: handed[count - 1].1, records: count, dead_letters: 0 };
                    let end = case.end(&span);
                    prop_assert_eq!(end, Some(handed.get(count).map_or(handed[count - 1].0 + 1, |(offset, _)| *offset)));
                    if what == 2 {
                        case.engine.settle_span(&span, end.unwrap());
                        handed.drain(..count);
                        committed = end.unwrap();
                    } else {
                        case.engine.rewind(&span, case.now);
                        (next, handed) = (handed[0].0, VecDeque::new());
                        case.wait(SECOND);
                    }
                }
                4 => {
                    case.event(GroupEvent::Lost(vec![case.at.clone()]));
                    case.event(GroupEvent::Assigned(vec![case.at.clone()]));
                    (next, handed) = (committed, VecDeque::new());
                }
                _ => {}
            }
            if let Some((_, first)) = handed.front() {
                prop_assert!(case.engine.is_current(&case.at, *first));
            }
        }
    }
}
