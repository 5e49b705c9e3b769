//! Tests of the selection of a cause.

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
        self.causes.insert(0, RecentError::new(place, code, text, last));
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
    let line = Line::new(0, 4_000).peer(1, B1, healthy).peer(2, "b2:9092/2", silent).peer(3, "b3:9092/3", throttles);
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
fn a_lost_connection_explains_waits_until_a_batch_is_answered() {
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
