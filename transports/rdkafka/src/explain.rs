//! Selects the cause that explains a time-out. Pure: the time is an argument.
//!
//! A cause explains a wait if it was seen during the wait and did not end before the wait did. The nearest place comes
//! first: the record's partition, the broker that leads it, the coordinator, the client.

use std::time::{Duration, Instant};

use crate::broker_activity::{BrokerActivity, address};
use kafka_tower_core::text::seconds;

use crate::codes;
use crate::recent_errors::{ErrorPlace, RecentError};

/// How long an unreachable broker explains waits that began later: librdkafka repeats a connection's error every 30 s.
const LASTS: Duration = Duration::from_secs(60);

/// How long a partition without a leader explains waits that began later: librdkafka asks for the leader every second
/// while records wait for it.
const NO_LEADER: Duration = Duration::from_secs(5);

/// A wait, and what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait<'a> {
    /// None: any record.
    pub(crate) topic: Option<&'a str>,
    /// None: any partition.
    pub(crate) partition: Option<i32>,
    /// Id of the broker that leads the partition, if known.
    pub(crate) leader: Option<i32>,
    /// The wait is for the transaction coordinator and not for a partition.
    pub(crate) coordinator: bool,
    /// How long a broker may take for an answer.
    pub(crate) patience: Duration,
    pub(crate) since: Instant,
    pub(crate) now: Instant,
}

/// Reason for a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// Kafka's or librdkafka's code, if there is one.
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Explanation {
    /// Returns whether a broker throttles the client because of a quota.
    pub(crate) fn is_throttling(&self) -> bool {
        self.code == Some(codes::THROTTLING_QUOTA_EXCEEDED)
    }

    /// Returns whether the reason is that nothing was sent. It does not explain a record that may have been written
    /// since.
    pub(crate) fn is_unsent(&self) -> bool {
        self.code.is_none() && self.text.starts_with(UNSENT)
    }
}

/// Beginning of the text if nothing was sent.
const UNSENT: &str = "nothing was sent to ";

impl Wait<'_> {
    fn time(&self) -> Duration {
        self.now.saturating_duration_since(self.since)
    }

    fn is_for(&self, topic: &str, partition: i32) -> bool {
        self.topic.is_none_or(|its| its == topic) && self.partition.is_none_or(|its| its == partition)
    }
}

/// Selects the reason for a wait. `causes` has the most recent one first.
pub(crate) fn explain<'a>(
    wait: &Wait<'_>,
    causes: impl Iterator<Item = &'a RecentError> + Clone,
    peers: &[BrokerActivity],
) -> Option<Explanation> {
    let without_leader =
        |cause: &RecentError| cause.has_no_leader() && wait.now.saturating_duration_since(cause.last) <= NO_LEADER;
    let seen = causes.clone().filter(|cause| cause.last >= wait.since || without_leader(cause));
    let of_partition = |cause: &&RecentError| match &cause.place {
        ErrorPlace::Partition { topic, partition } => !wait.coordinator && wait.is_for(topic, *partition),
        _ => false,
    };
    let of = |place: ErrorPlace| seen.clone().find(move |cause| cause.place == place);
    let its = || peers.iter().filter(|peer| wait.leader.is_none_or(|leader| peer.id == leader));
    let first = if wait.coordinator { of(ErrorPlace::Coordinator) } else { seen.clone().find(of_partition) };
    if let Some(cause) = first {
        return Some(error(cause, wait.now));
    }
    if let Some(found) = throttled(wait, its()).or_else(|| silent(wait, its())) {
        return Some(found);
    }
    let unreachable = causes.filter(|cause| {
        matches!(&cause.place, ErrorPlace::Broker(name) if concerns(wait, name, peers) && lasts(wait, cause, name, peers))
    });
    if let Some(cause) = unreachable.max_by_key(|cause| cause.last) {
        return Some(error(cause, wait.now));
    }
    if let Some(found) = lost(wait, its()) {
        return Some(found);
    }
    let answered = peers.iter().filter_map(|peer| peer.answered).max();
    let of_client = seen.clone().find(|cause| {
        cause.place == ErrorPlace::Client
            && (cause.code != codes::LOCAL_ALL_BROKERS_DOWN || answered.is_none_or(|at| at <= cause.last))
    });
    let rest = of(ErrorPlace::Coordinator).or(of_client).map(|cause| error(cause, wait.now));
    rest.or_else(|| unsent(wait, peers))
}

