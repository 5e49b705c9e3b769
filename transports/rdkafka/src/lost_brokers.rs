//! Decides when a client without connections gets its bootstrap servers again. Pure: the time is an argument.
//!
//! librdkafka drops the brokers that an answer with metadata does not list. A broker that was fenced, because it was paused for
//! example, lists not even itself until it has registered again. librdkafka then starts anew from its bootstrap servers
//! (`metadata.recovery.strategy`), but the end of the same answer cancels that, and it is never started again: the client has no
//! broker, and no way to find one (librdkafka's issue 5301).
//!
//! Adding the bootstrap servers changes nothing if librdkafka has them. It remembers each addition, so they become rare.

use std::time::{Duration, Instant};

/// Time without connections before the first addition: longer than librdkafka needs to connect again by itself.
const FIRST: Duration = Duration::from_secs(2);
/// Longest time between two additions. The time doubles up to it.
const LONGEST: Duration = Duration::from_secs(60);

/// When the bootstrap servers of one client are added again.
#[derive(Debug, Default)]
pub(crate) struct LostBrokers(Option<Wait>);

#[derive(Debug)]
struct Wait {
    none_since: Instant,
    next: Instant,
    time: Duration,
}

impl LostBrokers {
    /// Returns whether the bootstrap servers are to be added now. `none_since`: since when no connection is ready.
    pub(crate) fn is_due(&mut self, none_since: Option<Instant>, now: Instant) -> bool {
        let Some(none_since) = none_since else {
            self.0 = None;
            return false;
        };
        let first = || Wait { none_since, next: none_since + FIRST, time: FIRST };
        let wait = match &mut self.0 {
            Some(wait) if wait.none_since == none_since => wait,
            other => other.insert(first()),
        };
        if now < wait.next {
            return false;
        }
        wait.time = (wait.time * 2).min(LONGEST);
        wait.next = now + wait.time;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_added_ever_more_rarely_while_there_is_no_connection() {
        let (mut lost, start) = (LostBrokers::default(), Instant::now());
        let second = Duration::from_secs(1);
        let added: Vec<_> = (0..200).filter(|n| lost.is_due(Some(start), start + second * *n)).collect();
        assert_eq!(added, [2, 6, 14, 30, 62, 122, 182]);
    }

    #[test]
    fn a_connection_ends_the_wait() {
        let (mut lost, start) = (LostBrokers::default(), Instant::now());
        assert!(lost.is_due(Some(start), start + FIRST));
        assert!(!lost.is_due(None, start + LONGEST));
        // A loss that is seen only after another connection was made and lost, too.
        for since in [start + LONGEST, start + 2 * LONGEST] {
            assert!(!lost.is_due(Some(since), since));
            assert!(lost.is_due(Some(since), since + FIRST));
        }
    }
}
