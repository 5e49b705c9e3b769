//! Each kind of scripted answer.

use futures_util::FutureExt;
use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{ErrorKind, Persistence, Record, Timestamp};
use kafka_tower_memory::{EPOCH, MemoryKafka};
use tokio::time::{Instant, advance};
use tower::{Service, ServiceExt};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn without_a_script_the_answer_is_ready_when_call_returns() {
    let (kafka, mut transport) = orders(2);
    let first = transport.call(to(1, "a"));
    assert_eq!(transport.control().in_flight(), Default::default());
    let delivery = first.now_or_never().expect("at once").unwrap();
    assert_eq!(delivery.to_string(), "orders[1]@0");
    assert_eq!((delivery.timestamp, delivery.persistence), (Some(EPOCH), Persistence::Persisted));
    advance(5 * MS).await;
    let second = transport.call(to(1, "b")).await.unwrap();
    assert_eq!(second.to_string(), "orders[1]@1");
    assert_eq!(second.timestamp.unwrap().as_millis(), EPOCH.as_millis() + 5);
    let own = transport.call(to(0, "c").with_timestamp(Timestamp::from_millis(7))).await.unwrap();
    assert_eq!(own.timestamp, Some(Timestamp::from_millis(7)));
    let all: Vec<_> = kafka.records("orders").iter().map(|r| (r.partition, r.offset, r.value().cloned())).collect();
    assert_eq!(all, [(0, 0, Some("c".into())), (1, 0, Some("a".into())), (1, 1, Some("b".into()))]);
    assert_eq!(kafka.len("orders"), 3);
}

#[test]
fn no_runtime_is_needed_where_nothing_waits() {
    let (kafka, mut transport) = orders(1);
    let hold = kafka.script().hold();
    let held = transport.call(to(0, "a"));
    hold.release();
    assert!(held.now_or_never().expect("released").is_ok());
    let control = transport.control();
    control.flush().now_or_never().expect("nothing in flight").unwrap();
    let report = control.close(MS).now_or_never().expect("nothing in flight").unwrap();
    assert!(report.is_complete());
}