/// "last broker error 0.4 s ago: …"
fn error(cause: &RecentError, now: Instant) -> Explanation {
    let ago = now.saturating_duration_since(cause.last);
    let text = format!("last broker error {:.1} s ago: {}", ago.as_secs_f64(), cause.text);
    Explanation { code: (cause.code != 0).then_some(cause.code), text }
}

/// A broker throttles this client, or did so for at least half of the wait.
fn throttled<'a>(wait: &Wait<'_>, peers: impl Iterator<Item = &'a BrokerActivity>) -> Option<Explanation> {
    let overlap = |peer: &&BrokerActivity| {
        peer.throttled.map_or(Duration::ZERO, |(at, time)| {
            let end = at.checked_add(time).map_or(wait.now, |end| end.min(wait.now));
            end.saturating_duration_since(at.max(wait.since))
        })
    };
    // The answer after the pause takes time of its own; it announces a new pause, or ends this one.
    let lasts = |peer: &BrokerActivity| {
        peer.throttled.is_some_and(|(at, time)| wait.now.saturating_duration_since(at) <= time * 2)
    };
    let peer = peers.max_by_key(|peer| (lasts(peer), overlap(peer)))?;
    if !lasts(peer) && (overlap(&peer).is_zero() || overlap(&peer) < wait.time() / 2) {
        return None;
    }
    let (_, time) = peer.throttled?;
    let text = format!("{} throttles this client (a quota): it asked for a pause of {}", peer.name, seconds(time));
    Some(Explanation { code: Some(codes::THROTTLING_QUOTA_EXCEEDED), text })
}

/// A broker has requests and answers none of them.
fn silent<'a>(wait: &Wait<'_>, peers: impl Iterator<Item = &'a BrokerActivity>) -> Option<Explanation> {
    let silence = |peer: &&BrokerActivity| match peer.unanswered {
        0 => Duration::ZERO,
        _ => wait.now.saturating_duration_since(peer.silent_since),
    };
    let peer = peers.max_by_key(silence)?;
    let silence = silence(&peer);
    let long = !silence.is_zero() && silence >= wait.patience;
    let text = || format!("{} has not answered for {}", peer.name, seconds(silence));
    long.then(|| Explanation { code: Some(codes::LOCAL_TIMED_OUT), text: text() })
}

/// A connection was lost while requests were on it, and no produce request was answered since.
fn lost<'a>(wait: &Wait<'_>, peers: impl Iterator<Item = &'a BrokerActivity>) -> Option<Explanation> {
    let lost = peers.filter_map(|peer| peer.lost.map(|(code, at)| (at, code, peer)));
    let open = lost.filter(|(at, _, peer)| *at >= wait.since && peer.produced.is_none_or(|produced| produced <= *at));
    let (at, code, peer) = open.max_by_key(|(at, ..)| *at)?;
    let ago = wait.now.saturating_duration_since(at).as_secs_f64();
    let text =
        format!("last broker error {ago:.1} s ago: {}: a request had no answer: {}", peer.name, codes::describe(code));
    Some(Explanation { code: Some(code), text })
}

/// Nothing was sent that could have carried the record.
fn unsent(wait: &Wait<'_>, peers: &[BrokerActivity]) -> Option<Explanation> {
    let sent = |peer: &BrokerActivity| peer.sent.is_some_and(|at| at >= wait.since);
    if wait.topic.is_none()
        || peers
            .iter()
            .any(|peer| wait.leader.is_none_or(|leader| peer.id == leader) && (sent(peer) || peer.unanswered > 0))
    {
        return None;
    }
    let whom = match wait.leader {
        Some(leader) => match peers.iter().find(|peer| peer.id == leader) {
            Some(peer) => format!("{}, which leads the partition,", peer.name),
            None => format!("broker {leader}, which leads the partition,"),
        },
        None => "any broker".to_owned(),
    };
    Some(Explanation { code: None, text: format!("{UNSENT}{whom} in that time") })
}

