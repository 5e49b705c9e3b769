//! The last errors of the client itself: only they know why nothing is delivered.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::codes;
use crate::repeats::essence;

/// How many different ones are kept.
const KEPT: usize = 8;
/// How long after it was last seen an error explains a failure.
const RECENT: Duration = Duration::from_secs(60);

/// An error of the client, without the times and counters that librdkafka writes into its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) last: Instant,
}

#[derive(Default)]
pub(crate) struct Causes(VecDeque<Cause>);

impl Causes {
    /// Keeps an error, once however often it comes.
    pub(crate) fn push(&mut self, code: i32, text: &str, now: Instant) {
        let text = essence(text);
        if let Some(at) = self.0.iter().position(|c| c.code == code && c.text == text) {
            self.0.remove(at);
        } else if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Cause { code, text: text.to_owned(), last: now });
    }

    /// The last one that says why. "All brokers are down" comes and goes with connections and says nothing itself, so
    /// that it stands back behind any other.
    pub(crate) fn latest(&self, now: Instant) -> Option<&Cause> {
        let recent = |c: &&Cause| now.saturating_duration_since(c.last) <= RECENT;
        let telling = |c: &&Cause| c.code != codes::LOCAL_ALL_BROKERS_DOWN;
        self.0.iter().rev().filter(recent).find(telling).or_else(|| self.0.iter().rev().find(recent))
    }
}

/// "last broker error 0.4 s ago: …"
pub(crate) struct Ago<'a>(pub(crate) &'a Cause, pub(crate) Instant);

impl fmt::Display for Ago<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = self.1.saturating_duration_since(self.0.last);
        write!(f, "last broker error {:.1} s ago: {}", ago.as_secs_f64(), self.0.text)
    }
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
            causes.push(-195, &text, start + Duration::from_secs(s));
        }
        assert_eq!(causes.0.len(), 1);
        let cause = causes.latest(start + Duration::from_secs(84)).unwrap();
        assert_eq!(cause.text, REFUSED);
    }

    #[test]
    fn all_brokers_down_stands_back_behind_what_says_why() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        causes.push(-195, REFUSED, now);
        causes.push(codes::LOCAL_ALL_BROKERS_DOWN, "1/1 brokers are down", now);
        assert_eq!(causes.latest(now).unwrap().code, -195);
    }

    #[test]
    fn an_old_error_explains_nothing() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        causes.push(-195, REFUSED, now);
        assert!(causes.latest(now + Duration::from_secs(61)).is_none());
    }

    #[test]
    fn the_last_eight_are_kept() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        for code in 0..20 {
            causes.push(code, "x", now);
        }
        assert_eq!(causes.0.iter().map(|c| c.code).collect::<Vec<_>>(), (12..20).collect::<Vec<_>>());
    }
}
