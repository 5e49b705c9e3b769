use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A Kafka timestamp: milliseconds since 1970-01-01 00:00 UTC.
///
/// ```
/// use kafka_tower_core::Timestamp;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let time = Timestamp::from(UNIX_EPOCH + Duration::from_millis(1_500));
/// assert_eq!(time.as_millis(), 1_500);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// The milliseconds with the sign bit flipped, which keeps their order. Never 0, so that `Option<Timestamp>` has the same size:
    /// every record contains one, and every layer moves the record.
    flipped: NonZeroU64,
}

/// Who set a record's [`Timestamp`] (`message.timestamp.type` of the topic).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimestampType {
    /// The producer (`CreateTime`).
    Create,
    /// The broker that appended the record (`LogAppendTime`).
    LogAppend,
}

const SIGN: u64 = 1 << 63;

impl Timestamp {
    /// Creates a timestamp from milliseconds since 1970. `i64::MIN` becomes `i64::MIN + 1`; Kafka accepts neither.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        match NonZeroU64::new(millis as u64 ^ SIGN) {
            Some(flipped) => Self { flipped },
            None => Self { flipped: NonZeroU64::MIN },
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        (self.flipped.get() ^ SIGN) as i64
    }

    /// The current time of the system's clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    /// Saturates at the limits of 64-bit milliseconds.
    fn from(time: SystemTime) -> Self {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::from_millis(millis(after)),
            Err(before) => Self::from_millis(-millis(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.as_millis())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_and_their_order_are_kept() {
        let millis = [i64::MIN + 1, -1, 0, 1, 1_500, i64::MAX];
        let stamps = millis.map(Timestamp::from_millis);
        assert_eq!(stamps.map(Timestamp::as_millis), millis);
        assert!(stamps.is_sorted() && stamps[1] < stamps[2]);
        assert_eq!(Timestamp::from_millis(i64::MIN), stamps[0]);
        assert_eq!(format!("{:?} {}", stamps[4], stamps[4]), "Timestamp(1500) 1500 ms");
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<i64>());
    }
}
