use kafka_tower_core::{Persistence, Recovery};

use super::*;

const ME: Identity = Identity { producer_id: 1, epoch: 0 };

fn ready() -> TxnClient {
    let mut client = TxnClient::new("id".into(), Duration::from_secs(60));
    client.may_init().unwrap();
    client.initialized(ME);
    client
}

fn open() -> TxnClient {
    let mut client = ready();
    client.begin().unwrap();
    client
}

fn with_record() -> TxnClient {
    let mut client = open();
    client.append(&"t".into(), 0).unwrap();
    client.registered(&"t".into(), 0);
    client
}

/// Each call in the wrong phase is a typed error that changes nothing.
#[test]
fn misuse_is_typed() {
    let misuse = |result: Result<()>| {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Transaction, Persistence::NotPersisted), "{error}");
        assert_eq!(error.recovery(), Recovery::Reject, "{error}");
    };
    let mut new = TxnClient::new("id".into(), Duration::from_secs(60));
    misuse(new.begin());
    misuse(new.begin_commit());
    misuse(new.begin_abort());
    misuse(new.may_join("send"));
    let mut client = ready();
    misuse(client.may_init());
    misuse(client.begin_commit());
    misuse(client.begin_abort());
    misuse(client.may_join("send"));
    let mut client = open();
    misuse(client.begin());
    client.begin_commit().unwrap();
    misuse(client.begin());
    misuse(client.begin_abort());
    misuse(client.may_join("send"));
    client.begin_commit().expect("the same call goes on");
    let mut client = open();
    client.begin_abort().unwrap();
    misuse(client.begin_commit());
    misuse(client.begin());
    client.begin_abort().expect("the same call goes on");
}

#[test]
fn a_transaction_that_the_broker_does_not_know_needs_no_end_there() {
    let mut client = open();
    client.begin_commit().unwrap();
    assert_eq!(client.ask_end(true).unwrap(), Ask::Nothing);
    client.ended();
    client.begin().unwrap();
    client.has_offsets();
    client.begin_commit().unwrap();
    assert_eq!(client.ask_end(true).unwrap(), Ask::As(ME));
}

#[test]
fn a_failed_record_leaves_only_the_abort() {
    let mut client = with_record();
    client.record_failed(&Error::new(ErrorKind::Rejected, "null key"));
    for result in [client.begin_commit(), client.may_join("send")] {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transaction, Recovery::AbortTransaction));
        assert!(error.to_string().contains("null key"), "{error}");
    }
    client.begin_abort().unwrap();
    assert_eq!(client.ask_end(false).unwrap(), Ask::As(ME));
    client.ended();
    client.begin().unwrap();
}

#[test]
fn a_record_that_fails_while_a_commit_waits_for_it_stops_the_commit() {
    let mut client = with_record();
    client.begin_commit().unwrap();
    client.record_failed(&Error::new(ErrorKind::Timeout, "late"));
    assert_eq!(client.ask_end(true).unwrap_err().recovery(), Recovery::AbortTransaction);
    // Not after the request went out: the answer decides then.
    let mut client = with_record();
    client.begin_commit().unwrap();
    client.ask_end(true).unwrap();
    client.record_failed(&Error::new(ErrorKind::Timeout, "late"));
    assert_eq!(client.ask_end(true).unwrap(), Ask::As(ME));
}

#[test]
fn a_fence_ends_all() {
    let mut client = with_record();
    client.record_failed(&Error::new(ErrorKind::Fenced, "another"));
    let results =
        [client.begin_abort(), client.begin(), client.begin_commit(), client.may_join("send"), client.may_init()];
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Fenced);
    }
}
