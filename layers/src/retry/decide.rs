//! Decides whether a record is sent again. Pure function of its arguments.

use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope};

use super::backoff::delay;
use super::{DeliveryGuarantee, RetryPolicy};

/// What happens after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Return the error to the caller.
    Stop,
    /// Send the record again at once and isolated (alone in its batch), to learn whether it or another record was
    /// refused.
    SendIsolated,
    RetryAfter(Duration),
}

/// State of a record after a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Number of retries so far.
    pub(super) retries: u32,
    pub(super) isolated: bool,
    pub(super) expires_at: Option<Instant>,
    pub(super) now: Instant,
    /// Randomizes the back-off.
    pub(super) draw: u64,
}

/// Additional doublings of the back-off if the broker or a layer asks for a lower rate.
const THROTTLED: u32 = 3;

pub(super) fn decide(policy: &RetryPolicy, error: &Error, at: &Situation) -> Decision {
    let never = policy.guarantee == DeliveryGuarantee::ExactlyOnce;
    if never || at.expires_at.is_some_and(|expires_at| expires_at <= at.now) {
        return Decision::Stop;
    }
    let ahead = match (error.recovery(), error.kind()) {
        (Recovery::Reject, _) if is_refused_with_its_batch(error) && !at.isolated => return Decision::SendIsolated,
        // After a time-out the record may still arrive; an open breaker outlasts all retries.
        (_, ErrorKind::Timeout | ErrorKind::CircuitOpen) => return Decision::Stop,
        (Recovery::Wait, ErrorKind::Throttled | ErrorKind::Overloaded) => THROTTLED,
        (Recovery::Retry, _) => 0,
        _ => return Decision::Stop,
    };
    if at.retries >= policy.max_retries || !may_send_again(policy, error.persistence()) {
        return Decision::Stop;
    }
    let doublings = at.retries.saturating_add(ahead);
    let delay = delay(policy.base_backoff, policy.max_backoff, doublings, policy.jitter, at.draw);
    let in_time = |expires_at| later(at.now, delay) < expires_at;
    if at.expires_at.is_none_or(in_time) { Decision::RetryAfter(delay) } else { Decision::Stop }
}

fn is_refused_with_its_batch(error: &Error) -> bool {
    error.scope() == Scope::Batch && error.persistence() == Persistence::NotPersisted
}

fn may_send_again(policy: &RetryPolicy, persistence: Persistence) -> bool {
    match persistence {
        Persistence::NotPersisted => true,
        Persistence::PossiblyPersisted => policy.allow_duplicates && policy.guarantee == DeliveryGuarantee::AtLeastOnce,
        Persistence::Persisted => false,
    }
}

#[cfg(test)]
mod tests;
