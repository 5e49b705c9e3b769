//! The breaker without lock, clock and wake-ups.

use std::time::Duration;

use tokio::time::Instant;

use super::{CircuitBreakerConfig, Outcome};

/// Whether a circuit breaker lets calls through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// All of them.
    Closed,
    /// None, until its time is over and a call comes.
    Open,
    /// A few, to learn whether the service below is well again.
    HalfOpen,
    /// None, until [`reset`](super::CircuitBreakerHandle::reset).
    ForcedOpen,
    /// All of them, whatever they come to, until [`reset`](super::CircuitBreakerHandle::reset).
    ForcedClosed,
}

impl CircuitState {
    /// The state in `snake_case`, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
        }
    }
}

/// Leave for one call, and for one result. Not `Clone`: nobody counts twice.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) generation: u64,
}

impl Ticket {
    /// The ticket itself. What is left may not count.
    pub(super) fn take(&mut self) -> Self {
        Self { generation: self.generation }
    }
}

/// Why a call was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Open {
        failures: u32,
        half_open_in: Option<Duration>,
    },
    /// All probes are out.
    Probing,
    Forced,
}

#[derive(Debug)]
pub(super) struct Machine {
    config: CircuitBreakerConfig,
    phase: Phase,
    /// One more with each phase, so that a late result of an older one is known as such.
    generation: u64,
    trips: u64,
    /// No clock goes back behind what was seen.
    latest: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// With failures in a row.
    Closed {
        failures: u32,
    },
    /// With the failures that opened it; 0 for a probe's. `None` is a time that no clock reaches.
    Open {
        failures: u32,
        until: Option<Instant>,
    },
    HalfOpen {
        on_their_way: u32,
        successes: u32,
        last_let_through: Instant,
    },
    ForcedOpen,
    ForcedClosed,
}

impl Machine {
    pub(super) fn new(config: CircuitBreakerConfig) -> Self {
        Self { config: config.in_bounds(), phase: Phase::Closed { failures: 0 }, generation: 0, trips: 0, latest: None }
    }

    pub(super) fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
            Phase::ForcedOpen => CircuitState::ForcedOpen,
            Phase::ForcedClosed => CircuitState::ForcedClosed,
        }
    }

    /// How often it opened by itself.
    pub(super) fn trips(&self) -> u64 {
        self.trips
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether letting a call through changes nothing.
    pub(super) fn admits_freely(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. } | Phase::ForcedClosed)
    }

    /// Whether a success changes nothing either.
    pub(super) fn is_clean(&self) -> bool {
        matches!(self.phase, Phase::Closed { failures: 0 } | Phase::ForcedClosed)
    }

    /// Whether [`admit`](Self::admit) would let a call through.
    pub(super) fn would_admit(&self, now: Instant) -> bool {
        let now = self.not_before(now);
        match self.phase {
            Phase::Closed { .. } | Phase::ForcedClosed => true,
            Phase::Open { until, .. } => until.is_some_and(|until| until <= now),
            Phase::HalfOpen { .. } => self.has_probes() || self.lease_is_over(now),
            Phase::ForcedOpen => false,
        }
    }

    /// Lets a call through, or says why not.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Ticket, Refusal> {
        let now = self.seen(now);
        if !self.would_admit(now) {
            return Err(self.refusal(now));
        }
        if matches!(self.phase, Phase::Open { .. }) || self.lease_is_over(now) {
            // Results of probes that are overdue are then of an older generation.
            self.enter(Phase::HalfOpen { on_their_way: 0, successes: 0, last_let_through: now });
        }
        if let Phase::HalfOpen { on_their_way, last_let_through, .. } = &mut self.phase {
            *on_their_way += 1;
            *last_let_through = now;
        }
        Ok(Ticket { generation: self.generation })
    }

    /// The result of a call that was let through. Says whether it is of the present generation; of an older one only a success
    /// counts, as a [late delivery](Self::delivered_late).
    pub(super) fn settle(&mut self, ticket: &Ticket, outcome: Outcome, now: Instant) -> bool {
        if ticket.generation != self.generation {
            if outcome == Outcome::Success {
                self.delivered_late(now);
            }
            return false;
        }
        let now = self.seen(now);
        let trip = match (&mut self.phase, outcome) {
            (Phase::Closed { failures }, Outcome::Success) => {
                *failures = 0;
                None
            }
            (Phase::Closed { failures }, Outcome::Failure) => {
                *failures += 1;
                (*failures >= self.config.failure_threshold).then_some(*failures)
            }
            (Phase::HalfOpen { on_their_way, .. }, Outcome::Neutral) => {
                *on_their_way -= 1;
                None
            }
            (Phase::HalfOpen { on_their_way, successes, .. }, Outcome::Success) => {
                *on_their_way -= 1;
                *successes += 1;
                if *successes >= self.config.probe_successes {
                    self.enter(Phase::Closed { failures: 0 });
                }
                None
            }
            (Phase::HalfOpen { .. }, Outcome::Failure) => Some(0),
            _ => None,
        };
        if let Some(failures) = trip {
            self.trips += 1;
            self.enter(Phase::Open { failures, until: now.checked_add(self.config.open_for) });
        }
        true
    }

    /// A record of an older period, or one whose caller got no answer, was delivered: the service below is well again, or is
    /// about to be. Open, the next call probes; a probe that is on its way decides by itself.
    pub(super) fn delivered_late(&mut self, now: Instant) {
        let now = self.seen(now);
        match &mut self.phase {
            Phase::Closed { failures } => *failures = 0,
            Phase::Open { until, .. } => *until = Some(until.map_or(now, |until| until.min(now))),
            Phase::HalfOpen { .. } | Phase::ForcedOpen | Phase::ForcedClosed => {}
        }
    }

    pub(super) fn force_open(&mut self) {
        self.enter(Phase::ForcedOpen);
    }

    pub(super) fn force_closed(&mut self) {
        self.enter(Phase::ForcedClosed);
    }

    pub(super) fn reset(&mut self) {
        self.enter(Phase::Closed { failures: 0 });
    }

    fn enter(&mut self, phase: Phase) {
        self.generation += 1;
        self.phase = phase;
    }

    /// A probe that succeeded keeps its place: no more than `probes` count in one half-open phase.
    fn has_probes(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { on_their_way, successes, .. } if on_their_way + successes < self.config.probes)
    }

    fn lease_is_over(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::HalfOpen { on_their_way, last_let_through, .. }
            if on_their_way > 0 && now.saturating_duration_since(last_let_through) >= self.config.probe_lease)
    }

    fn refusal(&self, now: Instant) -> Refusal {
        match self.phase {
            Phase::Open { failures, until } => {
                Refusal::Open { failures, half_open_in: until.map(|until| until.saturating_duration_since(now)) }
            }
            Phase::ForcedOpen => Refusal::Forced,
            _ => Refusal::Probing,
        }
    }

    fn not_before(&self, now: Instant) -> Instant {
        self.latest.map_or(now, |latest| latest.max(now))
    }

    fn seen(&mut self, now: Instant) -> Instant {
        let now = self.not_before(now);
        self.latest = Some(now);
        now
    }
}

#[cfg(test)]
mod tests;
