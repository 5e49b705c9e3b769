use kafka_tower_core::{Persistence, Recovery};
use proptest::prelude::*;

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
        assert!(error.message_with_causes().contains("null key"), "{error:#}");
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
    // After the request was sent, its answer decides.
    let mut client = with_record();
    client.begin_commit().unwrap();
    client.ask_end(true).unwrap();
    client.record_failed(&Error::new(ErrorKind::Timeout, "late"));
    assert_eq!(client.ask_end(true).unwrap(), Ask::As(ME));
}

#[test]
fn a_fenced_client_refuses_every_call() {
    let mut client = with_record();
    client.record_failed(&Error::new(ErrorKind::Fenced, "another"));
    let results =
        [client.begin_abort(), client.begin(), client.begin_commit(), client.may_join("send"), client.may_init()];
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Fenced);
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Init,
    Begin,
    Send,
    SendOffsets,
    RecordFails { fenced: bool },
    Commit,
    Abort,
    Ask { commit: bool },
    Answered,
    Refused,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        1 => Just(Op::Init),
        6 => Just(Op::Begin),
        6 => Just(Op::Send),
        2 => Just(Op::SendOffsets),
        3 => (0..20).prop_map(|n| Op::RecordFails { fenced: n == 0 }),
        5 => Just(Op::Commit),
        3 => Just(Op::Abort),
        5 => any::<bool>().prop_map(|commit| Op::Ask { commit }),
        4 => Just(Op::Answered),
        1 => Just(Op::Refused),
    ];
    // Most runs should get beyond the first call.
    prop::collection::vec(op, 1..60).prop_map(|mut ops| {
        ops.insert(ops.len() % 2, Op::Init);
        ops
    })
}

/// A producer's state as independent facts instead of a phase.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    has_id: bool,
    open: bool,
    failed: bool,
    /// `true` for a commit, `false` for an abort.
    ending: Option<bool>,
    asked: bool,
    /// The broker knows of the transaction.
    told: bool,
    fenced: bool,
}

/// Result of a call as the caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Ok,
    Misuse,
    MustAbort,
    Fenced,
}

impl Told {
    fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(error) => match (error.kind(), error.recovery()) {
                (ErrorKind::Fenced, _) => Self::Fenced,
                (ErrorKind::Transaction, Recovery::Reject) => Self::Misuse,
                (ErrorKind::Transaction, Recovery::AbortTransaction) => Self::MustAbort,
                other => panic!("{other:?}"),
            },
        }
    }
}

impl Facts {
    /// `fits`: the call is legal in this state. If the transaction has failed, only an abort is.
    fn told(&self, fits: bool, fails_first: bool) -> Told {
        match () {
            () if self.fenced => Told::Fenced,
            () if self.open && self.failed && fails_first => Told::MustAbort,
            () if fits => Told::Ok,
            () => Told::Misuse,
        }
    }

    fn joins(&self) -> Told {
        self.told(self.open && self.ending.is_none(), true)
    }
}

proptest! {
    #[test]
    fn the_client_agrees_with_a_naive_model(ops in ops()) {
        let mut client = TxnClient::new("id".into(), Duration::from_secs(60));
        let mut facts = Facts::default();
        for op in ops {
            let (told, expected) = match op {
                Op::Init => {
                    let result = client.may_init();
                    if result.is_ok() {
                        client.initialized(ME);
                    }
                    let expected = facts.told(!facts.has_id, false);
                    facts.has_id = true;
                    (Told::of(&result), expected)
                }
                Op::Begin => {
                    let expected = facts.told(facts.has_id && !facts.open, false);
                    if expected == Told::Ok {
                        facts = Facts { has_id: true, open: true, ..Facts::default() };
                    }
                    (Told::of(&client.begin()), expected)
                }
                Op::Send => {
                    let result = client.may_join("send");
                    if result.is_ok() {
                        let (who, known) = client.append(&"t".into(), 0).unwrap();
                        prop_assert!(who == ME && (!known || facts.told));
                        client.registered(&"t".into(), 0);
                        facts.told = true;
                    }
                    (Told::of(&result), facts.joins())
                }
                Op::SendOffsets => {
                    let result = client.ask_offsets();
                    if result.is_ok() {
                        client.has_offsets();
                        facts.told = true;
                    }
                    (Told::of(&result), facts.joins())
                }
                Op::RecordFails { fenced } => {
                    let kind = if fenced { ErrorKind::Fenced } else { ErrorKind::Rejected };
                    client.record_failed(&Error::new(kind, "no"));
                    let counts = match facts.ending {
                        None => facts.open && !facts.failed,
                        Some(commit) => commit && !facts.asked,
                    };
                    if counts && !facts.fenced {
                        (facts.failed, facts.fenced, facts.ending) = (!fenced, fenced, None);
                    }
                    continue;
                }
                Op::Commit => {
                    let expected = facts.told(facts.open && facts.ending != Some(false), true);
                    if expected == Told::Ok {
                        facts.ending = Some(true);
                    }
                    (Told::of(&client.begin_commit()), expected)
                }
                Op::Abort => {
                    let expected = facts.told(facts.open && facts.ending != Some(true), false);
                    if expected == Told::Ok {
                        (facts.ending, facts.failed) = (Some(false), false);
                    }
                    (Told::of(&client.begin_abort()), expected)
                }
                Op::Ask { commit } => {
                    let result = client.ask_end(commit);
                    let is_it = facts.ending == Some(commit);
                    if let Ok(ask) = &result {
                        prop_assert_eq!(*ask, if is_it && facts.told { Ask::As(ME) } else { Ask::Nothing });
                    }
                    let expected = facts.told(true, true);
                    facts.asked |= is_it && commit && expected == Told::Ok;
                    (Told::of(&result), expected)
                }
                Op::Answered => {
                    client.ended();
                    if facts.ending.is_some() && !facts.fenced {
                        facts = Facts { has_id: true, ..Facts::default() };
                    }
                    continue;
                }
                Op::Refused => {
                    if facts.ending.is_some() && !facts.fenced {
                        client.failed(&Error::new(ErrorKind::Transaction, "no"));
                        (facts.ending, facts.failed, facts.asked) = (None, true, false);
                    }
                    continue;
                }
            };
            prop_assert_eq!(told, expected, "{:?} {:?}", op, facts);
            prop_assert_eq!(client.was_asked(), facts.asked && !facts.fenced, "{:?} {:?}", op, facts);
        }
    }
}
