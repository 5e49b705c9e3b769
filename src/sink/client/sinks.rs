//! The sinks of a client: what a flush, a close and the metrics of the client need of each.

use std::sync::{Mutex, MutexGuard};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, ErrorKind, Result};
use kafka_tower_layers::metrics::{Metrics, SinkMetrics};

use super::super::inner::Member;

#[derive(Default)]
pub(super) struct Sinks(Mutex<State>);

#[derive(Default)]
struct State {
    closed: bool,
    sinks: Vec<(Member, Metrics)>,
    /// Counts of sinks that are gone.
    past: Metrics,
}

impl Sinks {
    /// Adds a sink.
    ///
    /// # Errors
    ///
    /// The client was closed. Then the sink is closed too.
    pub(super) fn enter(&self, sink: Member, metrics: &Metrics) -> Result<()> {
        let mut state = self.state();
        if state.closed {
            drop(state);
            sink.close();
            return Err(closed());
        }
        state.drop_gone();
        state.sinks.push((sink, metrics.clone()));
        Ok(())
    }

    /// # Errors
    ///
    /// The client was closed.
    pub(super) fn check(&self) -> Result<()> {
        if self.state().closed { Err(closed()) } else { Ok(()) }
    }

    /// Refuses later sinks.
    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    pub(super) fn all(&self) -> Vec<Member> {
        self.state().sinks.iter().map(|(sink, _)| sink.clone()).collect()
    }

    /// The counts of all sinks that the client has and had, added up.
    pub(super) fn metrics(&self) -> SinkMetrics {
        let (state, sum) = (self.state(), Metrics::new());
        sum.absorb(&state.past);
        state.sinks.iter().for_each(|(_, metrics)| sum.absorb(metrics));
        let uptime = state.past.uptime();
        drop(state);
        let mut sum = sum.snapshot();
        sum.uptime = uptime;
        sum
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    /// Forgets sinks whose last handle and send are gone, and keeps their counts.
    fn drop_gone(&mut self) {
        let past = &self.past;
        self.sinks.retain(|(_, metrics)| {
            let is_gone = metrics.is_last();
            if is_gone {
                past.absorb(metrics);
            }
            !is_gone
        });
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the client was closed")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::closed());
    }
}
