//! Decides which log lines are logged and which are only counted. Pure: the time is an argument.
//!
//! The first line of a kind is logged at once. Lines of the same kind within [`EVERY`] are suppressed, and the next
//! logged line says how many there were. No line is lost: logged and counted lines together are all lines.

use std::time::{Duration, Instant};

/// Interval between logged lines of one kind.
const EVERY: Duration = Duration::from_secs(10);
/// Maximum number of kinds distinguished at a time. Further lines are one kind per severity, so that the log stays
/// bounded.
const KINDS: usize = 64;

/// Lines of an equal kind are repeats of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    severity: u8,
    /// None: a line beyond [`KINDS`].
    text: Option<String>,
}

impl Kind {
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
pub(crate) struct Said<L> {
    pub(crate) line: L,
    pub(crate) held: u64,
    /// Time since the last logged line of the kind.
    pub(crate) within: Duration,
}

/// The kinds of lines that were logged recently.
#[derive(Debug)]
pub(crate) struct Repeats<L>(Vec<Window<L>>);

#[derive(Debug)]
struct Window<L> {
    kind: Kind,
    said: Instant,
    held: u64,
    last: Option<L>,
}

impl<L> Default for Repeats<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<L> Window<L> {
    /// Returns the last suppressed line, which stands for all of them.
    fn say(&mut self, now: Instant) -> Option<Said<L>> {
        let within = now.saturating_duration_since(self.said);
        let line = self.last.take()?;
        self.said = now;
        Some(Said { line, held: std::mem::take(&mut self.held).saturating_sub(1), within })
    }
}

impl<L> Repeats<L> {
    /// Adds a line. Returns it if it should be logged now.
    pub(crate) fn push(&mut self, kind: Kind, line: L, now: Instant) -> Option<Said<L>> {
        let known = |windows: &[Window<L>], kind: &Kind| windows.iter().position(|window| window.kind == *kind);
        let beyond = |kind: &Kind| Kind { severity: kind.severity, text: None };
        let full = self.0.iter().filter(|window| window.kind.text.is_some()).count() >= KINDS;
        let (kind, at) = match known(&self.0, &kind) {
            None if full => (beyond(&kind), known(&self.0, &beyond(&kind))),
            at => (kind, at),
        };
        let Some(window) = at.and_then(|at| self.0.get_mut(at)) else {
            self.0.push(Window { kind, said: now, held: 0, last: None });
            return Some(Said { line, held: 0, within: Duration::ZERO });
        };
        window.held += 1;
        window.last = Some(line);
        if now.saturating_duration_since(window.said) < EVERY { None } else { window.say(now) }
    }

    /// Returns lines that were suppressed long enough. Forgets kinds without any.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Said<L>> {
        let mut said = Vec::new();
        self.0.retain_mut(|window| {
            if now.saturating_duration_since(window.said) < EVERY {
                return true;
            }
            let line = window.say(now);
            let keep = line.is_some();
            said.extend(line);
            keep
        });
        said
    }

