//! The texts of all errors that codes and time-outs become agree with their facts.

use std::time::{Duration, Instant};

use kafka_tower_core::{Error, Persistence, Record};
use kafka_tower_test_texts::faults;

use crate::{classify, codes, event_loop, transactions};

const ALL: [Persistence; 3] = [Persistence::NotPersisted, Persistence::PossiblyPersisted, Persistence::Persisted];

fn assert_all(errors: impl IntoIterator<Item = Error>) {
    let faults: Vec<_> = errors.into_iter().flat_map(|error| faults(&error)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn all_codes() -> impl Iterator<Item = i32> {
    codes::TABLE.iter().map(|row| row.code).chain([134, 200, -1_000])
}

fn records() -> [Record; 3] {
    let mut alone = Record::new("orders");
    alone.isolated = true;
    let mut placed = Record::new("orders");
    placed.partition = Some(1);
    [Record::new("orders"), placed, alone]
}

#[test]
fn of_reports() {
    assert_all(all_codes().flat_map(|code| {
        // With each status, and where the event loop knows better: a record without a partition was never sent.
        let told = [-1, 0, 1, 2].map(|status| classify::persistence(code, status));
        let known = told.into_iter().chain([Persistence::NotPersisted]);
        known.flat_map(move |persistence| {
            records().map(|record| classify::record_error(code, persistence, &record, Duration::ZERO))
        })
    }));
}

#[test]
fn of_calls_without_a_record() {
    assert_all(all_codes().flat_map(|code| {
        let texts = [None, Some("127.0.0.1:1/1: it failed")];
        texts.map(|text| classify::client_error(code, "cannot connect to kafka-1:9092", text).without_record())
    }));
    assert_all([event_loop::no_thread(std::io::Error::other("no memory"))]);
}

#[test]
fn of_time_outs() {
    let start = Instant::now();
    let now = start + Duration::from_secs(30);
    let given = [0, 1, 400, 1_000, 8_000, 30_000].map(Duration::from_millis);
    assert_all(given.into_iter().flat_map(|given| {
        let record = Record::new("orders").with_expires_at(start + given).with_given(given);
        let expired = |handed_over| classify::expired(&record, handed_over, now, now, None);
        [expired(true), expired(false), classify::too_late(&record)]
    }));
}

#[test]
fn of_aborted_transactions() {
    assert_all(ALL.into_iter().take(2).map(|persistence| transactions::aborted("orders", persistence)));
    assert_all([transactions::unanswered(), transactions::closed("the transaction was not begun")]);
}
