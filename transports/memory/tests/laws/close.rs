//! Law 8, first half: close delivers or reports.

use futures_util::FutureExt;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{CloseReport, ErrorKind, InFlight, Persistence};
use kafka_tower_memory::MemoryKafka;
use tokio::time::{Instant, sleep};
use tower::Service;

use crate::support::*;

fn counts(report: &CloseReport) -> (u64, u64, u64, usize) {
    (report.delivered, report.failed, report.unknown, report.undelivered.len())
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_reports_and_counts_each_once() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 2, bytes: 100 });
    let control = transport.control();
    let start = Instant::now();
    assert!(transport.call(to(0, "before")).await.is_ok());
    kafka.script().times(2).delay(10 * MS);
    kafka.script().late_by(MS).fail(broker_error());
    kafka.script().lose_answer();
    let sends: Vec<_> = (0..5).map(|n| transport.call(to(0, n))).collect();
    let close = control.close(1_000 * MS);
    let refused = transport.call(to(0, "after"));
    assert_eq!(facts(refused.now_or_never().expect("at once")), (ErrorKind::Closed, Persistence::NotPersisted));
    let report = watched(close).await.unwrap();
    assert_eq!(counts(&report), (3, 1, 1, 2), "{report}");
    let handed_back: Vec<_> = report.undelivered.iter().map(|u| u.record.value.clone().unwrap()).collect();
    assert_eq!(handed_back, ["2", "3"]);
    assert_eq!(start.elapsed(), 11 * MS, "no longer than needed");
    assert_eq!(sends.into_iter().filter_map(|send| send.now_or_never()).count(), 5);
}

#[tokio::test(start_paused = true)]
async fn records_held_at_the_deadline_are_unknown_and_parked_ones_not_written() {
    for held_append in [false, true] {
        let kafka = MemoryKafka::new().with_topic("orders", 1);
        let mut transport = kafka.transport_with(Limits { records: 2, bytes: 100 });
        let control = transport.control();
        let hold = if held_append { kafka.script().hold_append() } else { kafka.script().hold() };
        let sends: Vec<_> = (0..4).map(|n| transport.call(to(0, n))).collect();
        let report = watched(control.close(50 * MS)).await.unwrap();
        assert_eq!(counts(&report), (0, 2, 2, 4), "{report}");
        assert!(!report.is_complete());
        let outcomes: Vec<_> = sends.into_iter().map(|send| facts(send.now_or_never().expect("settled"))).collect();
        let (unknown, failed) =
            ((ErrorKind::Timeout, Persistence::PossiblyPersisted), (ErrorKind::Closed, Persistence::NotPersisted));
        assert_eq!(outcomes, [unknown, unknown, failed, failed]);
        let reported: Vec<_> =
            report.undelivered.iter().map(|u| (u.record.value.clone().unwrap(), u.error.kind())).collect();
        let kinds = [ErrorKind::Timeout, ErrorKind::Timeout, ErrorKind::Closed, ErrorKind::Closed];
        let expected: Vec<_> = ["0", "1", "2", "3"].map(bytes::Bytes::from).into_iter().zip(kinds).collect();
        assert_eq!(reported, expected);
        assert_eq!(control.in_flight(), InFlight::default());
        watched(control.flush()).await.unwrap();

        hold.release();
        assert_eq!(values(&kafka, 0), ["0", "1"], "they were in flight");
        let again = watched(control.close(MS)).await.unwrap();
        assert_eq!(counts(&again), (0, 0, 0, 0), "late reports change nothing");
        assert_eq!(control.in_flight(), InFlight::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_close_waits_for_the_same_end_and_reports_nothing() {
    let (kafka, mut transport) = orders(1);
    let control = transport.control();
    kafka.script().delay(10 * MS);
    let _send = transport.call(to(0, "a"));
    let (first, second) = (control.close(1_000 * MS), control.close(1_000 * MS));
    let (first, second) = watched(async { tokio::join!(first, second) }).await;
    assert_eq!(counts(&first.unwrap()), (1, 0, 0, 0));
    assert_eq!(counts(&second.unwrap()), (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_close_leaves_it_closed_and_the_next_one_continues() {
    let (kafka, mut transport) = orders(1);
    let control = transport.control();
    kafka.script().times(2).delay(10 * MS);
    kafka.script().late_by(20 * MS).fail(broker_error());
    let sends: Vec<_> = (0..3).map(|n| transport.call(to(0, n))).collect();
    assert!(tokio::time::timeout(MS, control.close(1_000 * MS)).await.is_err());
    sleep(12 * MS).await;
    assert_eq!(facts(transport.call(to(0, 9)).await).0, ErrorKind::Closed);
    let report = watched(control.close(1_000 * MS)).await.unwrap();
    assert_eq!(counts(&report), (2, 1, 0, 1), "{report}");
    drop(sends);
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_caller_has_timed_out_counts_by_its_final_fate() {
    let (kafka, mut transport) = orders(1);
    let control = transport.control();
    kafka.script().delay(10 * MS);
    let send = transport.call(to(0, "a").with_expires_at(Instant::now() + 5 * MS));
    assert_eq!(facts(watched(send).await).1, Persistence::PossiblyPersisted);
    let report = watched(control.close(1_000 * MS)).await.unwrap();
    assert_eq!(counts(&report), (1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_parked_record_that_expires_while_closing_is_handed_back() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let control = transport.control();
    kafka.script().delay(20 * MS);
    let _first = transport.call(to(0, "first"));
    let second = transport.call(to(0, "second").with_expires_at(Instant::now() + 5 * MS));
    let close = control.close(1_000 * MS);
    let (outcome, report) = watched(async { tokio::join!(second, close) }).await;
    let report = report.unwrap();
    assert_eq!(facts(outcome), (ErrorKind::Timeout, Persistence::NotPersisted));
    assert_eq!(counts(&report), (1, 1, 0, 1));
    assert_eq!(report.undelivered[0].record.value.as_deref(), Some(&b"second"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_was_called_before_it() {
    let (kafka, mut transport) = orders(2);
    let control = transport.control();
    let hold = kafka.script().on_partition("orders", 1).hold();
    kafka.script().on_partition("orders", 0).delay(10 * MS);
    let first = transport.call(to(0, "first"));
    let flush = control.flush();
    let _later = transport.call(to(1, "later"));
    watched(flush).await.unwrap();
    assert!(first.now_or_never().expect("flushed").is_ok());
    let mut second = control.flush();
    assert!((&mut second).now_or_never().is_none());
    hold.release();
    watched(second).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn other_transports_are_not_closed() {
    let (kafka, transport) = orders(1);
    let mut other = kafka.transport();
    assert!(transport.control().close(MS).await.unwrap().is_complete());
    assert!(other.call(to(0, "a")).await.is_ok());
}
