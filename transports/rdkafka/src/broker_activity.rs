//! Activity of each broker: answering, silent, disconnected, throttling.
//!
//! Interceptors of librdkafka count every request and every answer. Its statistics have the same numbers, but cost
//! instructions for each record. Counting must be cheap, too. The clock is read only when the counts are
//! looked at: what changed since the last look counts as having happened at this one.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use kafka_tower_core::sync::{lock, read, write};

use crate::codes;
use crate::connections::Connections;

/// Maximum number of brokers observed; further ones are ignored.
const KEPT: usize = 1_000;

/// State of a broker, as its requests and answers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerActivity {
    /// Negative until the broker's id is known.
    pub(crate) id: i32,
    /// "host:9092/1", in librdkafka's notation.
    pub(crate) name: String,
    /// Requests on the connection that have no answer yet.
    pub(crate) unanswered: u32,
    /// Since when requests have been unanswered without any answer. Valid only if `unanswered` is not 0.
    pub(crate) silent_since: Instant,
    pub(crate) sent: Option<Instant>,
    pub(crate) answered: Option<Instant>,
    /// Time of the last answer to a produce request.
    pub(crate) produced: Option<Instant>,
    /// The last request that ended without an answer: librdkafka's code, and when.
    pub(crate) lost: Option<(i32, Instant)>,
    /// When the broker last asked this client to wait, and for how long.
    pub(crate) throttled: Option<(Instant, Duration)>,
}

impl BrokerActivity {
    pub(crate) fn address(&self) -> &str {
        address(&self.name)
    }

    pub(crate) fn new(id: i32, name: String, now: Instant) -> Self {
        Self {
            id,
            name,
            unanswered: 0,
            silent_since: now,
            sent: None,
            answered: None,
            produced: None,
            lost: None,
            throttled: None,
        }
    }
}

/// The brokers' activity at one moment, for all records that expire then.
pub(crate) struct ActivitySnapshot {
    pub(crate) peers: Vec<BrokerActivity>,
    pub(crate) isolated: Vec<BrokerActivity>,
    /// Whether a line about it was logged.
    pub(crate) logged: Cell<bool>,
}

/// Counters of a connection. As a rule only its broker's thread changes them.
#[derive(Debug)]
struct Connection {
    id: i32,
    name: String,
    sent: AtomicU32,
    answered: AtomicU32,
    produced: AtomicU32,
    unanswered: AtomicI32,
    /// Produce requests among the unanswered ones.
    unanswered_produces: AtomicI32,
    seen: Mutex<LastLook>,
}

/// State at the last look.
#[derive(Debug)]
struct LastLook {
    sent: u32,
    answered: u32,
    produced: u32,
    peer: BrokerActivity,
}

/// The brokers of one client.
#[derive(Debug, Default)]
pub(crate) struct BrokerActivities {
    all: RwLock<Vec<Arc<Connection>>>,
    pub(crate) connections: Connections,
    /// Whether a request of a transaction ended without an answer.
    transactional_lost: AtomicBool,
    /// When a connection was last lost while a produce request had no answer.
    produce_lost: Mutex<Option<Instant>>,
    writes: AtomicU64,
    /// When the last request that adds offsets to a transaction ended; `None` while one is under way.
    offsets_ended: Mutex<Option<Instant>>,
}

impl Connection {
    fn new(id: i32, name: &str) -> Self {
        let peer = BrokerActivity::new(id, name.to_owned(), Instant::now());
        Self {
            id,
            name: name.to_owned(),
            sent: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            produced: AtomicU32::new(0),
            unanswered: AtomicI32::new(0),
            unanswered_produces: AtomicI32::new(0),
            seen: Mutex::new(LastLook { sent: 0, answered: 0, produced: 0, peer }),
        }
    }

    fn one_less_unanswered(&self, produce: bool) {
        let less = |count: &AtomicI32| {
            if count.fetch_sub(1, Ordering::Relaxed) <= 0 {
                count.store(0, Ordering::Relaxed);
            }
        };
        less(&self.unanswered);
        if produce {
            less(&self.unanswered_produces);
        }
    }

    fn look(&self, now: Instant, change: impl FnOnce(&mut BrokerActivity)) -> BrokerActivity {
        let mut seen = lock(&self.seen);
        let LastLook { sent, answered, produced, peer } = &mut *seen;
        let new = |count: &AtomicU32, old: &mut u32| {
            let current = count.load(Ordering::Relaxed);
            std::mem::replace(old, current) != current
        };
        if new(&self.sent, sent) {
            peer.sent = Some(now);
        }
        if new(&self.produced, produced) {
            peer.produced = Some(now);
        }
        if new(&self.answered, answered) {
            peer.answered = Some(now);
            peer.silent_since = now;
        }
        if peer.unanswered == 0 {
            peer.silent_since = now;
        }
        peer.unanswered = u32::try_from(self.unanswered.load(Ordering::Relaxed)).unwrap_or(0);
        change(peer);
        peer.clone()
    }
}

