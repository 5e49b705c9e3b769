//! Decides which log lines are logged and which are only counted, so that a broker that is down does not fill the log.
//! Pure: the time is an argument.
//!
//! The first line of a kind is logged at once. Lines of the same kind within 10 s are suppressed, and the next logged
//! line says how many there were. No line is lost: logged and counted lines together are all lines. At most 64 kinds are
//! distinguished at a time; further lines are one kind per severity.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use kafka_tower_core::log_dedup::{LineKind, LogDedup};
//!
//! let mut log = LogDedup::default();
//! let now = Instant::now();
//! let refused = || LineKind::new(4, "connect to kafka-1:9092 refused");
//! assert_eq!(log.push(refused(), "refused after 3 ms", now).unwrap().suppressed, 0);
//! assert!(log.push(refused(), "refused after 4 ms", now).is_none());
//!
//! let later = log.push(refused(), "refused after 5 ms", now + Duration::from_secs(10)).unwrap();
//! assert_eq!((later.line, later.suppressed), ("refused after 5 ms", 1));
//! assert_eq!(later.suffix(), ", and 1 like it in 10 s");
//! ```

use std::time::{Duration, Instant};

/// Interval between logged lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of kinds distinguished at a time. Further lines are one kind per severity, so that the log stays
/// bounded.
const MAX_KINDS: usize = 64;

/// Kind of a line. Lines of an equal kind are repeats of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineKind {
    severity: u8,
    /// None: a line beyond [`MAX_KINDS`].
    text: Option<String>,
}

impl LineKind {
    /// Creates the kind of a line. `text` is the line without what differs from repeat to repeat, such as times,
    /// counters and numbers. `severity` is any number for the log level: lines of different severity are never repeats
    /// of each other.
    #[must_use]
    pub fn new(severity: u8, text: impl Into<String>) -> Self {
        Self { severity, text: Some(text.into()) }
    }
}

/// A line to log, with the number of suppressed lines of its kind before it.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedLine<L> {
    /// The line.
    pub line: L,
    /// Number of lines of its kind that were suppressed since the last logged one.
    pub suppressed: u64,
    /// Time since the last logged line of the kind; zero for the first one.
    pub since_last: Duration,
}

impl<L> LoggedLine<L> {
    /// End of the line's text, with the number of suppressed lines: ", and 12 like it in 10 s". Empty if there is none.
    #[must_use]
    pub fn suffix(&self) -> String {
        match self.suppressed {
            0 => String::new(),
            suppressed => format!(", and {suppressed} like it in {:.0} s", self.since_last.as_secs_f64()),
        }
    }
}

/// The kinds of lines that were logged recently.
#[derive(Debug)]
pub struct LogDedup<L>(Vec<Window<L>>);

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
    pub fn push(&mut self, kind: LineKind, line: L, now: Instant) -> Option<LoggedLine<L>> {
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
    pub fn due(&mut self, now: Instant) -> Vec<LoggedLine<L>> {
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

    /// Whether no line was logged recently, so that none is suppressed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns everything that is still suppressed.
    pub fn end(&mut self, now: Instant) -> Vec<LoggedLine<L>> {
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
                        let name = "x".repeat(usize::from(kind));
                        let logged = dedup.push(LineKind::new(severity, name), (severity, kind), now);
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

    #[test]
    fn three_hundred_attempts_are_one_line_in_ten_seconds() {
        let (mut repeats, start) = (LogDedup::default(), Instant::now());
        let mut logged = Vec::new();
        for i in 0..900u64 {
            let now = start + Duration::from_millis(i * 100 / 3);
            logged.extend(repeats.due(now));
            logged.extend(repeats.push(LineKind::new(3, "connect failed"), i, now));
        }
        logged.extend(repeats.end(start + Duration::from_secs(30)));
        let suppressed: Vec<_> = logged.iter().map(|logged| logged.suppressed).collect();
        assert_eq!(logged.len(), 4, "{suppressed:?}");
        assert_eq!(suppressed.iter().sum::<u64>(), 896);
        assert!(suppressed[1..].iter().all(|suppressed| (297..=300).contains(suppressed)), "{suppressed:?}");
        assert!(logged[1..3].iter().all(|logged| logged.since_last.as_secs() == 10), "{logged:?}");
    }

    #[test]
    fn lines_beyond_the_limit_of_kinds_share_one_kind() {
        let (mut repeats, start) = (LogDedup::default(), Instant::now());
        let kinds = (0..500).map(|i| LineKind::new(3, "x".repeat(i)));
        let logged = kinds.filter_map(|kind| repeats.push(kind, (), start)).count();
        assert_eq!(logged, MAX_KINDS + 1);
        let suppressed: u64 = repeats.end(start).iter().map(|line| 1 + line.suppressed).sum();
        assert_eq!(logged as u64 + suppressed, 500);
    }
}
