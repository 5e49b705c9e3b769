//! State machine of the breaker, without lock, clock and wake-ups.

use std::time::Duration;

use tokio::time::Instant;

use super::{CircuitBreakerConfig, Outcome};

/// State of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// All calls are admitted.
    Closed,
    /// No call is admitted until the open time has passed; the next call then probes.
    Open,
    /// A few calls are admitted as probes.
    HalfOpen,
    /// No call is admitted until [`reset`](super::CircuitBreakerHandle::reset).
    ForcedOpen,
    /// All calls are admitted, whatever their results, until [`reset`](super::CircuitBreakerHandle::reset).
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

/// Permission for one call and one result. Not `Clone`, so that no call counts twice.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) generation: u32,
}

/// When a call is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    Now,
    /// Then, if nothing else happens.
    At(Instant),
    /// Not before the state changes.
    AfterChange,
}

/// Why a call was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Open {
        failures: u32,
        half_open_in: Option<Duration>,
    },
    /// All probes are in flight.
    Probing,
    Forced,
}

#[derive(Debug)]
pub(super) struct Machine {
    config: CircuitBreakerConfig,
    phase: Phase,
    /// Incremented with each phase, so that late results of older phases are recognized.
    generation: u32,
    trips: u64,
    /// Latest time seen: time never goes backwards here.
    latest: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Number of failures in a row.
    Closed {
        failures: u32,
    },
    /// Number of failures that opened it; 0 if a probe did. `until` is `None` if the time is beyond the clock's
    /// range.
    Open {
        failures: u32,
        until: Option<Instant>,
    },
    HalfOpen {
        admitted: u32,
        successes: u32,
        last_admitted: Instant,
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

    /// Number of times that failures opened the breaker.
    pub(super) fn trips(&self) -> u64 {
        self.trips
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether admitting a call changes no state.
    pub(super) fn admits_freely(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. } | Phase::ForcedClosed)
    }

    /// Whether a success changes no state.
    pub(super) fn is_clean(&self) -> bool {
        matches!(self.phase, Phase::Closed { failures: 0 } | Phase::ForcedClosed)
    }

    /// Whether [`admit`](Self::admit) would admit a call.
    pub(super) fn would_admit(&self, now: Instant) -> bool {
        self.admits(now) == Admits::Now
    }

    /// When [`admit`](Self::admit) would admit a call. Those that wait are woken whenever this changes other than by time.
    pub(super) fn admits(&self, now: Instant) -> Admits {
        let at = match self.phase {
            Phase::Closed { .. } | Phase::ForcedClosed => return Admits::Now,
            Phase::HalfOpen { .. } if self.has_probes() => return Admits::Now,
            Phase::Open { until, .. } => until,
            Phase::HalfOpen { last_admitted, .. } => last_admitted.checked_add(self.config.probe_lease),
            Phase::ForcedOpen => None,
        };
        match at {
            Some(at) if at <= self.not_before(now) => Admits::Now,
            Some(at) => Admits::At(at),
            None => Admits::AfterChange,
        }
    }

    /// Admits a call, or returns the rejection.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Ticket, Refusal> {
        let now = self.seen(now);
        if !self.would_admit(now) {
            return Err(self.refusal(now));
        }
        if matches!(self.phase, Phase::Open { .. }) || self.lease_is_over(now) {
            // The new generation makes results of overdue probes late ones.
            self.enter(Phase::HalfOpen { admitted: 0, successes: 0, last_admitted: now });
        }
        if let Phase::HalfOpen { admitted, last_admitted, .. } = &mut self.phase {
            *admitted += 1;
            *last_admitted = now;
        }
        Ok(Ticket { generation: self.generation })
    }

    /// Begins the lease of a probe that was admitted before its call.
    pub(super) fn called(&mut self, ticket: &Ticket, now: Instant) {
        let now = self.seen(now);
        match &mut self.phase {
            Phase::HalfOpen { last_admitted, .. } if ticket.generation == self.generation => *last_admitted = now,
            _ => {}
        }
    }

    /// Records the result of an admitted call. Returns whether it belongs to the current generation. Of an older one
    /// only a success counts, as a [late delivery](Self::delivered_late).
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
            (Phase::HalfOpen { admitted, .. }, Outcome::Neutral) => {
                *admitted -= 1;
                None
            }
            (Phase::HalfOpen { admitted, successes, .. }, Outcome::Success) => {
                *admitted -= 1;
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

    /// Records the delivery of a record of an older period, or of one whose caller got no outcome: the service below
    /// works again or soon will. An open breaker lets the next call probe; a probe in flight decides by itself.
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
        self.generation = self.generation.wrapping_add(1);
        self.phase = phase;
    }

    /// A successful probe keeps its place: at most `probes` count in one half-open phase.
    fn has_probes(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { admitted, successes, .. } if admitted + successes < self.config.probes)
    }

    fn lease_is_over(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::HalfOpen { admitted, last_admitted, .. }
            if admitted > 0 && now.saturating_duration_since(last_admitted) >= self.config.probe_lease)
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