#[tokio::test(start_paused = true)]
async fn partitions_are_the_records_own_the_keys_or_in_turn() {
    let (kafka, mut transport) = orders(3);
    for key in ["a", "b", "user-17", ""] {
        let delivery = transport.call(Record::new("orders").with_key(key)).await.unwrap();
        assert_eq!(delivery.partition, partition_for_key(key.as_bytes(), 3), "{key}");
    }
    // Each transport has its own round-robin position.
    let mut second = kafka.transport();
    for expected in [0, 1, 2, 0] {
        assert_eq!(transport.call(Record::new("orders")).await.unwrap().partition, expected);
        assert_eq!(second.call(Record::new("orders")).await.unwrap().partition, expected);
    }
    let delivery = transport.call(to(2, "x").with_key("a")).await.unwrap();
    assert_eq!(delivery.partition, 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_say_what_is_wrong() {
    let kafka = MemoryKafka::new().with_topic("orders", 3).with_max_record_bytes("orders", 10);
    let mut transport = kafka.transport_with(kafka_tower_core::gate::Limits { records: 5, bytes: 100 });
    let error = transport.call(to(7, "")).await.unwrap_err();
    assert_eq!(error.message(), "orders has no partition 7: it has 3");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    let bills = Record::new("bills");
    assert_eq!(facts(transport.call(bills.clone()).await).0, ErrorKind::UnknownTopicOrPartition);
    let error = transport.call(to(0, "x".repeat(11))).await.unwrap_err();
    assert_eq!(error.message(), "a record of 11 bytes is larger than the 10 bytes that orders accepts");
    let error = transport.call(to(0, "x".repeat(101))).await.unwrap_err();
    assert_eq!(
        error.message(),
        "a record of 101 bytes for orders is larger than the transport's whole limit of 100 bytes"
    );
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::RecordTooLarge, Persistence::NotPersisted));
    assert_eq!(facts(transport.call(Record::new("no topic!")).await).0, ErrorKind::InvalidRecord);
    assert!(kafka.is_empty());
    let kafka = kafka.with_auto_create(2);
    assert_eq!(transport.call(bills).await.unwrap().partition, 0);
    assert_eq!(kafka.partition_count("bills"), Some(2));
    assert_eq!(transport.control().partition_count("bills"), Some(2));
    assert_eq!(transport.control().in_flight(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn fail_writes_nothing_so_many_times() {
    let (kafka, mut transport) = orders(1);
    let rule = kafka.script().times(2).fail(broker_error());
    for _ in 0..2 {
        assert_eq!(facts(transport.call(to(0, "a")).await), (ErrorKind::Broker, Persistence::NotPersisted));
    }
    assert_eq!(kafka.len("orders"), 0);
    assert_eq!(transport.call(to(0, "a")).await.unwrap().offset, Some(0));
    assert_eq!(rule.used(), 2);
    let outage = kafka.script().always().fail(broker_error());
    for _ in 0..20 {
        assert!(transport.call(to(0, "b")).await.is_err());
    }
    outage.cancel();
    assert!(transport.call(to(0, "b")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn lost_answers_are_in_the_log_and_lost_requests_are_not() {
    let (kafka, mut transport) = orders(2);
    kafka.script().on_partition("orders", 1).after(2).lose_answer();
    kafka.script().on_partition("orders", 0).lose_request();
    for n in 0..5 {
        let outcome = transport.call(to(1, n)).await;
        assert_eq!(outcome.is_err(), n == 2, "the third produce to partition 1");
        if n == 2 {
            assert_eq!(facts(outcome), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
        }
    }
    assert_eq!(values(&kafka, 1), ["0", "1", "2", "3", "4"]);
    assert_eq!(facts(transport.call(to(0, 9)).await), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    assert!(values(&kafka, 0).is_empty());
    let reset = kafka_tower_core::Error::new(ErrorKind::Connection, "reset by peer");
    kafka.script().lose_answer_with(reset);
    assert_eq!(facts(transport.call(to(0, 1)).await), (ErrorKind::Connection, Persistence::PossiblyPersisted));
    assert_eq!(values(&kafka, 0), ["1"]);
}

#[test]
#[should_panic(expected = "the record is in the log")]
fn a_script_refuses_an_untrue_answer() {
    let (kafka, _) = orders(1);
    kafka.script().lose_answer_with(broker_error());
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_is_written_at_once_and_holds_back_those_behind_it() {
    let (kafka, mut transport) = orders(2);
    let start = Instant::now();
    kafka.script().delay(100 * MS);
    kafka.script().after(1).late_by(30 * MS).fail(broker_error());
    let first = transport.call(to(0, "a"));
    let second = transport.call(to(0, "b"));
    let third = transport.call(to(0, "c"));
    let other = transport.call(to(1, "d"));
    assert_eq!(values(&kafka, 0), ["a", "c"]);
    assert!(other.now_or_never().expect("partitions do not wait for each other").is_ok());
    assert_eq!((kafka.unanswered().records, kafka.unanswered().bytes), (3, 3));
    // Await the last one first: it cannot be answered before the others.
    assert_eq!(watched(third).await.unwrap().offset, Some(1));
    assert_eq!(start.elapsed(), 100 * MS);
    assert_eq!(second.now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Broker);
    assert!(first.now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_held_answer_comes_with_the_release() {
    let (kafka, mut transport) = orders(1);
    let hold = kafka.script().after(1).times(2).hold();
    let sends: Vec<_> = (0..5).map(|n| transport.call(to(0, n))).collect();
    assert_eq!((hold.held(), kafka.unanswered().records), (2, 4));
    assert_eq!(values(&kafka, 0), ["0", "1", "2", "3", "4"], "only answers are held");
    hold.release();
    for (n, send) in sends.into_iter().enumerate() {
        assert_eq!(send.now_or_never().expect("released").unwrap().offset, Some(n as i64));
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_append_keeps_later_records_out_of_the_log() {
    let (kafka, mut transport) = orders(2);
    let hold = kafka.script().on_partition("orders", 0).hold_append();
    let mut sends: Vec<_> = (0..3).map(|n| Box::pin(transport.call(to(0, n)))).collect();
    assert!(transport.call(to(1, "other")).now_or_never().is_some());
    assert!(values(&kafka, 0).is_empty());
    assert!(sends.iter_mut().all(|send| send.now_or_never().is_none()));
    drop(hold);
    assert_eq!(values(&kafka, 0), ["0", "1", "2"], "dropping releases, in order");
    assert!(sends.into_iter().all(|send| send.now_or_never().unwrap().is_ok()));
    assert!(transport.oneshot(to(0, 3)).now_or_never().unwrap().is_ok(), "the rule went with the hold");
}

#[test]
fn a_delay_whose_runtime_ends_is_an_error_and_no_hang() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (kafka, mut transport) = orders(1);
    kafka.script().always().delay(1_000 * MS);
    let guard = runtime.enter();
    let delayed = transport.call(to(0, "a"));
    drop(guard);
    drop(runtime);
    assert_eq!(facts(delayed.now_or_never().expect("settled")), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    let without = transport.call(to(0, "b"));
    assert_eq!(facts(without.now_or_never().expect("settled")).1, Persistence::PossiblyPersisted);
    assert_eq!(transport.control().in_flight(), Default::default());
}
