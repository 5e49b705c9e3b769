//! librdkafka's log lines, and the resets among them.
//!
//! When the next offset of a partition is not in its log, librdkafka continues at its beginning or end, as
//! `auto.offset.reset` says. Its only sign is a log line, which the thread that resets the partition writes while it holds
//! the partition's lock. So the line is here before anything can be read from the other place, and a reader that looks here
//! after it has taken records misses no reset. (With `auto.offset.reset=error` librdkafka reports an error. But a partition that
//! has stopped in this way can be read again only by a new assignment, and that would answer a revocation that may have come.)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::ffi::consumer::OnLog;

/// Maximum number of lines that wait for the control thread. More are dropped.
const MAX_LINES: usize = 10_000;

pub(super) struct Line {
    pub(super) level: i32,
    pub(super) facility: String,
    pub(super) text: String,
}

/// Lines and resets that were not taken yet. No lock is held while anything else is called.
#[derive(Default)]
pub(super) struct Logs {
    lines: Mutex<Vec<Line>>,
    resets: Mutex<Vec<Reset>>,
    /// Whether there are resets: a look without a lock.
    has_resets: AtomicBool,
}

/// A partition whose next offset was not in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Logs {
    pub(super) fn take_lines(&self) -> Vec<Line> {
        std::mem::take(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has_resets(&self) -> bool {
        self.has_resets.load(Ordering::Acquire)
    }

    /// The offset that was not in the log of a partition.
    pub(super) fn reset_of(&self, topic: &str, partition: i32) -> Option<i64> {
        if !self.has_resets() {
            return None;
        }
        let resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
        resets.iter().rev().find(|reset| reset.is_of(topic, partition)).map(|reset| reset.offset)
    }

    /// Forgets the resets of a partition.
    pub(super) fn forget(&self, topic: &str, partition: i32) {
        if !self.has_resets() {
            return;
        }
        let mut resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
        resets.retain(|reset| !reset.is_of(topic, partition));
        self.has_resets.store(!resets.is_empty(), Ordering::Release);
    }
}

impl OnLog for Logs {
    fn line(&self, level: i32, facility: &str, text: &str) {
        if let Some(reset) = Reset::parse(facility, text) {
            let mut resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
            resets.push(reset);
            self.has_resets.store(true, Ordering::Release);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MAX_LINES {
            lines.push(Line { level, facility: facility.to_owned(), text: text.to_owned() });
        }
    }
}

impl Reset {
    fn is_of(&self, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.topic == topic
    }

    /// Reads a line like "[thrd:main]: orders [0]: offset reset (at offset 5 (leader epoch 0), broker 1) to …". One without a
    /// number is about a place that librdkafka could not look up, and repeats the look-up.
    fn parse(facility: &str, text: &str) -> Option<Self> {
        let (place, rest) = text.split_once("]: offset reset (at offset ").filter(|_| facility == "OFFSET")?;
        let (topic, partition) = place.rsplit_once(" [")?;
        let topic = topic.rsplit_once("]: ").map_or(topic, |(_, topic)| topic);
        let digits = rest.split_once(|c: char| !c.is_ascii_digit()).map_or(rest, |(digits, _)| digits);
        Some(Self { topic: topic.to_owned(), partition: partition.parse().ok()?, offset: digits.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_read_from_librdkafkas_lines() {
        let line = "[thrd:main]: orders-1 [12]: offset reset (at offset 5 (leader epoch 0), broker 1) to cached BEGINNING \
                    offset 7 (leader epoch -1): fetch failed due to requested offset not available on the broker: Broker: \
                    Offset out of range";
        let reset = Reset { topic: "orders-1".to_owned(), partition: 12, offset: 5 };
        assert_eq!(Reset::parse("OFFSET", line), Some(reset.clone()));
        assert_eq!(Reset::parse("OFFSET", line.strip_prefix("[thrd:main]: ").unwrap()), Some(reset));
        assert_eq!(Reset::parse("FETCH", line), None);
        for other in [
            "[thrd:main]: orders [0]: offset reset (at offset BEGINNING (leader epoch -1), broker 1) to offset BEGINNING",
            "[thrd:main]: orders [0]: offset reset (at offset INVALID (leader epoch -1), broker 1) to offset END",
            "[thrd:main]: something else",
        ] {
            assert_eq!(Reset::parse("OFFSET", other), None, "{other}");
        }
    }

    #[test]
    fn a_reset_is_known_until_it_is_forgotten() {
        let logs = Logs::default();
        assert_eq!(logs.reset_of("orders", 0), None);
        for offset in [5, 9] {
            logs.line(
                4,
                "OFFSET",
                &format!("orders [0]: offset reset (at offset {offset} (leader epoch -1), broker 1)"),
            );
        }
        assert_eq!(
            (logs.reset_of("orders", 0), logs.reset_of("orders", 1), logs.reset_of("order", 0)),
            (Some(9), None, None)
        );
        logs.forget("orders", 1);
        assert!(logs.has_resets());
        logs.forget("orders", 0);
        assert!(!logs.has_resets() && logs.reset_of("orders", 0).is_none());
        assert_eq!(logs.take_lines().len(), 2);
        assert!(logs.take_lines().is_empty());
    }
}
