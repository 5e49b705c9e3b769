//! Where `tail` begins to read.

use std::str::FromStr;
use std::time::SystemTime;

use kafka_tower::source::Checkpoint;
use kafka_tower::{StartFrom, Timestamp};

use crate::fixed::{Logs, Range};

/// A place in the log of each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Earliest,
    Latest,
    Offset(i64),
    /// This number of offsets before the end.
    BeforeEnd(i64),
    Time(Timestamp),
}

const FORMS: &str = "write earliest, latest, an offset (-10: the last 10), a time (2026-11-30T04:00:00Z), or a duration before now (15m)";

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earliest" | "beginning" => return Ok(Self::Earliest),
            "latest" | "end" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(offset) = text.parse::<i64>() {
            return Ok(if text.starts_with('-') {
                Self::BeforeEnd(offset.saturating_neg())
            } else {
                Self::Offset(offset)
            });
        }
        if let Ok(time) = humantime::parse_rfc3339_weak(text) {
            return Ok(Self::Time(time.into()));
        }
        let ago = humantime::parse_duration(text).map_err(|_| FORMS)?;
        Ok(Self::Time(SystemTime::now().checked_sub(ago).ok_or(FORMS)?.into()))
    }
}

impl From {
    /// The offset at which a partition begins. None for a time, which the brokers look up.
    pub(crate) fn offset(self, log: Range) -> Option<i64> {
        match self {
            Self::Earliest => Some(log.start),
            Self::Latest => Some(log.end),
            Self::Offset(offset) => Some(offset.clamp(log.start, log.end)),
            Self::BeforeEnd(count) => Some(log.end.saturating_sub(count).clamp(log.start, log.end)),
            Self::Time(_) => None,
        }
    }

    /// Where a member of a group begins, if the group has committed nothing.
    pub(crate) fn start(self, logs: &Logs) -> StartFrom {
        match self {
            Self::Earliest => StartFrom::Earliest,
            Self::Latest => StartFrom::Latest,
            Self::Time(time) => StartFrom::Timestamp(time),
            Self::Offset(_) | Self::BeforeEnd(_) => {
                let offsets = logs.iter().filter_map(|(at, log)| Some((at.clone(), self.offset(*log)?)));
                StartFrom::Explicit(offsets.collect::<Checkpoint>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower::TopicPartition;

    use super::*;

    const LOG: Range = Range { start: 10, end: 20, committed: None };

    fn from(text: &str) -> From {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_offsets_within_the_log() {
        let offset = |text: &str| from(text).offset(LOG);
        assert_eq!(["earliest", "latest", "12", "0", "99"].map(offset), [10, 20, 12, 10, 20].map(Some));
        assert_eq!(["-3", "-0", "-99", "-9223372036854775808"].map(offset), [17, 20, 10, 10].map(Some));
        assert_eq!(offset("15m"), None);
    }

    #[test]
    fn times_are_absolute_or_before_now() {
        assert_eq!(from("1970-01-01T00:00:01Z"), From::Time(Timestamp::from_millis(1_000)));
        assert_eq!(from("1970-01-01 00:00:02"), From::Time(Timestamp::from_millis(2_000)));
        let From::Time(ago) = from("1h") else { panic!() };
        let hour = Timestamp::now().as_millis() - ago.as_millis();
        assert!((3_600_000..3_700_000).contains(&hour), "{hour}");
        assert!("newest".parse::<From>().is_err() && "".parse::<From>().is_err());
    }

    #[test]
    fn a_member_begins_at_the_same_place() {
        let logs = Logs::from([(TopicPartition::new("t", 0), LOG)]);
        let StartFrom::Explicit(offsets) = from("-3").start(&logs) else { panic!() };
        assert_eq!(offsets.get("t", 0), Some(17));
        assert_eq!(from("latest").start(&logs), StartFrom::Latest);
    }
}
