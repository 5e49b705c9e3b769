//! A simulated cluster: brokers that are reached over in-memory streams, topics, logs and faults. All clones are the same cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{DuplexStream, duplex};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::broker;
use super::faults::{Faults, Kind, Place, number};
use super::history::{Event, LogView};
use super::log::Log;

/// The port of all brokers.
pub(crate) const PORT: u16 = 9092;
/// Buffers of connections: a small one keeps requests half written for long.
const BUFFERS: [usize; 4] = [100, 1_000, 16_000, 256_000];

/// The newest versions that the brokers speak: a Kafka release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// 4.3: topics by id everywhere.
    Kafka43,
    /// 3.9: metadata by id, `Produce` by name, leader hints.
    Kafka39,
    /// 2.5: no topic ids, no leader hints.
    Kafka25,
}

/// A topic, as a test wants it.
#[derive(Debug, Clone)]
pub(crate) struct TopicConfig {
    /// Its name.
    pub(crate) name: &'static str,
    /// Number of its partitions.
    pub(crate) partitions: i32,
    /// Whether records need keys.
    pub(crate) is_compacted: bool,
    /// `max.message.bytes`: the largest batch.
    pub(crate) max_batch: usize,
}

impl TopicConfig {
    /// A topic with Kafka's defaults.
    pub(crate) fn new(name: &'static str, partitions: i32) -> Self {
        Self { name, partitions, is_compacted: false, max_batch: 1_048_588 }
    }
}

/// A cluster.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) versions: Versions,
    pub(crate) faults: Faults,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) topics: BTreeMap<&'static str, Topic>,
    pub(crate) next_producer: i64,
    pub(crate) topics_made: u64,
    /// Logs of topics that were deleted.
    pub(crate) deleted: Vec<LogView>,
    events: Vec<Event>,
    complaints: Vec<String>,
    connections: u64,
    start: Instant,
}

pub(crate) struct Broker {
    pub(crate) is_up: bool,
    pub(crate) stopped_until: Instant,
    /// Its connections, and requests that it holds.
    pub(crate) tasks: Vec<AbortHandle>,
}

pub(crate) struct Topic {
    pub(crate) config: TopicConfig,
    pub(crate) id: Uuid,
    pub(crate) generation: u32,
    /// It is deleted, and made anew then.
    pub(crate) missing_until: Instant,
    pub(crate) partitions: Vec<Partition>,
}

pub(crate) struct Partition {
    /// The last leader, which may be down.
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    /// Leader and epoch before the last move.
    pub(crate) before: (i32, i32),
    pub(crate) log: Log,
}

impl Cluster {
    /// A cluster with this number of brokers: `broker-0`, `broker-1` and so on.
    pub(crate) fn new(brokers: i32, versions: Versions, topics: &[TopicConfig], faults: Faults) -> Self {
        let start = Instant::now();
        let broker = |_| Broker { is_up: true, stopped_until: start, tasks: Vec::new() };
        let mut state = State {
            versions,
            faults,
            brokers: (0..brokers).map(broker).collect(),
            topics: BTreeMap::new(),
            next_producer: 1_000,
            topics_made: 0,
            deleted: Vec::new(),
            events: Vec::new(),
            complaints: Vec::new(),
            connections: 0,
            start,
        };
        for config in topics {
            state.create(config.clone(), 0, start);
        }
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection to a broker. A stopped broker's system may accept it, or let it wait.
    ///
    /// # Errors
    ///
    /// If the broker is down, or there is none with this name.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("no such host: {host}"));
        let broker = host.strip_prefix("broker-").and_then(|id| id.parse().ok()).ok_or_else(unknown)?;
        let (connection, waits) = {
            let mut state = self.state();
            let known = state.brokers.get(index(broker)).ok_or_else(unknown)?;
            let is_stopped = known.stopped_until > Instant::now();
            let connection = state.connections;
            state.connections += 1;
            (connection, is_stopped && number(&[state.faults.seed(), connection]) % 2 == 0)
        };
        if waits {
            self.while_stopped(broker).await;
        }
        let mut state = self.state();
        let at = Place { connection, frame: 0 };
        if port != PORT || !state.brokers[index(broker)].is_up || state.faults.happens(Kind::Refused, at) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let buffer = BUFFERS[index_of(state.faults.choose(Kind::SlowRead, at, 9, 4))];
        let (ours, theirs) = duplex(buffer);
        state.event(None, || format!("connection {connection} to broker {broker}"));
        let serving = tokio::spawn(broker::serve(self.clone(), broker, connection, theirs));
        state.keep(broker, serving.abort_handle());
        Ok(ours)
    }

