//! What happens to a message whose handling has failed. No clock, no lock, no async.

use std::borrow::Cow;
use std::time::Duration;

/// What [`serve`](crate::KafkaSource::serve) does with a message that was not handled: its service answered with an error,
/// panicked, or took too long.
///
/// ```
/// use std::time::Duration;
///
/// use kafka_tower::source::FailurePolicy;
///
/// let policy = FailurePolicy::retry(3).backoff(Duration::from_millis(100), Duration::from_secs(5)).then_skip();
/// # let _ = policy;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    retries: u32,
    first: Duration,
    longest: Duration,
    last: Last,
}

/// What follows when no retry is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Fail,
    Skip,
}

/// What to do with a message that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Handle it again after a delay.
    Retry(Duration),
    /// Settle it.
    Skip,
    /// End.
    Fail,
}

impl FailurePolicy {
    /// `serve` ends with the error. The message is not settled: it is read again after a restart. The default, because it is
    /// the only policy that loses nothing and repeats nothing without end.
    #[must_use]
    pub fn fail() -> Self {
        Self { retries: 0, first: Duration::from_secs(1), longest: Duration::from_secs(30), last: Last::Fail }
    }

    /// The message is settled as if it had been handled, with a warning that names its place.
    #[must_use]
    pub fn skip() -> Self {
        Self { last: Last::Skip, ..Self::fail() }
    }

    /// The message is handled again, at most so many times, after a [`backoff`](Self::backoff). Then as [`fail`](Self::fail).
    ///
    /// While it waits, it does not count for the concurrency, and the messages of its lane wait with it: retries keep the
    /// order of a key. `u32::MAX` retries without end.
    #[must_use]
    pub fn retry(times: u32) -> Self {
        Self { retries: times, ..Self::fail() }
    }

    /// Sets the delay before the first retry, which doubles with each further one, and the longest delay. Default: 1 s, 30 s.
    #[must_use]
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        Self { first, longest, ..self }
    }

    /// When no retry is left, the message is [skipped](Self::skip).
    #[must_use]
    pub fn then_skip(self) -> Self {
        Self { last: Last::Skip, ..self }
    }

    /// Decides about a message whose attempt, counted from 1, has failed.
    pub(super) fn decide(&self, attempt: u32) -> Verdict {
        let attempt = attempt.max(1);
        if attempt <= self.retries {
            return Verdict::Retry(self.first.saturating_mul(1 << (attempt - 1).min(31)).min(self.longest));
        }
        match self.last {
            Last::Fail => Verdict::Fail,
            Last::Skip => Verdict::Skip,
        }
    }
}

impl Default for FailurePolicy {
    /// [`FailurePolicy::fail`].
    fn default() -> Self {
        Self::fail()
    }
}

/// Answer of a service to a message.
///
/// A service with the response `()` acknowledges each message that it answers with `Ok`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// The message was handled.
    #[default]
    Ack,
    /// The message is settled without having been handled, with a warning that has this reason.
    Skip(Cow<'static, str>),
    /// Handle the message again after this time, whatever the [`FailurePolicy`]. Messages of its lane wait.
    Retry(Duration),
}

impl From<()> for Settlement {
    fn from((): ()) -> Self {
        Self::Ack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_counted_and_their_delays_double() {
        let seconds = |policy: &FailurePolicy, attempt| match policy.decide(attempt) {
            Verdict::Retry(delay) => Some(delay.as_secs()),
            _ => None,
        };
        let policy = FailurePolicy::retry(7);
        let delays: Vec<_> = (1..9).map(|attempt| seconds(&policy, attempt)).collect();
        assert_eq!(delays, [Some(1), Some(2), Some(4), Some(8), Some(16), Some(30), Some(30), None]);
        assert_eq!(policy.decide(8), Verdict::Fail);
        assert_eq!(policy.then_skip().decide(8), Verdict::Skip);
        assert_eq!(seconds(&FailurePolicy::retry(u32::MAX), u32::MAX), Some(30));
        assert_eq!(
            (FailurePolicy::default().decide(1), FailurePolicy::skip().decide(1)),
            (Verdict::Fail, Verdict::Skip)
        );
        let policy = FailurePolicy::retry(1).backoff(Duration::ZERO, Duration::ZERO);
        assert_eq!(policy.decide(1), Verdict::Retry(Duration::ZERO));
    }
}
