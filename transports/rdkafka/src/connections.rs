//! The connections of a client to its brokers: how many are ready, since when none is, and whether one is being made. The time
//! is an argument.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kafka_tower_core::sync::lock;

/// The connections of one client.
#[derive(Debug)]
pub(crate) struct Connections(Mutex<State>);

#[derive(Debug)]
struct State {
    ready: usize,
    /// Since when none is ready, after one was.
    none_since: Option<Instant>,
    /// Number of connections that are being made.
    attempts: usize,
    /// When the last attempt to make one ended.
    tried: Option<Instant>,
    changes: u64,
}

/// Whether a connection is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Never,
    UnderWay,
    /// When the last one ended, whether or not it succeeded.
    Ended(Instant),
}

/// The state of a client's connections. Equal states mean that none was made or lost in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionState {
    /// Unlike that of any other client.
    changes: u64,
    pub(crate) any: bool,
}

impl Default for Connections {
    fn default() -> Self {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        let changes = CLIENTS.fetch_add(1, Ordering::Relaxed) << 40;
        Self(Mutex::new(State { ready: 0, none_since: None, attempts: 0, tried: None, changes }))
    }
}

impl Connections {
    /// A broker's address is looked up, to connect to it.
    pub(crate) fn attempt_begun(&self) {
        lock(&self.0).attempts += 1;
    }

    /// The connection is ready, or could not be made.
    pub(crate) fn attempt_ended(&self, now: Instant) {
        let mut state = lock(&self.0);
        state.attempts = state.attempts.saturating_sub(1);
        state.tried = Some(now);
    }

    pub(crate) fn attempt(&self) -> Attempt {
        let state = lock(&self.0);
        if state.attempts > 0 { Attempt::UnderWay } else { state.tried.map_or(Attempt::Never, Attempt::Ended) }
    }

    /// A connection is ready for requests.
    pub(crate) fn made(&self) {
        let mut state = lock(&self.0);
        state.ready += 1;
        state.none_since = None;
        state.changes += 1;
    }

    /// A connection that was ready is lost.
    pub(crate) fn lost(&self, now: Instant) {
        let mut state = lock(&self.0);
        state.ready = state.ready.saturating_sub(1);
        state.none_since = (state.ready == 0).then_some(now);
        state.changes += 1;
    }

    pub(crate) fn state(&self) -> ConnectionState {
        let state = lock(&self.0);
        ConnectionState { changes: state.changes, any: state.ready > 0 }
    }

    /// Returns since when no connection is ready. `None` also before the first one.
    pub(crate) fn none_since(&self) -> Option<Instant> {
        lock(&self.0).none_since
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn equal_states_mean_that_no_connection_was_made_or_lost() {
        let (connections, now) = (Connections::default(), Instant::now());
        let start = connections.state();
        assert!(!start.any);
        connections.made();
        let one = connections.state();
        assert!(one.any && one != start);
        connections.lost(now);
        connections.made();
        assert_ne!(connections.state(), one, "another connection to the same broker");
        assert_ne!(Connections::default().state(), start, "another client");
    }

    #[test]
    fn the_time_without_connections_begins_with_the_loss_of_the_last_one() {
        let (connections, now) = (Connections::default(), Instant::now());
        assert_eq!(connections.none_since(), None, "there was none yet");
        connections.made();
        connections.made();
        connections.lost(now);
        assert_eq!(connections.none_since(), None);
        connections.lost(now + Duration::from_secs(1));
        assert_eq!(connections.none_since(), Some(now + Duration::from_secs(1)));
        connections.made();
        assert_eq!(connections.none_since(), None);
    }
}
