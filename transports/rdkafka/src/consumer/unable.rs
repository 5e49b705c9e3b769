//! Decides which errors of the client a source is told of, and each of them once. No clock, no lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::{Error, ErrorKind, Recovery};

use crate::line_kind::essence;
use crate::{classify, codes};

/// An error that did not come for that long is news.
const QUIET: Duration = Duration::from_secs(60);

/// The errors that came last.
#[derive(Debug, Default)]
pub(super) struct Unable(BTreeMap<(i32, String), Instant>);

impl Unable {
    /// Whether the source is told of an error: it keeps something from being read, and is news. `topic` is the one that it is
    /// about, if that is known; otherwise one of `topics` that the text names.
    pub(super) fn is_news(
        &mut self,
        code: i32,
        text: &str,
        topic: Option<&str>,
        topics: &[Arc<str>],
        now: Instant,
    ) -> bool {
        if !keeps_from_reading(code) && !leaves_partitions_unread(code, text) {
            return false;
        }
        self.0.retain(|_, last| now.saturating_duration_since(*last) < QUIET);
        let named = || topics.iter().find(|topic| text.split([':', ' ', ',', '"']).any(|word| word == &***topic));
        let subject = match topic.or_else(|| named().map(|topic| &**topic)) {
            Some(topic) => topic,
            // All brokers, one after the other.
            None if is_of_all_brokers(code) => "",
            None => essence(text),
        };
        self.0.insert((code, subject.to_owned()), now).is_none()
    }
}

fn is_of_all_brokers(code: i32) -> bool {
    code == codes::LOCAL_ALL_BROKERS_DOWN
        || codes::find(code).is_some_and(|facts| facts.kind == ErrorKind::Authentication)
}

/// Not errors of single connections and requests, which are made again, nor those by which a member learns that its group has
/// moved on.
fn keeps_from_reading(code: i32) -> bool {
    use ErrorKind::{Broker, Closed, Connection, Throttled, Timeout, Transaction};
    const CORRUPT_MESSAGE: i32 = 2;
    const MEMBER_ID_REQUIRED: i32 = 79;
    match code {
        codes::LOCAL_ALL_BROKERS_DOWN | codes::LOCAL_BAD_MSG | codes::LOCAL_STATE | CORRUPT_MESSAGE => true,
        MEMBER_ID_REQUIRED => false,
        _ => codes::find(code).is_none_or(|facts| {
            !matches!(facts.kind, Broker | Closed | Connection | Throttled | Timeout | Transaction)
        }),
    }
}

/// Whether the coordinator did not tell where partitions begin, for example because it moves. librdkafka 2.12.1 does not ask it
/// again: they are not read until they are assigned again (`rd_kafka_assignment_apply_offsets`). That follows by itself if the
/// group has moved on.
fn leaves_partitions_unread(code: i32, text: &str) -> bool {
    // ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID, STALE_MEMBER_EPOCH
    !matches!(code, 22 | 25 | 27 | 82 | 113) && text.contains("Failed to fetch committed offset")
}

/// The error that the source is told of.
pub(crate) fn error(code: i32, text: &str) -> Error {
    let error = match code {
        // What is known of this code is about producers.
        codes::LOCAL_STATE => Error::new(ErrorKind::Broker, format!("cannot read: {text}")).with_error_type("_STATE"),
        _ => classify::client_error(code, "cannot read", Some(text)),
    };
    let error = error.without_record().with_recovery(Recovery::Wait);
    let help = match error.kind() {
        ErrorKind::Authorization if leaves_partitions_unread(code, text) => {
            "grant this principal READ on the group and on the topics, then restart this source: some of its partitions are not \
             read until they are assigned again"
        }
        _ if leaves_partitions_unread(code, text) => {
            "restart this source: some of its partitions are not read until they are assigned again"
        }
        ErrorKind::Authorization => "grant this principal READ on the group and on the topics",
        ErrorKind::Authentication => "correct the credentials, or the user on the brokers",
        ErrorKind::UnknownTopicOrPartition => "create the topic, or grant this principal READ and DESCRIBE on it",
        ErrorKind::Connection => "check that the brokers run and are reachable",
        _ => "remove the cause: the source goes on trying",
    };
    error.with_help(help)
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        [29, -169, 3, -187, -199, -172].into_iter().for_each(|code| assert_consistent(&error(code, "no")));
    }

    #[test]
    fn each_cause_is_told_once_until_it_was_quiet() {
        let (mut unable, start, topics) =
            (Unable::default(), Instant::now(), [Arc::from("orders"), Arc::from("bills")]);
        let mut at = |seconds, code, text: &str, topic| {
            unable.is_news(code, text, topic, &topics, start + Duration::from_secs(seconds))
        };
        assert!(at(0, 29, "Fetch from broker 1 failed: Broker: Topic authorization failed", Some("orders")));
        assert!(!at(1, 29, "Subscribed topic not available: orders: Broker: Topic authorization failed", None));
        assert!(at(1, 29, "Subscribed topic not available: bills: Broker: Topic authorization failed", None));
        assert!(at(1, 30, "JoinGroup failed: Broker: Group authorization failed", None));
        for second in 1..300 {
            assert!(!at(second, 29, "again", Some("orders")), "it does not end by repeats");
        }
        assert!(at(299 + 60, 29, "again", Some("orders")), "it was quiet");
    }

    #[test]
    fn partitions_that_are_not_read_are_told_whatever_the_code() {
        let text = "Failed to fetch committed offsets for 2 partition(s) in group \"g\": Broker: Not coordinator";
        let mut unable = Unable::default();
        assert!(unable.is_news(16, text, None, &[], Instant::now()));
        assert!(!unable.is_news(16, text, None, &[], Instant::now()));
        assert!(!unable.is_news(27, text, None, &[], Instant::now()), "the group assigns them again");
        assert!(error(16, text).help().starts_with("restart this source"));
        assert!(
            error(30, text).help().starts_with("grant this principal READ")
                && error(30, text).help().contains("then restart")
        );
        [16, 30].into_iter().for_each(|code| assert_consistent(&error(code, text)));
    }

    #[test]
    fn brokers_share_a_cause() {
        let (mut unable, start) = (Unable::default(), Instant::now());
        let mut at = |code, text: &str| unable.is_news(code, text, None, &[], start);
        assert!(at(-169, "b1:9092/1: SASL authentication error: failed (after 3ms in state AUTH_REQ)"));
        assert!(!at(-169, "b2:9092/2: SASL authentication error: failed (after 5ms in state AUTH_REQ)"));
        assert!(at(-187, "1/1 brokers are down"));
        assert!(!at(-187, "2/2 brokers are down"));
    }

    #[test]
    fn what_is_made_again_is_not_told() {
        let (mut unable, start) = (Unable::default(), Instant::now());
        for code in [-195, -193, -185, -180, 7, 14, 15, 16, 22, 25, 27, 79, 113] {
            assert!(!unable.is_news(code, "", None, &[], start), "{code}");
        }
        // A record that cannot be read, a right, a topic, a login, and a code that is not known.
        for code in [-199, 2, 23, 26, 29, 30, 3, -172, -188, 58, -169, -187, 9_999] {
            assert!(unable.is_news(code, "", None, &[], start), "{code}");
        }
    }
}