    /// Returns everything that is still suppressed.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<Said<L>> {
        self.0.drain(..).filter_map(|mut window| window.say(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Line(u8, u16),
        Tick,
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let step = prop_oneof![
            // Few kinds that repeat, and more kinds than are distinguished.
            6 => (0..3u8, 0..4u16).prop_map(|(severity, kind)| Step::Line(severity, kind)),
            6 => (0..3u8, 0..400u16).prop_map(|(severity, kind)| Step::Line(severity, kind)),
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
            let mut repeats = Repeats::default();
            let (mut pushed, mut told) = (0, 0);
            let (mut all, mut last) = (Vec::new(), BTreeMap::new());
            for (pause, step) in steps {
                ms += pause;
                let now = start + Duration::from_millis(ms);
                // A line beyond the maximum may be of a kind that was logged.
                let full = repeats.0.len() >= KINDS || repeats.0.iter().any(|window| window.kind.text.is_none());
                let said = match step {
                    Step::Line(severity, kind) => {
                        pushed += 1;
                        // Not a number: runs of digits are folded.
                        let name = "x".repeat(usize::from(kind));
                        let said = repeats.push(Kind::new(severity, &name, ""), (severity, kind), now);
                        let fresh = last.get(&(severity, kind)).is_none_or(|(said, _): &(u64, bool)| ms - said >= 10_000);
                        prop_assert!(said.is_some() || !fresh || full, "a new kind is said at once");
                        said.into_iter().collect()
                    }
                    Step::Tick => repeats.due(now),
                };
                for said in said {
                    told += 1 + said.held;
                    prop_assert!(said.held == 0 || said.within >= EVERY);
                    let before = last.insert(said.line, (ms, full)).filter(|(_, then)| !full && !then);
                    prop_assert!(before.is_none_or(|(before, _)| ms - before >= 10_000), "{:?} twice", said.line);
                    all.push(ms);
                }
            }
            told += repeats.end(start + Duration::from_millis(ms)).iter().map(|said| 1 + said.held).sum::<u64>();
            prop_assert_eq!(told, pushed);
            for (i, from) in all.iter().enumerate() {
                let within = all[i..].iter().take_while(|ms| *ms - from < 10_000).count();
                prop_assert!(within <= KINDS + 3, "{} lines in 10 s", within);
            }
        }
    }

    fn kind(text: &str) -> Kind {
        Kind::new(3, "FAIL", text)
    }

    #[test]
    fn three_hundred_attempts_are_one_line_in_ten_seconds() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let mut said = Vec::new();
        for i in 0..900u64 {
            let text = format!(
                "[thrd:b:1/1]: b:1/1: Connect to ipv{}#[::1]:1 failed: refused (after {i}ms in state X)",
                4 + i % 2 * 2
            );
            let now = start + Duration::from_millis(i * 100 / 3);
            said.extend(repeats.due(now));
            said.extend(repeats.push(kind(&text), i, now));
        }
        said.extend(repeats.end(start + Duration::from_secs(30)));
        let held: Vec<_> = said.iter().map(|said| said.held).collect();
        assert_eq!(said.len(), 4, "{held:?}");
        assert_eq!(held.iter().sum::<u64>(), 896);
        assert!(held[1..].iter().all(|held| (297..=300).contains(held)), "{held:?}");
        assert!(said[1..3].iter().all(|said| said.within.as_secs() == 10), "{said:?}");
    }

    #[test]
    fn a_flood_of_kinds_is_one_more_kind() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let kinds = (0..500).map(|i| Kind::new(3, &"x".repeat(i), ""));
        let said = kinds.filter_map(|kind| repeats.push(kind, (), start)).count();
        assert_eq!(said, KINDS + 1);
        let told: u64 = repeats.end(start).iter().map(|said| 1 + said.held).sum();
        assert_eq!(said as u64 + told, 500);
    }

    #[test]
    fn times_and_counters_are_alike_and_brokers_are_not() {
        let first = kind("[thrd:b1:9092/1]: b1:9092/1: Timed out 3 in-flight, 12 retry-queued requests");
        assert_eq!(first, kind("[thrd:main]: b1:9092/1: Timed out 1203 in-flight, 0 retry-queued requests"));
        assert_ne!(first, kind("[thrd:b1:9093/1]: b1:9093/1: Timed out 3 in-flight, 12 retry-queued requests"));
        assert_ne!(first, Kind::new(4, "FAIL", "b1:9092/1: Timed out 3 in-flight, 12 retry-queued requests"));
        let refused =
            kind("b:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 3ms in state CONNECT)");
        assert_eq!(refused, kind("b:1/1: Connect to ipv6#[::1]:1 failed: Connection refused"));
        assert_ne!(refused, kind("b:1/1: Connect to ipv6#[::1]:1 failed: Host is down"));
        assert_eq!(kind("orders [7] is unknown"), kind("orders [12] is unknown"));
    }
}
