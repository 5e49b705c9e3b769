//! librdkafka's log lines, and the signs among them that it reads a partition elsewhere.
//!
//! - A reset: the next offset of the partition is not in its log. librdkafka continues at the beginning or end of the log, as
//!   `auto.offset.reset` says. (With `auto.offset.reset=error` librdkafka reports an error. But a partition that has stopped in
//!   this way can be read again only by a new assignment, and that would answer a revocation that may have come.)
//! - A look-up: librdkafka asks for the beginning or end of the log once more, and continues there. It does so if the partition
//!   was sought, or assigned again, before the answer to an earlier look-up came (librdkafka's issue 2256).
//!
//! The only sign is a log line, which the thread that moves the partition writes while it holds the partition's lock. So the
//! line is here before anything can be read from the other place, and a reader that looks here after it has taken records
//! misses none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::level_filters::LevelFilter;

use crate::ffi::consumer::OnLog;

/// Maximum number of lines that wait for the control thread. More are dropped.
const MAX_LINES: usize = 10_000;

/// syslog's level of debug lines.
const DEBUG: i32 = 7;

pub(super) struct Line {
    pub(super) level: i32,
    pub(super) facility: String,
    pub(super) text: String,
}

/// Lines and signs that were not taken yet. No lock is held while anything else is called.
#[derive(Default)]
pub(super) struct Logs {
    lines: Mutex<Vec<Line>>,
    signs: Mutex<Vec<(Place, Sign)>>,
    /// Whether there are signs: a look without a lock.
    has_signs: AtomicBool,
}

/// Why librdkafka reads a partition elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// This offset, which came next, is not in the log.
    Reset(i64),
    /// librdkafka looks up the beginning or end of the log.
    LookUp,
}

const OUTDATED: &str = "]: outdated offset response: ";
const TIMED: &str = "]: timed offset query for ";

/// A topic and a partition.
type Place = (String, i32);

