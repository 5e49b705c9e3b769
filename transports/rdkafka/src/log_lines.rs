//! Reads log lines of librdkafka about errors that it retries by itself and reports in no other way. Pure.
//!
//! The lines are those of librdkafka 2.12.1 for the facets `msg`, `eos` and `topic`.

/// Meaning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LogLine<'a> {
    /// A broker rejected a batch.
    Refused { broker: &'a str, topic: &'a str, partition: i32, code: i32 },
    /// A broker answered that the partition has no leader, or has one again.
    Leader { topic: &'a str, partition: i32, is_there: bool },
    /// The transaction coordinator or the producer id is not available. `who` is the broker that said so, if one did.
    NoCoordinator { what: &'static str, who: &'a str, code: Option<i32>, text: &'a str },
    /// The coordinator is available again.
    Coordinator,
}

/// Reads a line. `code_of` finds codes by librdkafka's text and by name.
pub(crate) fn read<'a>(facility: &str, line: &'a str, code_of: impl Fn(&str) -> Option<i32>) -> Option<LogLine<'a>> {
    let line = without_thread(line);
    match facility {
        "MSGSET" => refused(line, code_of),
        "BROKER" => leader(line),
        "TXNCOORD" => coordinator(line, code_of),
        "GETPID" => producer_id(line, code_of),
        "PIDBROKER" => Some(LogLine::NoCoordinator { what: "no producer id", who: "", code: None, text: line }),
        "ADDPARTS" => {
            let (who, rest) = line.split_once(": AddPartitionsToTxn response: ")?;
            let text = rest.rsplit_once("]: ")?.1;
            Some(no_coordinator("the partition was not added to the transaction", who, text, code_of))
        }
        "ADDOFFSETS" => {
            let (who, rest) = line.strip_prefix("AddOffsetsToTxn response from ")?.split_once(": ")?;
            ended_by("the group was not added to the transaction", who, rest.split(' ').next()?, code_of)
        }
        "ENDTXN" => {
            let name = line.strip_prefix("EndTxn returned ")?.split(' ').next()?;
            ended_by("the transaction was not ended", "", name, code_of)
        }
        _ => None,
    }
}

/// Strips "[thrd:host:9092/1]: ".
pub(crate) fn without_thread(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(line, |(_, rest)| rest)
}

/// Reads "host:9092/1: topic [0]: `MessageSet` with 1 message(s) (…) encountered error: Broker: … (actions …)".
fn refused(line: &str, code_of: impl Fn(&str) -> Option<i32>) -> Option<LogLine<'_>> {
    let (broker, rest) = line.split_once(": ")?;
    let (place, rest) = rest.split_once("]: MessageSet with ")?;
    let (topic, partition) = place.rsplit_once(" [")?;
    let (text, _actions) = rest.split_once(" encountered error: ")?.1.rsplit_once(" (actions ")?;
    // Codes below -1 are librdkafka's own (a lost connection, a purge), which other sources report better.
    let code = code_of(text).filter(|code| *code > 0 || *code == -1)?;
    Some(LogLine::Refused { broker, topic, partition: partition.parse().ok()?, code })
}

/// Reads "topic [0]: leader 1 epoch 0 -> leader -1 epoch 1".
fn leader(line: &str) -> Option<LogLine<'_>> {
    let (place, rest) = line.split_once("]: leader ")?;
    let (topic, partition) = place.rsplit_once(" [")?;
    let number: i32 = rest.split_once(" -> leader ")?.1.split(' ').next()?.parse().ok()?;
    Some(LogLine::Leader { topic, partition: partition.parse().ok()?, is_there: number >= 0 })
}

fn coordinator(line: &str, code_of: impl Fn(&str) -> Option<i32>) -> Option<LogLine<'_>> {
    const WHAT: &str = "no transaction coordinator";
    // The code's name, followed by the broker's text or librdkafka's.
    for cause in ["Failed to find transaction coordinator: ", "AddPartitionsToTxn failed: ", "EndTxn failed: "] {
        if let Some((_, text)) = line.split_once(cause) {
            return Some(no_coordinator(WHAT, "", text, code_of));
        }
    }
    if let Some((_, text)) = line.split_once("Unable to query for transaction coordinator: ") {
        return Some(no_coordinator(WHAT, "", text.split_once(": ").map_or(text, |(_, text)| text), code_of));
    }
    let (_, to) = line.split_once("Transaction coordinator changed from ")?.1.split_once(" -> ")?;
    (!to.starts_with("(none)")).then_some(LogLine::Coordinator)
}

fn producer_id(line: &str, code_of: impl Fn(&str) -> Option<i32>) -> Option<LogLine<'_>> {
    if line.contains("Acquired PID") {
        return Some(LogLine::Coordinator);
    }
    let (_, rest) = line.split_once("Failed to acquire ")?;
    let (who, text) = rest.split_once(" PID from broker ")?.1.split_once(": ")?;
    Some(no_coordinator("no producer id", who, text.strip_suffix(": retrying").unwrap_or(text), code_of))
}

fn ended_by<'a>(
    what: &'static str,
    who: &'a str,
    name: &'a str,
    code_of: impl Fn(&str) -> Option<i32>,
) -> Option<LogLine<'a>> {
    Some(if name == "NO_ERROR" { LogLine::Coordinator } else { no_coordinator(what, who, name, code_of) })
}

