//! How long to wait before an attempt is repeated.

use std::time::Duration;

/// A wait that doubles with each failure, with equal jitter: half of it is fixed, half random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure, at most.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// Between connections: `reconnect.backoff.ms` and its maximum.
    pub const RECONNECT: Self = Self { first: Duration::from_millis(50), longest: Duration::from_secs(1) };

    /// The wait after so many failures in a row. `random` is any number, each equally likely.
    #[must_use]
    pub fn wait(&self, failures: u32, random: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let half = self.first.saturating_mul(factor).min(self.longest) / 2;
        let part = half.as_nanos().saturating_mul(u128::from(random)) / u128::from(u32::MAX);
        half.saturating_add(Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX)))
    }
}