impl Logs {
    pub(super) fn take_lines(&self) -> Vec<Line> {
        std::mem::take(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has_signs(&self) -> bool {
        self.has_signs.load(Ordering::Acquire)
    }

    /// The sign about a partition: the last reset, which also causes look-ups, or else a look-up.
    pub(super) fn sign_of(&self, topic: &str, partition: i32) -> Option<Sign> {
        if !self.has_signs() {
            return None;
        }
        let signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        let of_partition = signs.iter().rev().filter(|(place, _)| is(place, topic, partition)).map(|(_, sign)| *sign);
        of_partition.reduce(|newer, older| if newer == Sign::LookUp { older } else { newer })
    }

    /// Forgets a look-up that was seen, and no reset, which may have come since.
    pub(super) fn forget_look_up(&self, topic: &str, partition: i32) {
        self.retain(|place, sign| sign != Sign::LookUp || !is(place, topic, partition));
    }

    /// Forgets the signs about partitions that are not read.
    pub(super) fn forget_others(&self, is_read: impl Fn(&str, i32) -> bool) {
        self.retain(|(topic, partition), _| is_read(topic, *partition));
    }

    /// Forgets the signs about a partition.
    pub(super) fn forget(&self, topic: &str, partition: i32) {
        self.retain(|place, _| !is(place, topic, partition));
    }

    fn retain(&self, is_kept: impl Fn(&Place, Sign) -> bool) {
        if !self.has_signs() {
            return;
        }
        let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        signs.retain(|(place, sign)| is_kept(place, *sign));
        self.has_signs.store(!signs.is_empty(), Ordering::Release);
    }
}

impl OnLog for Logs {
    fn line(&self, level: i32, facility: &str, text: &str) {
        if let Some(sign) = Sign::parse(facility, text) {
            let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
            signs.retain(|known| *known != sign);
            signs.push(sign);
            self.has_signs.store(true, Ordering::Release);
        }
        // Without a subscriber, lines may go to the crate `log`.
        let shown = LevelFilter::current();
        let shows_debug = shown >= LevelFilter::DEBUG || shown == LevelFilter::OFF;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < room(level, shows_debug) {
            lines.push(Line { level, facility: facility.to_owned(), text: text.to_owned() });
        }
    }
}

/// Maximum number of lines when one of this level comes. Thousands of partitions that are assigned cause many debug lines.
fn room(level: i32, shows_debug: bool) -> usize {
    match (level, shows_debug) {
        (..DEBUG, _) => MAX_LINES,
        (_, true) => MAX_LINES / 2,
        (_, false) => 0,
    }
}

fn is((of, number): &Place, topic: &str, partition: i32) -> bool {
    *number == partition && of == topic
}

impl Sign {
    /// Reads one of the lines
    /// "[thrd:main]: orders [0]: offset reset (at offset 5 (leader epoch 0), broker 1) to …",
    /// "[thrd:main]: orders [0]: outdated offset response: (re)starting offset query timer for …",
    /// "[thrd:main]: Topic orders [0]: timed offset query for offset END (leader epoch -1) in state active".
    ///
    /// A reset without a number is about a place that librdkafka could not look up, and repeats the look-up.
    fn parse(facility: &str, text: &str) -> Option<(Place, Self)> {
        if facility != "OFFSET" {
            return None;
        }
        let reset = text.split_once("]: offset reset (at offset ");
        let look_up = || [OUTDATED, TIMED].iter().find_map(|look_up| text.split_once(look_up));
        let (place, sign) = match reset {
            Some((place, rest)) => {
                let digits = rest.split_once(|c: char| !c.is_ascii_digit()).map_or(rest, |(digits, _)| digits);
                (place, Self::Reset(digits.parse().ok()?))
            }
            None => (look_up()?.0, Self::LookUp),
        };
        let (topic, partition) = place.rsplit_once(" [")?;
        let topic = topic.rsplit_once("]: ").map_or(topic, |(_, topic)| topic);
        let topic = topic.strip_prefix("Topic ").unwrap_or(topic);
        Some(((topic.to_owned(), partition.parse().ok()?), sign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_from_librdkafkas_lines() {
        let reset = "[thrd:main]: orders-1 [12]: offset reset (at offset 5 (leader epoch 0), broker 1) to cached BEGINNING \
                     offset 7 (leader epoch -1): fetch failed due to requested offset not available on the broker: Broker: \
                     Offset out of range";
        let outdated = "[thrd:main]: orders-1 [12]: outdated offset response: (re)starting offset query timer for offset \
                        BEGINNING (leader epoch -1)";
        let timed =
            "[thrd:main]: Topic orders-1 [12]: timed offset query for offset END (leader epoch -1) in state active";
        for (line, sign) in [(reset, Sign::Reset(5)), (outdated, Sign::LookUp), (timed, Sign::LookUp)] {
            let read = Some((("orders-1".to_owned(), 12), sign));
            assert_eq!(Sign::parse("OFFSET", line), read);
            assert_eq!(Sign::parse("OFFSET", line.strip_prefix("[thrd:main]: ").unwrap()), read);
            assert_eq!(Sign::parse("FETCH", line), None);
        }
        for other in [
            "[thrd:main]: orders [0]: offset reset (at offset BEGINNING (leader epoch -1), broker 1) to offset BEGINNING",
            "[thrd:main]: orders [0]: offset reset (at offset INVALID (leader epoch -1), broker 1) to offset END",
            "[thrd:main]: orders [0]: no current leader for partition: (re)starting offset query timer for offset END",
            "[thrd:main]: something else",
        ] {
            assert_eq!(Sign::parse("OFFSET", other), None, "{other}");
        }
    }

    #[test]
    fn a_sign_is_known_until_it_is_forgotten() {
        let logs = Logs::default();
        assert_eq!(logs.sign_of("orders", 0), None);
        let look_up = |partition| format!("orders [{partition}]: outdated offset response: ");
        logs.line(7, "OFFSET", &look_up(0));
        assert_eq!(logs.sign_of("orders", 0), Some(Sign::LookUp));
        for offset in [5, 9] {
            logs.line(
                4,
                "OFFSET",
                &format!("orders [0]: offset reset (at offset {offset} (leader epoch -1), broker 1)"),
            );
            assert_eq!(logs.sign_of("orders", 0), Some(Sign::Reset(offset)));
        }
        logs.line(7, "OFFSET", &look_up(0));
        assert_eq!(
            (logs.sign_of("orders", 0), logs.sign_of("orders", 1), logs.sign_of("order", 0)),
            (Some(Sign::Reset(9)), None, None),
            "a reset that is followed by its look-up is a reset"
        );
        logs.forget("orders", 1);
        logs.forget_look_up("orders", 0);
        assert_eq!(logs.sign_of("orders", 0), Some(Sign::Reset(9)));
        logs.line(7, "OFFSET", &look_up(7));
        logs.forget_others(|topic, partition| (topic, partition) == ("orders", 0));
        assert!(logs.has_signs() && logs.sign_of("orders", 7).is_none());
        logs.forget("orders", 0);
        assert!(!logs.has_signs() && logs.sign_of("orders", 0).is_none());
        assert_eq!(logs.take_lines().iter().filter(|line| line.level < DEBUG).count(), 2);
        assert!(logs.take_lines().is_empty());
    }

    #[test]
    fn debug_lines_leave_room_for_others() {
        assert!(room(DEBUG, true) < room(4, true));
        assert_eq!((room(DEBUG, false), room(4, false)), (0, MAX_LINES));
    }
}
