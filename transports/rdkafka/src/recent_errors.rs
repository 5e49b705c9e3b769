//! Recent errors by place, until they end: partitions, brokers, the transaction coordinator, the client.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::codes;
use crate::log_dedup::essence;
use crate::log_lines::LogLine;

/// Maximum number of errors kept; the most recent ones stay.
const MAX_ERRORS: usize = 128;
/// How long a coordinator or a leader may be missing before it is logged: one that is created or moves is available
/// soon.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ErrorPlace {
    Partition {
        topic: String,
        partition: i32,
    },
    /// By librdkafka's name: "host:9092/1", "host:9092/bootstrap".
    Broker(String),
    Coordinator,
    Client,
}

impl ErrorPlace {
    fn is(&self, to: &str, at: i32) -> bool {
        matches!(self, Self::Partition { topic, partition } if *partition == at && topic == to)
    }
}

/// The last error seen at a place, without the times and counters in librdkafka's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecentError {
    pub(crate) place: ErrorPlace,
    /// Kafka's or librdkafka's code; 0 without one.
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

impl RecentError {
    fn new(place: ErrorPlace, code: i32, text: String, now: Instant) -> Self {
        Self { place, code, text, first: now, last: now }
    }

    /// Returns whether the partition has no leader. The error lasts until librdkafka reports a leader.
    pub(crate) fn has_no_leader(&self) -> bool {
        self.code == codes::LEADER_NOT_AVAILABLE && matches!(self.place, ErrorPlace::Partition { .. })
    }
}

/// Causes in the order in which they were last seen, the most recent one last.
#[derive(Default)]
pub(crate) struct RecentErrors(VecDeque<RecentError>);

impl RecentErrors {
    /// Adds an error event of the client.
    pub(crate) fn push_event(&mut self, code: i32, text: &str, now: Instant) {
        let text = essence(text);
        let place = match text.split_once(": ") {
            Some((name, _)) if name.contains(':') && name.contains('/') => ErrorPlace::Broker(name.to_owned()),
            _ => ErrorPlace::Client,
        };
        self.push(RecentError::new(place, code, text.to_owned(), now));
    }

    /// Adds a log line. Returns its text if it should go to the application's log.
    pub(crate) fn push_line(&mut self, line: &LogLine<'_>, now: Instant) -> Option<&str> {
        let error = match *line {
            LogLine::Refused { broker, topic, partition, code } => {
                let text = format!("{broker}: {topic}[{partition}]: {}", codes::describe(code));
                RecentError::new(ErrorPlace::Partition { topic: topic.to_owned(), partition }, code, text, now)
            }
            LogLine::NoCoordinator { what, who, code, text } => {
                let who = if who.is_empty() { String::new() } else { format!("{who}: ") };
                let text = code.map_or_else(|| text.to_owned(), codes::describe);
                let text = format!("{who}{what}: {text}");
                RecentError::new(ErrorPlace::Coordinator, code.unwrap_or(0), text, now)
            }
            LogLine::Leader { topic, partition, is_there: false } => {
                let (code, place) = (codes::LEADER_NOT_AVAILABLE, topic.to_owned());
                let text = format!("{topic}[{partition}]: {}", codes::describe(code));
                RecentError::new(ErrorPlace::Partition { topic: place, partition }, code, text, now)
            }
            LogLine::Leader { topic, partition, is_there: true } => {
                self.0.retain(|error| !(error.has_no_leader() && error.place.is(topic, partition)));
                return None;
            }
            LogLine::Coordinator => {
                self.0.retain(|error| error.place != ErrorPlace::Coordinator);
                return None;
            }
        };
        self.push(error);
        let may_pass = |error: &RecentError| error.place == ErrorPlace::Coordinator || error.has_no_leader();
        let needed = |error: &&RecentError| !may_pass(error) || now - error.first >= PATIENCE;
        self.0.back().filter(needed).map(|error| error.text.as_str())
    }

    /// Ends the errors of a partition to which a record was delivered.
    pub(crate) fn delivered(&mut self, to: &str, at: i32) {
        self.0.retain(|error| !error.place.is(to, at));
    }

