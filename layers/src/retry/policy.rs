use std::time::Duration;

use super::{DeliveryGuarantee, Jitter};

/// What is sent again, how often, and after how long.
///
/// ```
/// use std::time::Duration;
/// use kafka_tower_layers::retry::{DeliveryGuarantee, Jitter, RetryPolicy};
///
/// let policy = RetryPolicy::new()
///     .guarantee(DeliveryGuarantee::AtLeastOnce)
///     .max_retries(3)
///     .base_backoff(Duration::from_millis(50))
///     .max_backoff(Duration::from_secs(2))
///     .jitter(Jitter::Full);
/// # let _ = policy;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub(super) guarantee: DeliveryGuarantee,
    pub(super) allow_duplicates: bool,
    pub(super) max_retries: u32,
    pub(super) base_backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) jitter: Jitter,
}

impl RetryPolicy {
    /// At least once, no duplicates by our hand, 5 retries, from 100 ms to 10 s, [`Jitter::Equal`].
    #[must_use]
    pub const fn new() -> Self {
        Self {
            guarantee: DeliveryGuarantee::AtLeastOnce,
            allow_duplicates: false,
            max_retries: 5,
            base_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            jitter: Jitter::Equal,
        }
    }

    /// What the sender promises.
    #[must_use]
    pub const fn guarantee(mut self, guarantee: DeliveryGuarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Sends also again what may have been written, under [`DeliveryGuarantee::AtLeastOnce`]: the record may then be in
    /// the log twice. Off by default. A time-out is not sent again even so, for the caller's patience is over.
    #[must_use]
    pub const fn allow_duplicates(mut self, allow: bool) -> Self {
        self.allow_duplicates = allow;
        self
    }

    /// How often a record is sent again after its first attempt. Sending it alone after a refusal of its whole batch
    /// does not count.
    #[must_use]
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// The back-off before the first retry; each later one is twice as long. When the broker or a layer asks for less,
    /// it begins eight times as long.
    #[must_use]
    pub const fn base_backoff(mut self, backoff: Duration) -> Self {
        self.base_backoff = backoff;
        self
    }

    /// No back-off is longer than this.
    #[must_use]
    pub const fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// How a back-off is spread.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}
