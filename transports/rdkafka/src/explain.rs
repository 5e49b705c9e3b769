//! Selects the cause that explains a time-out. Pure: the time is an argument.
//!
//! A cause explains a wait if it was seen during the wait and did not end before the wait did. The nearest place comes
//! first: the record's partition, the broker that leads it, the coordinator, the client.

use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::recent_errors::{ErrorPlace, RecentError};
use kafka_tower_core::text::seconds;

use crate::broker_activity::{BrokerActivity, address};
use crate::codes;

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
    what: What,
}

/// What kind of reason it is, where that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    WithoutToken,
    Unsent,
    Other,
}

impl Explanation {
    pub(crate) fn new(code: Option<i32>, text: String) -> Self {
        Self { code, text, what: What::Other }
    }

    /// The reason is that nothing was sent. It does not explain a record that may have been written since.
    pub(crate) fn unsent(text: String) -> Self {
        Self { code: None, text, what: What::Unsent }
    }

    pub(crate) fn is_unsent(&self) -> bool {
        self.what == What::Unsent
    }

    /// Returns whether a broker throttles the client because of a quota.
    pub(crate) fn is_throttling(&self) -> bool {
        self.code == Some(codes::THROTTLING_QUOTA_EXCEEDED)
    }

    /// The reason is that the client has no valid token.
    pub(crate) fn without_token(text: String) -> Self {
        Self { code: Some(codes::LOCAL_AUTHENTICATION), text, what: What::WithoutToken }
    }

    pub(crate) fn is_without_token(&self) -> bool {
        self.what == What::WithoutToken
    }
}

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
    Explanation::new((cause.code != 0).then_some(cause.code), text)
}

/// A broker throttles this client, or did so for at least half of the wait.
fn throttled<'a>(wait: &Wait<'_>, peers: impl Iterator<Item = &'a BrokerActivity>) -> Option<Explanation> {
    let overlap = |peer: &&BrokerActivity| {
        peer.throttled.map_or(Duration::ZERO, |(at, time)| {
            let end = later(at, time).min(wait.now);
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
    Some(Explanation::new(Some(codes::THROTTLING_QUOTA_EXCEEDED), text))
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
    long.then(|| Explanation::new(Some(codes::LOCAL_TIMED_OUT), text()))
}

/// A connection was lost while requests were on it, and no produce request was answered since.
fn lost<'a>(wait: &Wait<'_>, peers: impl Iterator<Item = &'a BrokerActivity>) -> Option<Explanation> {
    let lost = peers.filter_map(|peer| peer.lost.map(|(code, at)| (at, code, peer)));
    let open = lost.filter(|(at, _, peer)| *at >= wait.since && peer.produced.is_none_or(|produced| produced <= *at));
    let (at, code, peer) = open.max_by_key(|(at, ..)| *at)?;
    let ago = wait.now.saturating_duration_since(at).as_secs_f64();
    let text =
        format!("last broker error {ago:.1} s ago: {}: a request had no answer: {}", peer.name, codes::describe(code));
    Some(Explanation::new(Some(code), text))
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
    Some(Explanation::unsent(format!("nothing was sent to {whom} in that time")))
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
mod tests;