/// The code's text comes first, followed by the broker's own.
fn no_coordinator<'a>(
    what: &'static str,
    who: &'a str,
    text: &'a str,
    code_of: impl Fn(&str) -> Option<i32>,
) -> LogLine<'a> {
    let ends = text.match_indices(": ").map(|(at, _)| at).chain([text.len()]);
    let code = ends.filter_map(|end| code_of(&text[..end])).next();
    LogLine::NoCoordinator { what, who, code, text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code_of(text: &str) -> Option<i32> {
        match text {
            "Broker: Not enough in-sync replicas" => Some(19),
            "Broker: Unknown broker error" => Some(-1),
            "Local: Broker transport failure" => Some(-195),
            "Broker: Coordinator not available" | "COORDINATOR_NOT_AVAILABLE" => Some(15),
            "Broker: Coordinator load in progress" => Some(14),
            "CONCURRENT_TRANSACTIONS" => Some(51),
            _ => None,
        }
    }

    fn msgset(text: &str) -> String {
        format!(
            "[thrd:127.0.0.1:33003/1]: 127.0.0.1:33003/1: t.a [12]: MessageSet with 1 message(s) (MsgId 1, BaseSeq 0) \
             encountered error: {text} (actions Retry,MsgNotPersisted)"
        )
    }

    #[test]
    fn a_refused_batch_names_broker_partition_and_code() {
        for (text, code) in [("Broker: Not enough in-sync replicas", 19), ("Broker: Unknown broker error", -1)] {
            let expected = LogLine::Refused { broker: "127.0.0.1:33003/1", topic: "t.a", partition: 12, code };
            assert_eq!(read("MSGSET", &msgset(text), code_of), Some(expected));
        }
        let other = format!("{} [NOT LEADER]", msgset("Broker: Not enough in-sync replicas"));
        assert!(matches!(read("MSGSET", &other, code_of), Some(LogLine::Refused { code: 19, .. })));
    }

    #[test]
    fn librdkafkas_own_codes_and_deliveries_are_no_refusals() {
        assert_eq!(read("MSGSET", &msgset("Local: Broker transport failure"), code_of), None);
        let delivered = "127.0.0.1:1/1: t [0]: MessageSet with 2 message(s) (MsgId 1, BaseSeq 0) delivered";
        assert_eq!(read("MSGSET", delivered, code_of), None);
        assert_eq!(read("PRODUCE", &msgset("Broker: Not enough in-sync replicas"), code_of), None);
    }

    #[test]
    fn a_partition_without_leader_is_seen_and_its_new_leader() {
        for (to, is_there) in [("-1 epoch 3", false), ("2 epoch 4", true)] {
            let line = format!("[thrd:main]: t.a [12]: leader 1 epoch 2 -> leader {to}");
            let expected = LogLine::Leader { topic: "t.a", partition: 12, is_there };
            assert_eq!(read("BROKER", &line, code_of), Some(expected));
        }
        let outdated =
            "t.a [12]: ignoring outdated metadata update with leader epoch 0 which is older than our cached epoch 3";
        assert_eq!(read("BROKER", outdated, code_of), None);
    }

    #[test]
    fn a_missing_coordinator_is_named_with_its_code() {
        for (facility, line, who, code) in [
            (
                "TXNCOORD",
                "[thrd:main]: Failed to find transaction coordinator: COORDINATOR_NOT_AVAILABLE: The coordinator is not available.",
                "",
                Some(15),
            ),
            (
                "TXNCOORD",
                "Transaction coordinator changed from b:1/1 -> (none): EndTxn failed: \
                 Broker: Coordinator not available",
                "",
                Some(15),
            ),
            (
                "TXNCOORD",
                "Unable to query for transaction coordinator: Acquire PID: No brokers available for Transactions",
                "",
                None,
            ),
            (
                "GETPID",
                "[thrd:main]: Failed to acquire transactional PID from broker b:1/1: Broker: Coordinator load in progress: \
                 retrying",
                "b:1/1",
                Some(14),
            ),
            (
                "ADDPARTS",
                "b:1/1: AddPartitionsToTxn response: partition \"t\": [0]: CONCURRENT_TRANSACTIONS",
                "b:1/1",
                Some(51),
            ),
            ("ADDOFFSETS", "AddOffsetsToTxn response from b:1/1: COORDINATOR_NOT_AVAILABLE (Retry)", "b:1/1", Some(15)),
            (
                "ENDTXN",
                "EndTxn returned CONCURRENT_TRANSACTIONS in state CommittingTransaction (may_retry=true)",
                "",
                Some(51),
            ),
        ] {
            match read(facility, line, code_of) {
                Some(LogLine::NoCoordinator { who: by, code: found, .. }) => {
                    assert_eq!((by, found), (who, code), "{line}")
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_line_about_an_available_coordinator_is_read() {
        for (facility, line) in [
            ("TXNCOORD", "[thrd:main]: Transaction coordinator changed from (none) -> b:1/1: FindCoordinator response"),
            ("GETPID", "[thrd:main]: Acquired PID{Id:1,Epoch:0}"),
            ("ENDTXN", "EndTxn returned NO_ERROR in state CommittingTransaction (may_retry=false)"),
            ("ADDOFFSETS", "AddOffsetsToTxn response from b:1/1: NO_ERROR ()"),
        ] {
            assert_eq!(read(facility, line, code_of), Some(LogLine::Coordinator), "{line}");
        }
        let lost = "Transaction coordinator changed from b:1/1 -> (none): lost";
        assert_eq!(read("TXNCOORD", lost, code_of), None);
    }

    proptest! {
        /// No line causes a panic, wherever it is cut.
        #[test]
        fn no_line_panics(facility in "MSGSET|BROKER|TXNCOORD|GETPID|ADDPARTS|ADDOFFSETS|ENDTXN", line in ".{0,80}", cut in 0..200usize) {
            let _ = read(&facility, &line, code_of);
            let whole = msgset("Broker: Not enough in-sync replicas");
            let _ = read(&facility, whole.get(cut..).unwrap_or_default(), code_of);
            let _ = read(&facility, whole.get(..cut).unwrap_or_default(), code_of);
        }
    }
}