/// Returns whether an error of the broker with this name can be why the record waits.
fn concerns(wait: &Wait<'_>, name: &str, peers: &[BrokerActivity]) -> bool {
    let Some(leader) = wait.leader else { return true };
    let same = |peer: &BrokerActivity| peer.id == leader && peer.address() == address(name);
    number(name) == Some(leader) || peers.iter().any(same)
}

/// Returns whether the cause was seen in time or lasts from before, and no answer of the broker ended it.
fn lasts(wait: &Wait<'_>, cause: &RecentError, name: &str, peers: &[BrokerActivity]) -> bool {
    let recent = cause.last >= wait.since || wait.now.saturating_duration_since(cause.last) <= LASTS;
    let mut same = peers.iter().filter(|peer| peer.address() == address(name));
    recent && !same.any(|peer| peer.answered.is_some_and(|at| at > cause.last))
}

fn number(name: &str) -> Option<i32> {
    name.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Timeline of one wait from `since` to `now`.
    struct Line {
        origin: Instant,
        since: u64,
        now: u64,
        causes: Vec<RecentError>,
        peers: Vec<BrokerActivity>,
    }

    impl Line {
        fn new(since: u64, now: u64) -> Self {
            Self { origin: Instant::now(), since, now, causes: Vec::new(), peers: Vec::new() }
        }

        fn at(&self, at: u64) -> Instant {
            self.origin + ms(at)
        }

        fn cause(mut self, place: ErrorPlace, code: i32, at: u64) -> Self {
            let last = self.at(at);
            let text = format!("{place:?}");
            self.causes.insert(0, RecentError { place, code, text, first: last, last });
            self
        }

        fn partition(self, partition: i32, at: u64) -> Self {
            self.cause(ErrorPlace::Partition { topic: "t".into(), partition }, 19, at)
        }

        fn broker(self, name: &str, at: u64) -> Self {
            self.cause(ErrorPlace::Broker(name.into()), -195, at)
        }

        fn peer(mut self, id: i32, name: &str, change: impl FnOnce(&mut BrokerActivity, Instant)) -> Self {
            let mut peer = BrokerActivity::new(id, name.into(), self.origin);
            peer.sent = Some(self.at(self.now));
            change(&mut peer, self.origin);
            self.peers.push(peer);
            self
        }

        fn wait(&self) -> Wait<'_> {
            let (since, now) = (self.at(self.since), self.at(self.now));
            let patience = (now - since) / 2;
            Wait { topic: Some("t"), partition: Some(0), leader: Some(1), coordinator: false, patience, since, now }
        }

        fn explain(&self) -> Option<String> {
            explain(&self.wait(), self.causes.iter(), &self.peers).map(|why| why.text)
        }
    }

    const B1: &str = "b1:9092/1";

    fn healthy(peer: &mut BrokerActivity, origin: Instant) {
        peer.answered = Some(origin + ms(3_900));
        peer.silent_since = origin + ms(3_900);
        peer.produced = peer.answered;
    }

    #[test]
    fn the_records_own_partition_comes_first() {
        let line = Line::new(0, 4_000).broker(B1, 3_950).partition(1, 3_900).partition(0, 3_600);
        assert_eq!(line.explain().unwrap(), "last broker error 0.4 s ago: Partition { topic: \"t\", partition: 0 }");
        // A cause of another partition explains nothing.
        let line = Line::new(0, 4_000).partition(1, 3_900).peer(1, B1, healthy);
        assert_eq!(line.explain(), None);
    }

    #[test]
    fn a_cause_from_before_the_wait_explains_nothing() {
        let line = Line::new(1_000, 4_000).partition(0, 999).cause(ErrorPlace::Client, -194, 999).peer(1, B1, healthy);
        assert_eq!(line.explain(), None);
    }

    #[test]
    fn a_broker_that_throttles_or_is_silent_is_named() {
        let throttles = |peer: &mut BrokerActivity, origin: Instant| {
            peer.throttled = Some((origin + ms(500), ms(5_000)));
            peer.unanswered = 1;
        };
        assert_eq!(
            Line::new(0, 4_000).peer(1, B1, throttles).explain().unwrap(),
            "b1:9092/1 throttles this client (a quota): it asked for a pause of 5 s"
        );
        let silent = |peer: &mut BrokerActivity, _: Instant| peer.unanswered = 1;
        assert_eq!(Line::new(0, 4_000).peer(1, B1, silent).explain().unwrap(), "b1:9092/1 has not answered for 4 s");
        // Not the leader.
        let line =
            Line::new(0, 4_000).peer(1, B1, healthy).peer(2, "b2:9092/2", silent).peer(3, "b3:9092/3", throttles);
        assert_eq!(line.explain(), None);
        // It answered meanwhile.
        let late = |peer: &mut BrokerActivity, origin: Instant| {
            peer.unanswered = 1;
            peer.silent_since = origin + ms(3_000);
        };
        assert_eq!(Line::new(0, 4_000).peer(1, B1, late).explain(), None);
        // The throttling ended long before.
        let over = |peer: &mut BrokerActivity, origin: Instant| peer.throttled = Some((origin, ms(1_000)));
        assert_eq!(Line::new(0, 4_000).peer(1, B1, over).explain(), None);
    }

    #[test]
    fn a_broker_that_cannot_be_reached_explains_later_waits_until_it_answers() {
        let line = || Line::new(20_000, 24_000).broker("sasl_ssl://b1:9092/bootstrap", 5_000);
        let known = |peer: &mut BrokerActivity, origin: Instant| peer.answered = Some(origin + ms(4_000));
        assert!(line().peer(1, B1, known).explain().unwrap().starts_with("last broker error 19.0 s ago: Broker"));
        let again = |peer: &mut BrokerActivity, origin: Instant| {
            healthy(peer, origin);
            peer.answered = Some(origin + ms(6_000));
        };
        assert_eq!(line().peer(1, B1, again).explain(), None);
        // Only for 60 s: librdkafka repeats the error every 30 s.
        let line = Line::new(66_000, 70_000).broker(B1, 5_000).peer(1, B1, |_, _| {});
        assert_eq!(line.explain(), None);
        // A broker that does not lead the partition explains nothing. With an unknown leader, any broker may.
        let other = Line::new(0, 4_000).broker("b2:9092/2", 3_000).peer(1, B1, healthy);
        assert_eq!(other.explain(), None);
        let anyones = Wait { leader: None, ..other.wait() };
        assert!(explain(&anyones, other.causes.iter(), &other.peers).is_some());
    }

    #[test]
    fn a_lost_connection_says_something_until_a_batch_is_answered() {
        let lost = |produced: Option<u64>| {
            move |peer: &mut BrokerActivity, origin: Instant| {
                peer.lost = Some((codes::LOCAL_TRANSPORT, origin + ms(3_000)));
                peer.answered = Some(origin + ms(3_100));
                peer.produced = produced.map(|at| origin + ms(at));
            }
        };
        assert_eq!(
            Line::new(0, 4_000).peer(1, B1, lost(Some(2_000))).explain().unwrap(),
            "last broker error 1.0 s ago: b1:9092/1: a request had no answer: the connection to the broker failed (_TRANSPORT)"
        );
        assert_eq!(Line::new(0, 4_000).peer(1, B1, lost(Some(3_500))).explain(), None);
        assert_eq!(Line::new(3_500, 4_000).peer(1, B1, lost(None)).explain(), None, "before it was called");
    }

    #[test]
    fn all_brokers_down_explains_only_while_it_lasts() {
        let down = || Line::new(0, 4_000).cause(ErrorPlace::Client, codes::LOCAL_ALL_BROKERS_DOWN, 1_000);
        assert!(down().explain().is_some());
        assert_eq!(down().peer(1, B1, healthy).explain(), None);
        // Any other cause comes first.
        let line = down().cause(ErrorPlace::Broker(B1.into()), -195, 900);
        assert!(line.explain().unwrap().contains("Broker"));
    }

    #[test]
    fn the_coordinator_explains_its_calls_first() {
        let line = Line::new(0, 4_000).cause(ErrorPlace::Coordinator, 15, 1_000).partition(0, 3_000);
        let call = Wait { topic: None, partition: None, leader: None, coordinator: true, ..line.wait() };
        let why = explain(&call, line.causes.iter(), &[]).unwrap();
        assert_eq!((why.code, why.text.as_str()), (Some(15), "last broker error 3.0 s ago: Coordinator"));
        // It also explains a record, as the last choice.
        let line = Line::new(0, 4_000).cause(ErrorPlace::Coordinator, 15, 1_000).peer(1, B1, healthy);
        assert!(line.explain().is_some());
    }

    #[test]
    fn a_leader_to_which_nothing_was_sent_is_named() {
        let line = Line::new(1_000, 4_000).peer(1, B1, |peer, origin| peer.sent = Some(origin + ms(999)));
        assert_eq!(line.explain().unwrap(), "nothing was sent to b1:9092/1, which leads the partition, in that time");
        let why = explain(&Wait { leader: Some(7), ..line.wait() }, line.causes.iter(), &line.peers).unwrap();
        assert_eq!(why.text, "nothing was sent to broker 7, which leads the partition, in that time");
        let unknown = Wait { leader: None, ..line.wait() };
        let why = explain(&unknown, line.causes.iter(), &line.peers).unwrap();
        assert_eq!(why.text, "nothing was sent to any broker in that time");
    }

    fn place() -> impl Strategy<Value = ErrorPlace> {
        prop_oneof![
            (0..3i32).prop_map(|partition| ErrorPlace::Partition { topic: "t".into(), partition }),
            (0..3i32).prop_map(|id| ErrorPlace::Broker(format!("b{id}:9092/{id}"))),
            Just(ErrorPlace::Coordinator),
            Just(ErrorPlace::Client),
        ]
    }

    proptest! {
        /// The selected cause was seen during the wait and not ended by an answer; and it is of the nearest place.
        #[test]
        fn only_a_cause_that_was_seen_in_time_and_did_not_end_explains(
            seen in prop::collection::vec((place(), 0..4_000u64), 0..12),
            answered in prop::option::of(0..4_000u64),
            since in 0..4_000u64,
        ) {
            let mut line = Line::new(since, 4_000);
            let mut seen = seen;
            seen.sort_by_key(|(_, at)| *at);
            for (place, at) in &seen {
                line = line.cause(place.clone(), 1, *at);
            }
            line = line.peer(1, "b1:9092/1", |peer, origin| peer.answered = answered.map(|at| origin + ms(at)));
            let describe = line.explain();
            let of = |wanted: fn(&ErrorPlace) -> bool| seen.iter().rev().find(move |(place, _)| wanted(place)).filter(|(_, at)| *at >= since);
            let own = of(|place| matches!(place, ErrorPlace::Partition { partition: 0, .. }));
            let leader = seen.iter().rev().find(|(place, _)| matches!(place, ErrorPlace::Broker(name) if name == "b1:9092/1"))
                .filter(|(_, at)| answered.is_none_or(|answer| answer <= *at));
            let rest = of(|place| *place == ErrorPlace::Coordinator).or(of(|place| *place == ErrorPlace::Client));
            let expected = own.or(leader).or(rest).map(|(place, _)| format!("{place:?}"));
            match (describe, expected) {
                (None, None) => {}
                (Some(describe), Some(expected)) => prop_assert!(describe.ends_with(&expected), "{describe}: {expected}"),
                (describe, expected) => prop_assert!(false, "{describe:?}: {expected:?}"),
            }
        }
    }
}
