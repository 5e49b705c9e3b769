//! Recent errors by place, until they end: partitions, brokers, the transaction coordinator, the client.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::codes;
use crate::ffi;
use crate::lines::Line;
use crate::repeats::essence;

/// Maximum number of causes kept; the most recent ones stay.
const KEPT: usize = 128;
/// How long a coordinator or a leader may be missing before it is logged: one that is created or moves is available
/// soon.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a cause is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Partition {
        topic: String,
        partition: i32,
    },
    /// By librdkafka's name: "host:9092/1", "host:9092/bootstrap".
    Broker(String),
    Coordinator,
    Client,
}

impl Place {
    fn is(&self, to: &str, at: i32) -> bool {
        matches!(self, Self::Partition { topic, partition } if *partition == at && topic == to)
    }
}

/// The last error seen at a place, without the times and counters in librdkafka's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) place: Place,
    /// Kafka's or librdkafka's code; 0 without one.
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

impl Cause {
    fn new(place: Place, code: i32, text: String, now: Instant) -> Self {
        Self { place, code, text, first: now, last: now }
    }

    /// Returns whether the partition has no leader. The cause lasts until librdkafka reports a leader.
    pub(crate) fn has_no_leader(&self) -> bool {
        self.code == codes::LEADER_NOT_AVAILABLE && matches!(self.place, Place::Partition { .. })
    }
}

/// Causes in the order in which they were last seen, the most recent one last.
#[derive(Default)]
pub(crate) struct Causes(VecDeque<Cause>);

impl Causes {
    /// Adds an error event of the client.
    pub(crate) fn error(&mut self, code: i32, text: &str, now: Instant) {
        let text = essence(text);
        let place = match text.split_once(": ") {
            Some((name, _)) if name.contains(':') && name.contains('/') => Place::Broker(name.to_owned()),
            _ => Place::Client,
        };
        self.push(Cause::new(place, code, text.to_owned(), now));
    }

    /// Adds a log line. Returns its text if it should go to the application's log.
    pub(crate) fn line(&mut self, line: &Line<'_>, now: Instant) -> Option<&str> {
        let cause = match *line {
            Line::Refused { broker, topic, partition, code } => {
                let text = format!("{broker}: {topic}[{partition}]: {}", told(code));
                Cause::new(Place::Partition { topic: topic.to_owned(), partition }, code, text, now)
            }
            Line::NoCoordinator { what, who, code, text } => {
                let who = if who.is_empty() { String::new() } else { format!("{who}: ") };
                let text = code.map_or_else(|| text.to_owned(), told);
                let text = format!("{who}{what}: {text}");
                Cause::new(Place::Coordinator, code.unwrap_or(0), text, now)
            }
            Line::Leader { topic, partition, is_there: false } => {
                let (code, place) = (codes::LEADER_NOT_AVAILABLE, topic.to_owned());
                let text = format!("{topic}[{partition}]: {}", told(code));
                Cause::new(Place::Partition { topic: place, partition }, code, text, now)
            }
            Line::Leader { topic, partition, is_there: true } => {
                self.0.retain(|cause| !(cause.has_no_leader() && cause.place.is(topic, partition)));
                return None;
            }
            Line::Coordinator => {
                self.0.retain(|cause| cause.place != Place::Coordinator);
                return None;
            }
        };
        self.push(cause);
        let may_pass = |cause: &Cause| cause.place == Place::Coordinator || cause.has_no_leader();
        let needed = |cause: &&Cause| !may_pass(cause) || now - cause.first >= PATIENCE;
        self.0.back().filter(needed).map(|cause| cause.text.as_str())
    }

    /// Ends the causes of a partition to which a record was delivered.
    pub(crate) fn delivered(&mut self, to: &str, at: i32) {
        self.0.retain(|cause| !cause.place.is(to, at));
    }

    /// Returns whether a delivery could end a cause.
    pub(crate) fn of_partitions(&self) -> bool {
        self.0.iter().any(|cause| matches!(cause.place, Place::Partition { .. }))
    }

    /// Iterates over the causes, the most recent one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cause> + Clone {
        self.0.iter().rev()
    }

    /// Keeps one cause per place; errors of the client are kept per code and text.
    fn push(&mut self, mut cause: Cause) {
        let same = |old: &Cause| {
            old.place == cause.place
                && (cause.place != Place::Client || (old.code == cause.code && old.text == cause.text))
        };
        if let Some(old) = self.0.iter().position(same).and_then(|at| self.0.remove(at)) {
            cause.first = old.first;
        } else if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(cause);
    }
}

