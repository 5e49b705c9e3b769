//! Decides which log lines are logged and which are only counted. Pure: the time is an argument.
//!
//! The first line of a kind is logged at once. Lines of the same kind within [`INTERVAL`] are suppressed, and the next
//! logged line says how many there were. No line is lost: logged and counted lines together are all lines.

use std::time::{Duration, Instant};

/// Interval between logged lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of kinds distinguished at a time. Further lines are one kind per severity, so that the log stays
/// bounded.
const MAX_KINDS: usize = 64;

/// Lines of an equal kind are repeats of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineKind {
    severity: u8,
    /// None: a line beyond [`MAX_KINDS`].
    text: Option<String>,
}

impl LineKind {
    /// Makes the kind of a line. `origin` separates lines with the same text. Texts are of one kind even if thread,
    /// times, counters, partitions, or the address of a host with several addresses differ. Names of brokers
    /// distinguish them.
    pub(crate) fn new(severity: u8, origin: &str, text: &str) -> Self {
        let mut kind = origin.to_owned();
        for word in essence(text).split_whitespace().filter(|word| !word.starts_with("[thrd:")) {
            kind.push(' ');
            if word.starts_with("ipv4#") || word.starts_with("ipv6#") {
                kind.push_str("address");
            } else if is_address(word) {
                kind.push_str(word);
            } else {
                kind.extend(word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }));
                fold(&mut kind);
            }
        }
        Self { severity, text: Some(kind) }
    }
}

/// Cuts the part that differs from event to event: " (after 12ms in state CONNECT, 3 identical error(s) suppressed)".
pub(crate) fn essence(text: &str) -> &str {
    let text = text.trim();
    text.split(" (after ").next().unwrap_or(text)
}

