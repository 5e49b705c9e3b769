//! Errors of sends and calls that a sink's transactions refuse.

use std::time::Duration;

use kafka_tower_core::text::seconds;
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};

use super::state::Denied;

fn sends(count: usize) -> String {
    if count == 1 { "a send".to_owned() } else { format!("{count} sends") }
}

pub(super) fn left_out(count: usize) -> Error {
    let text = format!(
        "not committed: {} of the transaction did not reach the transport, and no caller observed the outcome",
        sends(count)
    );
    Error::new(ErrorKind::Transaction, text)
        .with_help("abort the transaction and replay it; do not drop a send before it is answered")
}

pub(super) fn still_waiting(count: usize, within: Duration) -> Error {
    let text = format!(
        "not committed: after {} {} of the transaction had neither reached the transport nor been answered",
        seconds(within),
        sends(count)
    );
    Error::new(ErrorKind::Timeout, text)
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_help("poll the sends to their outcomes and commit again, or abort")
}

/// Error of a commit that waited while another call ended the transaction. The other call's answer says how.
pub(in crate::sink) fn ended_meanwhile() -> Error {
    Error::new(ErrorKind::Transaction, "another call ended the transaction while this one waited: its answer says how")
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::PossiblyPersisted)
        .with_help("let one task begin and end transactions")
}

pub(super) fn late() -> Error {
    Error::new(ErrorKind::Transaction, "not sent: the send began before the current transaction")
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_help("send it again in the next transaction")
}

/// A layer may have given the record to a task of its own, which may still send it.
pub(super) fn late_on_its_way() -> Error {
    Error::new(
        ErrorKind::Transaction,
        "given up: the transaction of the send has ended, and the send was still in a layer",
    )
    .with_recovery(Recovery::Reject)
    .with_persistence(Persistence::PossiblyPersisted)
    .with_help(
        "send it again in the next transaction; a layer that hands records to its own task may still send this one",
    )
}

/// Error of a send that may not join the open transaction.
pub(super) fn not_sent(denied: Denied) -> Error {
    let (text, help) = match denied {
        Denied::Guarded => (
            "not sent: the open transaction belongs to its `Transaction`, and this send goes past it",
            "send with the `send` methods of the `Transaction`, or after its commit or abort",
        ),
        Denied::Dropped => (
            "not sent: the last `Transaction` was dropped without an end, and is not aborted yet",
            "begin the next transaction, which waits for the abort",
        ),
        Denied::Ended => {
            ("not sent: the transaction of this send has ended", "poll a send before its transaction is ended")
        }
    };
    misuse(text.into(), help)
}

/// Error of a call that may not change the open transaction.
pub(super) fn denied(denied: Denied, call: &'static str) -> Error {
    let (why, help) = match denied {
        Denied::Guarded => (
            "the open transaction belongs to its `Transaction`",
            "call `commit` or `abort` of the `Transaction` first, or drop it; only then begin the next one",
        ),
        Denied::Dropped => (
            "the last `Transaction` was dropped without an end, and is not aborted yet",
            "begin the next transaction, which waits for the abort",
        ),
        Denied::Ended => ("the transaction has ended", "call in order: begin, send, commit or abort"),
    };
    misuse(format!("{call}: {why}"), help)
}

fn misuse(text: String, help: &'static str) -> Error {
    Error::new(ErrorKind::Transaction, text)
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_help(help)
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_match_their_errors() {
        for count in [1, 3] {
            assert_consistent(&left_out(count));
            assert_consistent(&still_waiting(count, Duration::from_secs(30)));
        }
        for why in [Denied::Guarded, Denied::Dropped, Denied::Ended] {
            assert_consistent(&not_sent(why));
            assert_consistent(&denied(why, "commit"));
        }
        [ended_meanwhile(), late(), late_on_its_way()].iter().for_each(assert_consistent);
    }
}