/// Text and name of a code.
pub(crate) fn told(code: i32) -> String {
    match codes::row_of(code) {
        Some(row) => format!("{} ({})", row.text(), row.name),
        None => format!("code {code}"),
    }
}

/// Finds a code by librdkafka's text for it, or by its name.
pub(crate) fn code_of(text: &str) -> Option<i32> {
    // Not a `HashMap`: it points into the middle of its allocation, which memcheck reports as lost.
    static CODES: OnceLock<BTreeMap<String, i32>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        codes::all().flat_map(|row| [(ffi::text_of(row.code), row.code), (row.name.to_owned(), row.code)]).collect()
    });
    // librdkafka's text for a code that it does not know: "Err-200?".
    let unknown =
        || text.strip_prefix("Err-").and_then(|rest| rest.strip_suffix('?')).and_then(|code| code.parse().ok());
    codes.get(text).copied().or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";

    #[test]
    fn the_same_error_is_kept_once() {
        let (mut causes, start) = (Causes::default(), Instant::now());
        for s in 0..25 {
            let text = format!("{REFUSED} (after {s}ms in state CONNECT, {s} identical error(s) suppressed)");
            causes.error(-195, &text, start + Duration::from_secs(s));
        }
        let last = start + Duration::from_secs(24);
        let place = Place::Broker("127.0.0.1:1/bootstrap".into());
        assert_eq!(causes.0, [Cause { place, code: -195, text: REFUSED.into(), first: start, last }]);
    }

    #[test]
    fn a_delivery_ends_what_was_wrong_with_its_partition() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        for partition in 0..2 {
            causes.line(&Line::Refused { broker: "b:1/1", topic: "t", partition, code: 19 }, now);
        }
        causes.delivered("u", 1);
        causes.delivered("t", 1);
        let left: Vec<_> = causes.iter().map(|cause| cause.text.as_str()).collect();
        assert_eq!(
            left,
            ["b:1/1: t[0]: fewer replicas are in sync than min.insync.replicas asks for (NOT_ENOUGH_REPLICAS)"]
        );
        assert!(causes.of_partitions());
        causes.delivered("t", 0);
        assert!(!causes.of_partitions());
    }

    #[test]
    fn a_leader_that_is_there_again_ends_its_cause() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        let line = |is_there| Line::Leader { topic: "t", partition: 1, is_there };
        let refused = Line::Refused { broker: "b:1/1", topic: "t", partition: 0, code: 19 };
        causes.line(&refused, now);
        assert_eq!(causes.line(&line(false), now), None, "it may be there in a moment");
        let text = causes.line(&line(false), now + PATIENCE).unwrap();
        assert_eq!(text, "t[1]: the partition has no leader now (LEADER_NOT_AVAILABLE)");
        assert_eq!(causes.line(&line(true), now + PATIENCE), None);
        assert_eq!(causes.iter().map(|cause| cause.code).collect::<Vec<_>>(), [19]);
    }

    #[test]
    fn a_coordinator_that_is_there_again_ends_its_cause() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        let line = Line::NoCoordinator { what: "no transaction coordinator", who: "b:1/1", code: Some(15), text: "x" };
        assert_eq!(causes.line(&line, now), None, "it may be there in a moment");
        assert_eq!(
            causes.line(&line, now + PATIENCE).unwrap(),
            "b:1/1: no transaction coordinator: the coordinator is not available (COORDINATOR_NOT_AVAILABLE)"
        );
        assert_eq!(causes.line(&Line::Coordinator, now), None);
        assert_eq!(causes.iter().count(), 0);
    }

    #[test]
    fn their_number_is_bounded_and_the_last_ones_stay() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        for partition in 0..500 {
            causes.line(&Line::Refused { broker: "b:1/1", topic: "t", partition, code: 7 }, now);
        }
        assert_eq!(causes.0.len(), KEPT);
        assert_eq!(causes.iter().next().unwrap().place, Place::Partition { topic: "t".into(), partition: 499 });
    }

    #[test]
    fn codes_are_known_by_librdkafkas_text_and_by_name() {
        for (text, code) in [
            ("Broker: Not enough in-sync replicas", Some(19)),
            ("COORDINATOR_NOT_AVAILABLE", Some(15)),
            ("Err-200?", Some(200)),
            ("Err-x?", None),
            ("something", None),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
        for code in [2, 6, 7, 19, 20, 56, 87, -195] {
            assert_eq!(code_of(&ffi::text_of(code)), Some(code));
        }
    }
}