/// Returns whether the word contains an address, such as "host:9092/1".
fn is_address(word: &str) -> bool {
    word.split(':').skip(1).any(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

/// Folds each run of zeros into one.
fn fold(text: &mut String) {
    let mut last = ' ';
    text.retain(|c| std::mem::replace(&mut last, c) != '0' || c != '0');
}

/// A line to log, with the number of suppressed lines of its kind before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LoggedLine<L> {
    pub(crate) line: L,
    pub(crate) suppressed: u64,
    /// Time since the last logged line of the kind.
    pub(crate) since_last: Duration,
}

/// The kinds of lines that were logged recently.
#[derive(Debug)]
pub(crate) struct LogDedup<L>(Vec<Window<L>>);

#[derive(Debug)]
struct Window<L> {
    kind: LineKind,
    logged: Instant,
    suppressed: u64,
    last: Option<L>,
}

impl<L> Default for LogDedup<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<L> Window<L> {
    /// Returns the last suppressed line, which stands for all of them.
    fn take_suppressed(&mut self, now: Instant) -> Option<LoggedLine<L>> {
        let since_last = now.saturating_duration_since(self.logged);
        let line = self.last.take()?;
        self.logged = now;
        Some(LoggedLine { line, suppressed: std::mem::take(&mut self.suppressed).saturating_sub(1), since_last })
    }
}

impl<L> LogDedup<L> {
    /// Adds a line. Returns it if it should be logged now.
    pub(crate) fn push(&mut self, kind: LineKind, line: L, now: Instant) -> Option<LoggedLine<L>> {
        let known = |windows: &[Window<L>], kind: &LineKind| windows.iter().position(|window| window.kind == *kind);
        let beyond = |kind: &LineKind| LineKind { severity: kind.severity, text: None };
        let full = self.0.iter().filter(|window| window.kind.text.is_some()).count() >= MAX_KINDS;
        let (kind, at) = match known(&self.0, &kind) {
            None if full => (beyond(&kind), known(&self.0, &beyond(&kind))),
            at => (kind, at),
        };
        let Some(window) = at.and_then(|at| self.0.get_mut(at)) else {
            self.0.push(Window { kind, logged: now, suppressed: 0, last: None });
            return Some(LoggedLine { line, suppressed: 0, since_last: Duration::ZERO });
        };
        window.suppressed += 1;
        window.last = Some(line);
        if now.saturating_duration_since(window.logged) < INTERVAL { None } else { window.take_suppressed(now) }
    }

    /// Returns lines that were suppressed long enough. Forgets kinds without any.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<LoggedLine<L>> {
        let mut logged = Vec::new();
        self.0.retain_mut(|window| {
            if now.saturating_duration_since(window.logged) < INTERVAL {
                return true;
            }
            let line = window.take_suppressed(now);
            let keep = line.is_some();
            logged.extend(line);
            keep
        });
        logged
    }

    /// Returns everything that is still suppressed.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<LoggedLine<L>> {
        self.0.drain(..).filter_map(|mut window| window.take_suppressed(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        LogLine(u8, u16),
        Tick,
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let step = prop_oneof![
            // Few kinds that repeat, and more kinds than are distinguished.
            6 => (0..3u8, 0..4u16).prop_map(|(severity, kind)| Step::LogLine(severity, kind)),
            6 => (0..3u8, 0..400u16).prop_map(|(severity, kind)| Step::LogLine(severity, kind)),
            2 => Just(Step::Tick),
        ];
        let pause = prop_oneof![90 => 0..10u64, 2 => 0..1_500u64, 1 => 0..15_000u64];
        prop::collection::vec((pause, step), 0..600)
    }

    proptest! {
        /// Logged and counted lines are all lines; a kind is logged at once, and then once in 10 s; the log is bounded.
        #[test]
        fn every_line_is_logged_or_counted_and_the_log_is_bounded(steps in steps()) {
            let (start, mut ms) = (Instant::now(), 0);
            let mut dedup = LogDedup::default();
            let (mut pushed, mut counted) = (0, 0);
            let (mut all, mut last) = (Vec::new(), BTreeMap::new());
            for (pause, step) in steps {
                ms += pause;
                let now = start + Duration::from_millis(ms);
                // A line beyond the maximum may be of a kind that was logged.
                let full = dedup.0.len() >= MAX_KINDS || dedup.0.iter().any(|window| window.kind.text.is_none());
                let logged = match step {
                    Step::LogLine(severity, kind) => {
                        pushed += 1;
                        // Not a number: runs of digits are folded.
                        let name = "x".repeat(usize::from(kind));
                        let logged = dedup.push(LineKind::new(severity, &name, ""), (severity, kind), now);
                        let fresh = last.get(&(severity, kind)).is_none_or(|(logged, _): &(u64, bool)| ms - logged >= 10_000);
                        prop_assert!(logged.is_some() || !fresh || full, "a new kind is logged at once");
                        logged.into_iter().collect()
                    }
                    Step::Tick => dedup.due(now),
                };
                for logged in logged {
                    counted += 1 + logged.suppressed;
                    prop_assert!(logged.suppressed == 0 || logged.since_last >= INTERVAL);
                    let before = last.insert(logged.line, (ms, full)).filter(|(_, then)| !full && !then);
                    prop_assert!(before.is_none_or(|(before, _)| ms - before >= 10_000), "{:?} twice", logged.line);
                    all.push(ms);
                }
            }
            counted += dedup.end(start + Duration::from_millis(ms)).iter().map(|line| 1 + line.suppressed).sum::<u64>();
            prop_assert_eq!(counted, pushed);
            for (i, from) in all.iter().enumerate() {
                let within = all[i..].iter().take_while(|ms| *ms - from < 10_000).count();
                prop_assert!(within <= MAX_KINDS + 3, "{} lines in 10 s", within);
            }
        }
    }

    fn kind(text: &str) -> LineKind {
        LineKind::new(3, "FAIL", text)
    }

    #[test]
    fn three_hundred_attempts_are_one_line_in_ten_seconds() {
        let (mut repeats, start) = (LogDedup::default(), Instant::now());
        let mut logged = Vec::new();
        for i in 0..900u64 {
            let text = format!(
                "[thrd:b:1/1]: b:1/1: Connect to ipv{}#[::1]:1 failed: refused (after {i}ms in state X)",
                4 + i % 2 * 2
            );
            let now = start + Duration::from_millis(i * 100 / 3);
            logged.extend(repeats.due(now));
            logged.extend(repeats.push(kind(&text), i, now));
        }
        logged.extend(repeats.end(start + Duration::from_secs(30)));
        let suppressed: Vec<_> = logged.iter().map(|logged| logged.suppressed).collect();
        assert_eq!(logged.len(), 4, "{suppressed:?}");
        assert_eq!(suppressed.iter().sum::<u64>(), 896);
        assert!(suppressed[1..].iter().all(|suppressed| (297..=300).contains(suppressed)), "{suppressed:?}");
        assert!(logged[1..3].iter().all(|logged| logged.since_last.as_secs() == 10), "{logged:?}");
    }

    #[test]
    fn a_flood_of_kinds_is_one_more_kind() {
        let (mut repeats, start) = (LogDedup::default(), Instant::now());
        let kinds = (0..500).map(|i| LineKind::new(3, &"x".repeat(i), ""));
        let logged = kinds.filter_map(|kind| repeats.push(kind, (), start)).count();
        assert_eq!(logged, MAX_KINDS + 1);
        let suppressed: u64 = repeats.end(start).iter().map(|line| 1 + line.suppressed).sum();
        assert_eq!(logged as u64 + suppressed, 500);
    }

    #[test]
    fn times_and_counters_are_alike_and_brokers_are_not() {
        let first = kind("[thrd:b1:9092/1]: b1:9092/1: Timed out 3 in-flight, 12 retry-queued requests");
        assert_eq!(first, kind("[thrd:main]: b1:9092/1: Timed out 1203 in-flight, 0 retry-queued requests"));
        assert_ne!(first, kind("[thrd:b1:9093/1]: b1:9093/1: Timed out 3 in-flight, 12 retry-queued requests"));
        assert_ne!(first, LineKind::new(4, "FAIL", "b1:9092/1: Timed out 3 in-flight, 12 retry-queued requests"));
        let refused =
            kind("b:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 3ms in state CONNECT)");
        assert_eq!(refused, kind("b:1/1: Connect to ipv6#[::1]:1 failed: Connection refused"));
        assert_ne!(refused, kind("b:1/1: Connect to ipv6#[::1]:1 failed: Host is down"));
        assert_eq!(kind("orders [7] is unknown"), kind("orders [12] is unknown"));
    }
}
