//! Detects partitions that only a new client can recover. Pure: the time is an argument.
//!
//! librdkafka shows both cases by lines of its log (`debug=topic`), which [`symptom`] reads:
//!
//! - The connection is lost whenever a request to the partition is on it. The broker closes it because of the request,
//!   for example one above its `socket.request.max.bytes`. Other partitions of the broker lose their connection with
//!   it.
//! - The broker rejects the requests to the partition, and every answer about its leader has an older leader epoch than
//!   librdkafka's. The topic was recreated, and librdkafka keeps the leader of the old one for good (librdkafka's issue
//!   4898).
//!
//! A delivery ends the trouble of its partition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Number of lost connections without a delivery between them. Twice as many if several partitions lose theirs, because
/// the network may be the cause.
const LOSSES: u32 = 4;
/// Losses within this time count once, because all requests on a connection are lost together. librdkafka waits longer
/// before it reconnects.
const ONE_LOSS: Duration = Duration::from_millis(50);
/// Minimum time of older answers. A broker that has not learned of a new leader yet gives them for less long.
const STALE: Duration = Duration::from_secs(2);
/// Time after which trouble that was not seen again is over.
const OVER: Duration = Duration::from_secs(60);
/// Maximum number of partitions that are watched.
const PARTITIONS: usize = 10_000;

pub(crate) type Partition = (String, i32);

/// Why a partition is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StuckReason {
    /// This many connections were lost.
    LostConnections(u32),
    /// New metadata is not accepted.
    StaleMetadata,
}

/// What a line of librdkafka's log shows about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symptom {
    /// The connection of a request was lost.
    Lost,
    /// A request was rejected, for example by a broker that does not lead the partition.
    Refused,
    /// An answer about the partition was older than librdkafka's metadata.
    Older,
}

#[derive(Debug)]
struct State {
    losses: u32,
    lost: Option<Instant>,
    refused: bool,
    /// Times of the first and the last older answer.
    older: Option<(Instant, Instant)>,
    seen: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct PartitionTroubles(BTreeMap<Partition, State>);

impl PartitionTroubles {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn sign(&mut self, sign: Symptom, partition: Partition, now: Instant) {
        self.forget(now);
        if self.0.len() >= PARTITIONS && !self.0.contains_key(&partition) {
            return;
        }
        let state =
            self.0.entry(partition).or_insert(State { losses: 0, lost: None, refused: false, older: None, seen: now });
        state.seen = now;
        match sign {
            Symptom::Lost if state.lost.is_none_or(|lost| now.saturating_duration_since(lost) >= ONE_LOSS) => {
                state.losses += 1;
                state.lost = Some(now);
            }
            Symptom::Lost => {}
            Symptom::Refused => state.refused = true,
            Symptom::Older => state.older = Some((state.older.map_or(now, |(first, _)| first), now)),
        }
    }

    /// Forgets trouble that is over.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, state| now.saturating_duration_since(state.seen) < OVER);
    }

    pub(crate) fn delivered(&mut self, topic: &str, partition: i32) {
        self.0.remove(&(topic.to_owned(), partition));
    }

    /// Returns the partitions that only a new client can recover.
    pub(crate) fn stuck(&self) -> BTreeMap<Partition, StuckReason> {
        let several = self.0.values().filter(|state| state.losses >= LOSSES).count() > 1;
        let enough = if several { 2 * LOSSES } else { LOSSES };
        let of = |state: &State| match state.older {
            Some((first, last)) if state.refused && last.saturating_duration_since(first) >= STALE => {
                Some(StuckReason::StaleMetadata)
            }
            _ => (state.losses >= enough).then_some(StuckReason::LostConnections(state.losses)),
        };
        self.0.iter().filter_map(|(partition, state)| Some((partition.clone(), of(state)?))).collect()
    }
}

/// Reads a line of `debug=topic`.
pub(crate) fn symptom(facility: &str, text: &str) -> Option<(Symptom, Partition)> {
    // "t [0]: broker unavailable: produce: Local: Broker transport failure"
    // "t [0]: ignoring outdated metadata update with leader epoch 0 which is older than our cached epoch 3"
    let sign = match facility {
        "BROKERUA" if text.ends_with(": broker unavailable: produce: Local: Broker transport failure") => Symptom::Lost,
        "BROKERUA" if text.contains("]: broker unavailable: produce: Broker: ") => Symptom::Refused,
        "BROKER" if text.contains("]: ignoring outdated metadata update ") => Symptom::Older,
        _ => return None,
    };
    Some((sign, partition_of(text)?))
}