    /// Waits while a broker is stopped.
    pub(crate) async fn while_stopped(&self, broker: i32) {
        loop {
            let until = self.state().brokers[index(broker)].stopped_until;
            if until <= Instant::now() {
                return;
            }
            // In short steps: healing ends it.
            sleep_until(until.min(Instant::now() + Duration::from_millis(500))).await;
        }
    }

    /// The logs of all partitions, also of topics that were deleted.
    pub(crate) fn logs(&self) -> Vec<LogView> {
        let state = self.state();
        let mut logs = state.deleted.clone();
        logs.extend(state.topics.values().flat_map(Topic::logs));
        logs
    }

    /// What happened that concerns a partition, or the whole cluster.
    pub(crate) fn events_of(&self, topic: &str, partition: i32) -> Vec<Event> {
        let state = self.state();
        let concerns = |event: &&Event| event.of.is_none_or(|of| of == (topic, partition));
        state.events.iter().filter(concerns).cloned().collect()
    }

    /// What clients did that is wrong in itself: requests that cannot be read, or that no client should send.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.state().complaints.clone()
    }

    /// The seed.
    pub(crate) fn seed(&self) -> u64 {
        self.state().faults.seed()
    }

    /// How often a kind of fault has happened.
    pub(crate) fn seen(&self, kind: Kind) -> u64 {
        self.state().faults.seen(kind)
    }

    /// Ends all faults, and brings every broker back.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.faults.end();
        state.event(None, || "healed".to_owned());
        let now = Instant::now();
        for broker in 0..i32::try_from(state.brokers.len()).expect("few") {
            state.come_back(broker);
            state.brokers[index(broker)].stopped_until = now;
        }
        for topic in state.topics.values_mut() {
            topic.missing_until = now;
        }
    }
}

impl State {
    pub(crate) fn event(&mut self, of: Option<(&'static str, i32)>, text: impl FnOnce() -> String) {
        self.events.push(Event { at: self.start.elapsed(), of, text: text() });
    }

    pub(crate) fn complain(&mut self, text: String) {
        self.event(None, || format!("complaint: {text}"));
        self.complaints.push(text);
    }

    /// Remembers a task of a broker, which ends with the broker.
    pub(crate) fn keep(&mut self, broker: i32, task: AbortHandle) {
        let tasks = &mut self.brokers[index(broker)].tasks;
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// The brokers that are up.
    pub(crate) fn live(&self) -> Vec<i32> {
        (0..).zip(&self.brokers).filter(|(_, broker)| broker.is_up).map(|(id, _)| id).collect()
    }
}

impl Topic {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.config.name
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = LogView> {
        (0..).zip(&self.partitions).map(|(partition, of)| LogView {
            topic: self.config.name,
            generation: self.generation,
            partition,
            entries: of.log.entries().cloned().collect(),
        })
    }

    /// The partition, if there is one with this number.
    pub(crate) fn partition(&mut self, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }
}

/// A frame of bytes with its length before it.
pub(crate) fn framed(body: &[u8]) -> Bytes {
    let len = u32::try_from(body.len()).expect("a frame is small");
    [&len.to_be_bytes()[..], body].concat().into()
}

pub(crate) fn index(id: i32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

pub(crate) fn index_of(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
