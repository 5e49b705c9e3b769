use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Error, ErrorKind, Headers, Persistence, Record, Timestamp};

use tower_service::Service as _;

use super::Applied;
use super::support::{call, delivered, numbered, within};
use crate::{Broker as _, Fixture, LogRecord};

/// Law 5 for misuse: each error is typed and says that nothing was written, and nothing was.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If not.
pub async fn every_error_states_its_persistence<F: Fixture>(fixture: &F) -> Applied {
    let mut open = fixture.open(Limits { records: 100, bytes: 1_000 }, 2).await;
    let year_1969 = Timestamp::from_millis(-1);
    let topic = open.topic.clone();
    let cases: Vec<(&str, Record, ErrorKind)> = vec![
        ("a topic name", Record::new("bad topic!"), ErrorKind::InvalidRecord),
        ("no topic name", Record::new(""), ErrorKind::InvalidRecord),
        ("a negative partition", Record::new(topic.clone()).with_partition(-7), ErrorKind::InvalidRecord),
        ("a timestamp", Record::new(topic.clone()).with_timestamp(year_1969), ErrorKind::InvalidRecord),
        ("a size", Record::new(topic.clone()).with_value(vec![0; 1_001]), ErrorKind::RecordTooLarge),
        ("a partition", Record::new(topic.clone()).with_partition(7), ErrorKind::UnknownTopicOrPartition),
    ];
    for (what, record, kind) in cases {
        let future = call(&mut open.transport, record).await;
        let error = within(fixture.patience(), what, future).await.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error:#}");
        assert_eq!(error.persistence(), Persistence::NotPersisted, "{what}");
        assert!(!error.message().is_empty() && !error.help().is_empty(), "{what}: {error:?}");
    }
    open.control
        .close(Duration::from_secs(10))
        .await
        .expect("close")
        .is_complete()
        .then_some(())
        .expect("nothing was open");
    let error = call(&mut open.transport, numbered(&topic, 1)).await;
    let error = within(fixture.patience(), "a refusal", error).await.expect_err("closed");
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::NotPersisted));
    assert_eq!(open.broker.read().await, [], "not written means not written");
    Ok(())
}

/// If the transport [gives records back](kafka_tower_core::Control::giver), each error contains its record as it
/// was sent, or with the partition that the transport chose: a layer that sends it again keeps no copy.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If not.
pub async fn an_error_gives_its_record_back<F: Fixture>(fixture: &F) -> Applied {
    let mut open = fixture.open(Limits { records: 100, bytes: 1_000 }, 2).await;
    if !open.control.gives_records_back::<F::Transport>() {
        return Ok(());
    }
    let topic = open.topic.clone();
    let of_topic = |topic: &str| {
        let mut headers = Headers::new();
        headers.push("trace", "a");
        Record::new(topic).with_key("k").with_value("v").with_headers(headers)
    };
    let record = || of_topic(&topic);
    let late = tokio::time::Instant::now();
    let cases = [
        ("a topic name", of_topic("bad topic!")),
        ("a size", record().with_value(vec![0; 1_001])),
        ("a partition that is not there", record().with_partition(7)),
        ("a deadline that has passed", record().with_expires_at(late)),
    ];
    for (what, record) in cases {
        let future = call(&mut open.transport, record.clone()).await;
        let error = within(fixture.patience(), what, future).await.expect_err(what);
        assert_given_back(error, &record, what);
    }
    let _nothing_was_open = open.control.close(Duration::from_secs(10)).await.expect("close");
    let future = call(&mut open.transport, record()).await;
    let error = within(fixture.patience(), "a refusal", future).await.expect_err("closed");
    assert_given_back(error, &record(), "after a close");
    Ok(())
}

fn assert_given_back(mut error: Error, sent: &Record, what: &str) {
    let mut given = error.take_record().unwrap_or_else(|| panic!("{what}: no record: {error:#}"));
    given.partition = sent.partition.and(given.partition);
    assert_eq!(&given, sent, "{what}: {error:#}");
}

/// A deadline resolves the future: a parked record is withdrawn and not written, one in flight may be, unless the transport knows
/// that it was not sent. Its report frees its room.
///
/// # Errors
///
/// [`NotApplicable`](crate::NotApplicable), if the broker cannot be paused.
///
/// # Panics
///
/// If not.
pub async fn a_deadline_ends_the_waiting_truthfully<F: Fixture>(fixture: &F) -> Applied {
    let mut open = fixture.open(Limits { records: 1, bytes: 1_000 }, 1).await;
    open.broker.pause().await?;
    let soon = || tokio::time::Instant::now() + Duration::from_millis(300);
    let on_its_way = call(&mut open.transport, numbered(&open.topic, 0).with_expires_at(soon())).await;
    // Called without readiness: parked behind the first.
    let parked = open.transport.clone().call(numbered(&open.topic, 1).with_expires_at(soon()));
    let late = open.transport.clone().call(numbered(&open.topic, 2).with_expires_at(tokio::time::Instant::now()));
    let mut found = Vec::new();
    for (what, future) in [("in flight", on_its_way), ("parked", parked), ("late", late)] {
        let error = within(fixture.patience(), what, future).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Timeout, "{what}: {error:#}");
        found.push((what, error));
    }
    let persistence = |at: usize| found[at].1.persistence();
    assert_eq!((persistence(1), persistence(2)), (Persistence::NotPersisted, Persistence::NotPersisted), "{found:?}");
    // A transport may know that it has not sent it, and withdraw it.
    let withdrawn = persistence(0) == Persistence::NotPersisted;
    assert!(withdrawn || persistence(0) == Persistence::PossiblyPersisted, "{found:?}");
    let held = open.control.in_flight().records;
    assert!(held == 1 || withdrawn && held == 0, "{held} in flight: its room is held until its report");
    open.broker.resume().await;
    within(fixture.patience(), "flush", open.control.flush()).await.expect("flush");
    delivered(within(fixture.patience(), "the next", call(&mut open.transport, numbered(&open.topic, 3)).await).await);
    let numbers: Vec<_> = open.broker.read().await.iter().map(LogRecord::number).collect();
    assert!(numbers == [3] || numbers == [0, 3] && !withdrawn, "{numbers:?}: what was not sent is in the log");
    Ok(())
}