/// Reads the partition that a line of `debug=topic` is about: "t [0]: …".
pub(crate) fn partition_of(text: &str) -> Option<Partition> {
    // "[thrd:…]: " may precede the topic, whose name has no blank and no bracket.
    let (before, _) = text
        .split_once("]: ")
        .filter(|(before, _)| !before.starts_with("[thrd:"))
        .or_else(|| text.split_once("]: ").and_then(|(_, rest)| rest.split_once("]: ")))?;
    let (topic, partition) = before.rsplit_once(" [")?;
    Some((topic.to_owned(), partition.parse().ok()?))
}

/// Time between replacements: longer each time, so that a cluster in trouble is not flooded with new clients.
#[derive(Debug, Default)]
pub(crate) struct ReplaceBackOff {
    last: Option<(Instant, Duration)>,
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// The time starts anew after this time without a replacement.
const CALM: Duration = Duration::from_secs(300);

impl ReplaceBackOff {
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.last.is_none_or(|(at, wait)| now.saturating_duration_since(at) >= wait)
    }

    pub(crate) fn replaced(&mut self, now: Instant) {
        let wait = match self.last {
            Some((at, wait)) if now.saturating_duration_since(at) < CALM => (wait * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some((now, wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(partition: i32) -> Partition {
        ("t".to_owned(), partition)
    }

    #[test]
    fn lost_connections_count_until_a_delivery() {
        let (mut troubles, start) = (PartitionTroubles::default(), Instant::now());
        let at = |n: u32| start + Duration::from_millis(100) * n;
        for n in 0..LOSSES {
            assert!(troubles.stuck().is_empty());
            // Five requests are lost with one connection.
            for _ in 0..5 {
                troubles.sign(Symptom::Lost, p(0), at(n));
            }
            troubles.sign(Symptom::Lost, p(1), at(n));
            troubles.delivered("t", 1);
        }
        assert_eq!(troubles.stuck(), BTreeMap::from([(p(0), StuckReason::LostConnections(LOSSES))]));
        troubles.delivered("t", 0);
        assert!(troubles.is_empty());
    }

    #[test]
    fn lost_connections_of_several_partitions_need_more_losses() {
        let (mut troubles, start) = (PartitionTroubles::default(), Instant::now());
        for n in 0..2 * LOSSES {
            assert!(n < LOSSES || troubles.stuck().is_empty(), "{n}");
            troubles.sign(Symptom::Lost, p(0), start + ONE_LOSS * n);
            troubles.sign(Symptom::Lost, p(1), start + ONE_LOSS * n);
        }
        assert_eq!(troubles.stuck().len(), 2);
    }

    #[test]
    fn symptoms_of_long_ago_do_not_count() {
        let (mut troubles, start) = (PartitionTroubles::default(), Instant::now());
        for n in 0..10 * LOSSES {
            troubles.sign(Symptom::Lost, p(0), start + OVER * n);
        }
        assert!(troubles.stuck().is_empty());
    }

    #[test]
    fn older_metadata_that_persists_and_refuses_records_means_stuck() {
        let (mut troubles, start) = (PartitionTroubles::default(), Instant::now());
        troubles.sign(Symptom::Older, p(0), start);
        troubles.sign(Symptom::Older, p(0), start + STALE / 2);
        assert!(troubles.stuck().is_empty());
        troubles.sign(Symptom::Older, p(0), start + STALE);
        assert!(troubles.stuck().is_empty(), "records are not refused");
        troubles.sign(Symptom::Refused, p(0), start + STALE);
        assert_eq!(troubles.stuck(), BTreeMap::from([(p(0), StuckReason::StaleMetadata)]));
    }

    #[test]
    fn lines_of_librdkafka_are_read() {
        let lost = "a.b [12]: broker unavailable: produce: Local: Broker transport failure";
        assert_eq!(symptom("BROKERUA", lost), Some((Symptom::Lost, ("a.b".to_owned(), 12))));
        let thread = format!("[thrd:127.0.0.1:9092/1]: {lost}");
        assert_eq!(symptom("BROKERUA", &thread), Some((Symptom::Lost, ("a.b".to_owned(), 12))));
        let other = "t [0]: broker unavailable: produce: Broker: Not leader for partition";
        assert_eq!(symptom("BROKERUA", other), Some((Symptom::Refused, p(0))));
        let older = "[thrd:main]: t [0]: ignoring outdated metadata update with leader epoch 0 which is older than our cached epoch 3";
        assert_eq!(symptom("BROKER", older), Some((Symptom::Older, p(0))));
        assert_eq!(symptom("BROKER", "t [0]: leader 1 epoch 1 -> leader 2 epoch 2"), None);
    }

    #[test]
    fn the_time_between_replacements_grows() {
        let (mut back_off, mut now) = (ReplaceBackOff::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert!(back_off.is_over(now));
            back_off.replaced(now);
            let wait = (0..).map(Duration::from_secs).find(|wait| back_off.is_over(now + *wait)).unwrap();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        back_off.replaced(now + CALM);
        assert!(back_off.is_over(now + CALM + FIRST));
    }
}