impl BrokerActivities {
    /// A connection was lost, or could not be made. Called before the requests on it end.
    pub(crate) fn disconnected(&self) {
        // The broker's name may be another one than that of its requests, so all brokers count.
        if self.connections().iter().any(|peer| peer.unanswered_produces.load(Ordering::Relaxed) > 0) {
            *lock(&self.produce_lost) = Some(Instant::now());
        }
    }

    /// Records that a request of a transaction ended without an answer.
    pub(crate) fn transactional_lost(&self) {
        self.transactional_lost.store(true, Ordering::Release);
    }

    /// Returns whether a request of a transaction ever ended without an answer.
    pub(crate) fn any_transactional_lost(&self) -> bool {
        self.transactional_lost.load(Ordering::Acquire)
    }

    /// A request with records or a group's offsets was sent.
    pub(crate) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Release);
    }

    /// Returns the number of such requests.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// A request that adds offsets to a transaction was sent.
    pub(crate) fn offsets_sent(&self) {
        *lock(&self.offsets_ended) = None;
    }

    /// A request that adds offsets to a transaction was answered, or lost.
    pub(crate) fn offsets_ended(&self) {
        *lock(&self.offsets_ended) = Some(Instant::now());
    }

    /// Returns since when no request that adds offsets to a transaction is under way, after one was.
    pub(crate) fn no_offsets_since(&self) -> Option<Instant> {
        *lock(&self.offsets_ended)
    }

    /// Returns when a connection was last lost while a produce request had no answer, on any connection.
    pub(crate) fn produce_lost(&self) -> Option<Instant> {
        *lock(&self.produce_lost)
    }

    /// Counts a request to a broker; `produce` says whether it is a produce request.
    pub(crate) fn sent(&self, id: i32, name: &[u8], produce: bool) {
        self.with(id, name, |connection| {
            connection.sent.fetch_add(1, Ordering::Relaxed);
            connection.unanswered.fetch_add(1, Ordering::Relaxed);
            if produce {
                connection.unanswered_produces.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Counts an answer of a broker; `produce` says whether to a produce request.
    pub(crate) fn answered(&self, id: i32, name: &[u8], produce: bool) {
        self.with(id, name, |connection| {
            connection.answered.fetch_add(1, Ordering::Relaxed);
            if produce {
                connection.produced.fetch_add(1, Ordering::Relaxed);
            }
            connection.one_less_unanswered(produce);
        });
    }

    /// Counts a request that ended without an answer.
    pub(crate) fn lost(&self, id: i32, name: &[u8], code: i32, produce: bool) {
        self.with(id, name, |connection| match code {
            // Given up in the queue or by this client, which says nothing about the broker.
            codes::LOCAL_TIMED_OUT_QUEUE | codes::LOCAL_PURGE_QUEUE | codes::LOCAL_RETRY | codes::LOCAL_DESTROY => {}
            codes::LOCAL_PURGE_INFLIGHT => connection.one_less_unanswered(produce),
            codes::LOCAL_TIMED_OUT => {
                connection.one_less_unanswered(produce);
                connection.look(Instant::now(), |peer| peer.lost = Some((code, Instant::now())));
            }
            // The connection is lost with all its requests. A request that was still waiting to be sent gets the same
            // code.
            _ => {
                connection.unanswered_produces.store(0, Ordering::Relaxed);
                if connection.unanswered.swap(0, Ordering::Relaxed) > 0 {
                    connection.look(Instant::now(), |peer| peer.lost = Some((code, Instant::now())));
                }
            }
        });
    }

    /// A broker asks this client to wait; zero ends that.
    pub(crate) fn throttled(&self, id: i32, time: Duration) {
        let now = Instant::now();
        let throttled = (!time.is_zero()).then_some((now, time));
        for connection in self.connections().iter().filter(|connection| connection.id == id) {
            connection.look(now, |peer| peer.throttled = throttled);
        }
    }

    pub(crate) fn all(&self, now: Instant) -> Vec<BrokerActivity> {
        self.connections().iter().map(|connection| connection.look(now, |_| {})).collect()
    }

    /// Updates the state of all brokers.
    pub(crate) fn look(&self, now: Instant) {
        for connection in self.connections() {
            connection.look(now, |_| {});
        }
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        read(&self.all).clone()
    }

    /// A coordinator has a second connection, with another name and the same id.
    fn with(&self, id: i32, name: &[u8], change: impl FnOnce(&Connection)) {
        let known = |all: &[Arc<Connection>]| {
            all.iter().position(|connection| connection.id == id && connection.name.as_bytes() == name)
        };
        let connections = read(&self.all);
        if let Some(at) = known(&connections) {
            return change(&connections[at]);
        }
        drop(connections);
        let name = String::from_utf8_lossy(name);
        let mut connections = write(&self.all);
        // The connection had another name before the broker's id was known or its address changed.
        let is_old = |old: &Connection| {
            let same_place = address(&old.name) == address(&name);
            let same_number = old.id == id && old.name.contains(':') && name.contains(':');
            id >= 0 && (same_number || (old.id < 0 && same_place))
        };
        connections.retain(|old| !is_old(old));
        if connections.len() < KEPT {
            let connection = Arc::new(Connection::new(id, &name));
            change(&connection);
            connections.push(connection);
        }
    }
}

/// `sasl_ssl://host:9092/1` has the address `host:9092`.
pub(crate) fn address(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    name.rsplit_once('/').map_or(name, |(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[u8] = b"b:9092/1";
    const TRANSPORT: i32 = -195;

    fn only(peers: &BrokerActivities) -> BrokerActivity {
        peers.all(Instant::now()).pop().unwrap()
    }

    #[test]
    fn an_answer_ends_one_request_and_the_brokers_silence() {
        let peers = BrokerActivities::default();
        peers.sent(1, NAME, false);
        peers.sent(1, NAME, false);
        let first = only(&peers);
        assert_eq!((first.unanswered, first.answered), (2, None));
        peers.answered(1, NAME, false);
        let then = only(&peers);
        assert_eq!(then.unanswered, 1);
        assert!(then.answered.is_some() && then.silent_since >= first.silent_since);
    }

    #[test]
    fn requests_end_with_their_connection() {
        let peers = BrokerActivities::default();
        peers.sent(1, NAME, false);
        peers.sent(1, NAME, false);
        peers.lost(1, NAME, TRANSPORT, false);
        let peer = only(&peers);
        assert_eq!(peer.unanswered, 0);
        assert_eq!(peer.lost.map(|(code, _)| code), Some(TRANSPORT));
        peers.lost(1, NAME, TRANSPORT, false);
        assert_eq!(only(&peers).lost, peer.lost, "the second request of the same connection says nothing more");
    }

    #[test]
    fn the_end_of_an_idle_connection_is_not_an_error() {
        let peers = BrokerActivities::default();
        peers.sent(1, NAME, false);
        peers.answered(1, NAME, false);
        peers.lost(1, NAME, TRANSPORT, false);
        assert_eq!(only(&peers).lost, None);
    }

    #[test]
    fn a_request_that_was_never_sent_does_not_count_as_lost() {
        let peers = BrokerActivities::default();
        peers.sent(1, NAME, false);
        for code in [codes::LOCAL_TIMED_OUT_QUEUE, codes::LOCAL_PURGE_QUEUE] {
            peers.lost(1, NAME, code, false);
        }
        assert_eq!((only(&peers).unanswered, only(&peers).lost), (1, None));
    }

    #[test]
    fn a_throttle_ends_when_the_broker_says_so() {
        let peers = BrokerActivities::default();
        peers.sent(1, NAME, false);
        peers.throttled(1, Duration::from_secs(5));
        assert_eq!(only(&peers).throttled.map(|(_, time)| time.as_secs()), Some(5));
        peers.throttled(1, Duration::ZERO);
        assert_eq!(only(&peers).throttled, None);
    }

    #[test]
    fn brokers_are_distinguished_and_bounded() {
        let peers = BrokerActivities::default();
        let names = || peers.all(Instant::now()).into_iter().map(|peer| peer.name).collect::<Vec<_>>();
        for (id, name) in [(-1, "b1:9092/bootstrap"), (-1, "b2:9092/bootstrap"), (1, "TxnCoordinator/1")] {
            peers.sent(id, name.as_bytes(), false);
        }
        assert_eq!(names(), ["b1:9092/bootstrap", "b2:9092/bootstrap", "TxnCoordinator/1"]);
        peers.sent(1, b"b1:9092/1", false);
        assert_eq!(names(), ["b2:9092/bootstrap", "TxnCoordinator/1", "b1:9092/1"], "it has a number now");
        peers.sent(1, b"b3:9092/1", false);
        assert_eq!(names(), ["b2:9092/bootstrap", "TxnCoordinator/1", "b3:9092/1"], "it has moved");
        for id in 0..2_000 {
            peers.sent(id, b"b", false);
        }
        assert_eq!(peers.all(Instant::now()).len(), KEPT);
    }

    #[test]
    fn a_connection_that_is_lost_with_a_produce_request_on_it_is_remembered() {
        let peers = BrokerActivities::default();
        peers.sent(1, NAME, false);
        peers.sent(1, NAME, true);
        peers.answered(1, NAME, true);
        peers.disconnected();
        assert_eq!(peers.produce_lost(), None, "it was answered");
        peers.sent(1, NAME, true);
        peers.lost(1, NAME, codes::LOCAL_PURGE_QUEUE, true);
        // librdkafka ends the connection itself.
        peers.disconnected();
        let lost = peers.produce_lost().expect("one is unanswered");
        peers.lost(1, NAME, TRANSPORT, true);
        peers.disconnected();
        assert_eq!(peers.produce_lost(), Some(lost), "the requests ended with the first loss");
    }
}
