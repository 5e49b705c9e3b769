use std::time::Duration;

use super::{DeliveryGuarantee, Jitter};

/// Retry policy: which records are sent again, how often, and after which back-off.
///
/// ```
/// use std::time::Duration;
/// use kafka_tower_layers::retry::{DeliveryGuarantee, Jitter, RetryPolicy};
///
/// let policy = RetryPolicy::new()
///     .delivery_guarantee(DeliveryGuarantee::AtLeastOnce)
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
    /// Creates the default policy: at least once, no duplicates, 5 retries, back-off from 100 ms to 10 s,
    /// [`Jitter::Equal`].
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

    /// Sets the delivery guarantee. Default: [`DeliveryGuarantee::AtLeastOnce`].
    #[must_use]
    pub const fn delivery_guarantee(mut self, guarantee: DeliveryGuarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Also retries records that may have been written, under [`DeliveryGuarantee::AtLeastOnce`]: such a record may
    /// be in the log twice. Default: false. A time-out is never retried, because the send's deadline has passed.
    #[must_use]
    pub const fn allow_duplicates(mut self, allow: bool) -> Self {
        self.allow_duplicates = allow;
        self
    }

    /// Maximum number of retries after the first attempt. Default: 5. Sending a record isolated after its batch was
    /// refused does not count.
    #[must_use]
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Back-off before the first retry; it doubles with each later one. Default: 100 ms. If the broker or a layer
    /// asks for a lower rate, the first back-off is eight times as long.
    #[must_use]
    pub const fn base_backoff(mut self, backoff: Duration) -> Self {
        self.base_backoff = backoff;
        self
    }

    /// Maximum back-off. Default: 10 s.
    #[must_use]
    pub const fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// Randomization of the back-off. Default: [`Jitter::Equal`].
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
