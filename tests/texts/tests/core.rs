//! The texts of `kafka-tower-core`'s errors match their facts. Its own unit tests cannot check this, because they see
//! other types.
#![allow(clippy::unwrap_used)] // a test may fail

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::error::transport;
use kafka_tower_core::validate::{partition, timestamp, topic_name};
use kafka_tower_core::{
    Assignment, Batch, BatchSink, BoxError, CommitAnswer, CommitTicket, Consumer, ConsumerEvents, ConsumerGroup, Error,
    Persistence, Record, Recovery, SeekTo, Timestamp, TopicOffset, TopicPartition, codes,
};
use kafka_tower_test_texts::{KINDS, assert_consistent};

#[test]
fn of_invalid_records() {
    for name in ["", ".", "..", "orders of today", "überweisung", "a/b", &"x".repeat(250)] {
        let error = topic_name(name).unwrap_err();
        assert_consistent(&error);
        assert_consistent(&error.without_record());
    }
    assert_consistent(&kafka_tower_core::TopicPattern::new("(").unwrap_err());
    [-1, i32::MIN].iter().for_each(|number| assert_consistent(&partition(*number).unwrap_err()));
    for millis in [0, -1, i64::MIN] {
        assert_consistent(&timestamp(Timestamp::from_millis(millis)).unwrap_err());
    }
}

const PERSISTENCES: [Persistence; 3] =
    [Persistence::NotPersisted, Persistence::PossiblyPersisted, Persistence::Persisted];

#[test]
fn of_codes() {
    for code in codes::all().map(|facts| facts.code).chain([134, -1_000]) {
        for persistence in PERSISTENCES {
            let what = transport::outcome("orders", persistence);
            assert_consistent(&codes::error(code, persistence, format!("{what}: {}", codes::describe(code))));
        }
        assert_consistent(&codes::error(code, Persistence::NotPersisted, codes::describe(code)).without_record());
    }
}

#[test]
fn of_commits() {
    for code in codes::all().map(|facts| facts.code).chain([-180, 200]) {
        match CommitAnswer::of_code(code, "orders") {
            CommitAnswer::Retry(error) | CommitAnswer::NotAMember(error) | CommitAnswer::Refused(error) => {
                assert_consistent(&error);
            }
            _ => assert_eq!(code, 0),
        }
    }
}

/// A consumer with the required methods only.
#[derive(Debug)]
struct Plain;

impl Consumer for Plain {
    fn run(&self, _: Arc<dyn ConsumerEvents>) {}
    fn notify(&self) {}
    fn poll_batch(&self, _: &Assignment, _: usize, _: &mut dyn BatchSink, _: &mut Context<'_>) -> Poll<Batch> {
        Poll::Pending
    }
    fn start(&self, _: &Assignment) {}
    fn release(&self, _: &[TopicPartition]) {}
    fn commit(&self, _: &[TopicOffset], _: CommitTicket) {}
    fn seek(&self, _: &Assignment, _: i64) {}
    fn group(&self) -> Option<ConsumerGroup> {
        None
    }
    fn leave(&self, _: Duration) {}
}

#[test]
fn of_consumers_without_look_ups() {
    let (at, second) = (TopicPartition::new("orders", 0), Duration::from_secs(1));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = Plain.committed(&[], second).as_mut().poll(&mut cx) else { panic!() };
    assert_consistent(&error);
    let Poll::Ready(Err(error)) = Plain.offset_of(&at, SeekTo::End, second).as_mut().poll(&mut cx) else { panic!() };
    assert_consistent(&error);
    let offset = Plain.offset_of(&at, SeekTo::Offset(7), second).as_mut().poll(&mut cx);
    assert!(matches!(offset, Poll::Ready(Ok(7))), "{offset:?}");
}

#[test]
fn of_transports() {
    const WHY: [Option<&str>; 2] = [None, Some("last broker error 0.4 s ago: it failed")];
    let given = [0, 1, 400, 1_000, 8_000, 30_000].map(|millis| Some(Duration::from_millis(millis)));
    let mut errors = vec![
        transport::larger_than_gate("orders", 10, 5),
        transport::larger_than_request("orders", 10, 5),
        transport::after_close("orders"),
        transport::after_sink_close("orders"),
        transport::call_after_close("the transaction was not begun"),
        transport::looked_up_at_close("orders"),
        transport::lost("orders"),
        transport::too_late(&Record::new("orders")),
        transport::too_late(&Record::new("orders").with_given(Duration::from_secs(30))),
    ];
    for why in WHY {
        errors.push(transport::without_room_at_close("orders", why));
        errors.push(transport::without_room_at_sink_close("orders", why));
        errors.extend([true, false].map(|handed_over| transport::unanswered_at_sink_close("orders", handed_over, why)));
        for given in given.into_iter().chain([None]) {
            errors.extend([true, false].map(|handed_over| transport::expired("orders", given, handed_over, why)));
        }
        let overdue = |persistence| transport::overdue("orders", Duration::from_secs(300), persistence, why);
        errors.extend(PERSISTENCES.map(overdue));
    }
    errors.extend(PERSISTENCES.into_iter().take(2).map(|persistence| transport::aborted("orders", persistence)));
    errors.push(transport::aborted_in_doubt());
    for kind in KINDS {
        let last = |recovery, persistence| {
            let error = Error::new(kind, "commit: the coordinator has no such transaction");
            transport::commit_in_doubt(error.with_recovery(recovery).with_persistence(persistence))
        };
        for recovery in [Recovery::Wait, Recovery::AbortTransaction, Recovery::Fatal, Recovery::Reject] {
            errors.extend(PERSISTENCES.into_iter().take(2).map(|persistence| last(recovery, persistence)));
        }
    }
    for persistence in PERSISTENCES {
        let what = transport::outcome(&transport::destination(&Record::new("orders")), persistence);
        let refused = |code: i32| codes::error(code, persistence, format!("{what}: {}", codes::describe(code)));
        errors.extend([codes::MESSAGE_TOO_LARGE, codes::INVALID_RECORD].map(refused).map(transport::of_isolated));
    }
    errors.iter().for_each(assert_consistent);
}

#[test]
fn of_layers_and_serializers() {
    assert_consistent(&Error::serialization("the price is not a number"));
    assert_consistent(&Error::refused("more than 10 bytes"));
    let mut errors: Vec<BoxError> = vec![
        "it failed".into(),
        io::Error::other("the disk is full").into(),
        io::Error::other(Error::refused("too large")).into(),
        tower::timeout::error::Elapsed::new().into(),
        tower::load_shed::error::Overloaded::new().into(),
    ];
    errors.extend(KINDS.map(|kind| BoxError::from(Arc::new(Error::new(kind, "it failed")))));
    errors.into_iter().map(Error::from).for_each(|error| assert_consistent(&error));
}

#[test]
fn of_attempts_in_doubt() {
    for kind in KINDS {
        let last = Error::new(kind, "not delivered to orders: the topic is gone").with_attempts(3);
        assert_consistent(&last.in_doubt_since("an earlier attempt may have been written"));
    }
}
