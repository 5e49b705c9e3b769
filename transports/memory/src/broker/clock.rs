//! The broker's clock. The instant is an argument.

use kafka_tower_core::Timestamp;
use tokio::time::Instant;

/// Zero of the broker's clock, 2024-01-01 00:00 UTC: the timestamp of the first record without one of its own. Later
/// timestamps follow tokio's clock, so that they are the same in each run with a paused clock.
pub const EPOCH: Timestamp = Timestamp::from_millis(1_704_067_200_000);

/// Kafka's default for `message.timestamp.after.max.ms`, in ms.
const AFTER_MAX_MS: i64 = 3_600_000;

#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Zero of the clock: the first time it was read.
    origin: Option<Instant>,
}

impl Clock {
    pub(super) fn timestamp(&mut self, now: Instant) -> Timestamp {
        let elapsed = now.duration_since(*self.origin.get_or_insert(now));
        let millis = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(EPOCH.as_millis().saturating_add(millis))
    }
}

/// Whether a timestamp is more than an hour ahead of now: the later one of tokio's clock, which may be paused, and
/// the system's.
pub(super) fn is_ahead(timestamp: Timestamp, now: Timestamp) -> bool {
    let latest = now.as_millis().max(Timestamp::now().as_millis()).saturating_add(AFTER_MAX_MS);
    timestamp.as_millis() > latest
}