    /// Returns whether a delivery could end a error.
    pub(crate) fn has_partition_errors(&self) -> bool {
        self.0.iter().any(|error| matches!(error.place, ErrorPlace::Partition { .. }))
    }

    /// Iterates over the errors, the most recent one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RecentError> + Clone {
        self.0.iter().rev()
    }

    /// Keeps one error per place; errors of the client are kept per code and text.
    fn push(&mut self, mut error: RecentError) {
        let same = |old: &RecentError| {
            old.place == error.place
                && (error.place != ErrorPlace::Client || (old.code == error.code && old.text == error.text))
        };
        if let Some(old) = self.0.iter().position(same).and_then(|at| self.0.remove(at)) {
            error.first = old.first;
        } else if self.0.len() == MAX_ERRORS {
            self.0.pop_front();
        }
        self.0.push_back(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";

    #[test]
    fn the_same_error_is_kept_once() {
        let (mut errors, start) = (RecentErrors::default(), Instant::now());
        for s in 0..25 {
            let text = format!("{REFUSED} (after {s}ms in state CONNECT, {s} identical error(s) suppressed)");
            errors.push_event(-195, &text, start + Duration::from_secs(s));
        }
        let last = start + Duration::from_secs(24);
        let place = ErrorPlace::Broker("127.0.0.1:1/bootstrap".into());
        assert_eq!(errors.0, [RecentError { place, code: -195, text: REFUSED.into(), first: start, last }]);
    }

    #[test]
    fn a_delivery_ends_what_was_wrong_with_its_partition() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        for partition in 0..2 {
            errors.push_line(&LogLine::Refused { broker: "b:1/1", topic: "t", partition, code: 19 }, now);
        }
        errors.delivered("u", 1);
        errors.delivered("t", 1);
        let left: Vec<_> = errors.iter().map(|error| error.text.as_str()).collect();
        assert_eq!(
            left,
            ["b:1/1: t[0]: fewer replicas are in sync than min.insync.replicas asks for (NOT_ENOUGH_REPLICAS)"]
        );
        assert!(errors.has_partition_errors());
        errors.delivered("t", 0);
        assert!(!errors.has_partition_errors());
    }

    #[test]
    fn a_leader_that_is_there_again_ends_its_cause() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        let line = |is_there| LogLine::Leader { topic: "t", partition: 1, is_there };
        let refused = LogLine::Refused { broker: "b:1/1", topic: "t", partition: 0, code: 19 };
        errors.push_line(&refused, now);
        assert_eq!(errors.push_line(&line(false), now), None, "it may be there in a moment");
        let text = errors.push_line(&line(false), now + PATIENCE).unwrap();
        assert_eq!(text, "t[1]: the partition has no leader now (LEADER_NOT_AVAILABLE)");
        assert_eq!(errors.push_line(&line(true), now + PATIENCE), None);
        assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), [19]);
    }

    #[test]
    fn a_coordinator_that_is_there_again_ends_its_cause() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        let line =
            LogLine::NoCoordinator { what: "no transaction coordinator", who: "b:1/1", code: Some(15), text: "x" };
        assert_eq!(errors.push_line(&line, now), None, "it may be there in a moment");
        assert_eq!(
            errors.push_line(&line, now + PATIENCE).unwrap(),
            "b:1/1: no transaction coordinator: the coordinator is not available (COORDINATOR_NOT_AVAILABLE)"
        );
        assert_eq!(errors.push_line(&LogLine::Coordinator, now), None);
        assert_eq!(errors.iter().count(), 0);
    }

    #[test]
    fn their_number_is_bounded_and_the_last_ones_stay() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        for partition in 0..500 {
            errors.push_line(&LogLine::Refused { broker: "b:1/1", topic: "t", partition, code: 7 }, now);
        }
        assert_eq!(errors.0.len(), MAX_ERRORS);
        assert_eq!(errors.iter().next().unwrap().place, ErrorPlace::Partition { topic: "t".into(), partition: 499 });
    }
}
