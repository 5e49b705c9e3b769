//! The task of a client. It owns what is sent and what brokers answer: queues, connections, sequence numbers, metadata. Only the
//! [inbox](crate::inbox), the gate and the records' slots are shared with callers, so no other lock is needed.
//!
//! | file | content |
//! |---|---|
//! | `topics` | topics, and which partition a record goes to |
//! | `queue` | the records of a partition |
//! | `batch`, `buffers` | records as bytes |
//! | `broker` | the connection to a broker |
//! | `questions` | metadata and the producer id |
//! | `cluster`, `remade` | what their answers change; topics that are gone or made anew |
//! | `send` | fills requests |
//! | `answers`, `outcomes` | what brokers answer, and what becomes of records |
//! | `time` | deadlines, pauses, brokers that do not answer |
//! | `end` | close, and the end of the runtime |
//!
//! The task is one future without `select!`: it looks at everything until nothing moves, and then sleeps until a caller, a socket or
//! its alarm wakes it.

mod answers;
mod batch;
mod broker;
mod buffers;
mod cluster;
mod end;
mod outcomes;
mod questions;
mod queue;
mod remade;
mod send;
mod time;
mod topics;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka_tower_core::Result;
use kafka_tower_core::gate::{Gated, Permit};
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::wakers::WakeLater;
use tokio::time::Sleep;

use self::batch::WallClock;
use self::broker::{Broker, Link, Up};
use self::buffers::Buffers;
use self::questions::Questions;
use self::queue::PartitionQueue;
use self::topics::{Route, Topics};
use crate::cluster::metadata::ClusterMetadata;
use crate::failure;
use crate::net::connection::Event;
use crate::partition::ProducerId;
use crate::shared::Shared;
use crate::slot::{Acknowledged, Slot};

/// How often the task looks at everything before it lets other tasks run.
const ROUNDS: usize = 32;

/// The task of a client.
pub(crate) struct Client {
    shared: Arc<Shared>,
    topics: Topics,
    partitions: Vec<PartitionQueue>,
    brokers: BTreeMap<i32, Broker>,
    cluster: ClusterMetadata,
    questions: Questions,
    /// The newest producer id. Partitions take it when nothing of the one before is without an outcome.
    producer_id: Option<ProducerId>,
    buffers: Buffers,
    clock: WallClock,
    /// Partitions that wait for a time.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    alarm: Option<Pin<Box<Sleep>>>,
    inbox: Vec<Arc<Slot>>,
    permits: Vec<Permit>,
    wakers: WakeLater,
    /// Number of requests that were filled.
    requests: u64,
    /// The cluster asked to begin again with the bootstrap servers.
    asks_bootstrap: bool,
    /// Batches do not linger: somebody waits for them.
    at_once: bool,
    /// Changes with each use.
    random: u32,
    /// When brokers that do not answer were looked at.
    looked_at: Instant,
    ended: bool,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, topics: &[Arc<str>]) -> Self {
        let now = shared.now();
        let mut known = Topics::default();
        for topic in topics {
            known.place(topic);
        }
        Self {
            random: shared.settings.seed(),
            shared,
            topics: known,
            partitions: Vec::new(),
            brokers: BTreeMap::new(),
            cluster: ClusterMetadata::default(),
            questions: Questions::new(now),
            producer_id: None,
            buffers: Buffers::default(),
            clock: WallClock { at: now, millis: wall_millis() },
            timers: BinaryHeap::new(),
            alarm: None,
            inbox: Vec::new(),
            permits: Vec::new(),
            wakers: WakeLater::default(),
            requests: 0,
            asks_bootstrap: false,
            at_once: true,
            looked_at: now,
            ended: false,
        }
    }

    /// Looks at everything once. Returns whether anything has changed.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.shared.now();
        let mut moved = self.take_records(now);
        moved |= self.poll_questions(cx, now);
        moved |= self.poll_brokers(cx, now);
        moved |= self.keep_time(now);
        moved |= self.send(now);
        self.settle_collected();
        moved
    }

    fn take_records(&mut self, now: Instant) -> bool {
        let mut records = std::mem::take(&mut self.inbox);
        let any = self.shared.inbox.take(&mut records);
        if !records.is_empty() {
            self.clock = WallClock { at: now, millis: wall_millis() };
        }
        for slot in records.drain(..) {
            self.route(slot, now);
        }
        self.inbox = records;
        any
    }

    /// Puts a record into the queue of its partition, or lets it wait for metadata.
    fn route(&mut self, slot: Arc<Slot>, now: Instant) {
        let place = self.topics.place(&slot.record().topic);
        let Some(topic) = self.topics.get_mut(place) else { return };
        let settings = &self.shared.settings;
        let most = (settings.batch_records, topic.batch_bytes(settings));
        let room = batch::room(&slot);
        match topic.route(slot.record(), room, most) {
            Route::To(partition) => {
                let linger = settings.linger;
                if let Some(queue) = self.partitions.get_mut(partition) {
                    queue.push_with_room(slot, room, linger, now);
                    if !queue.listed {
                        self.list(partition);
                    }
                }
            }
            Route::Unknown => {
                topic.waiting.push_back((slot, now));
                self.questions.want_metadata(now);
            }
        }
    }

    /// Enters a partition into the list of its leader, if it may have something to send.
    fn list(&mut self, partition: usize) {
        let Some(queue) = self.partitions.get_mut(partition) else { return };
        if queue.listed || queue.is_empty() || queue.retired {
            return;
        }
        match queue.leader.and_then(|leader| self.brokers.get_mut(&leader)) {
            Some(broker) => {
                queue.listed = true;
                broker.listed.push_back(partition);
            }
            None => self.questions.want_metadata(self.shared.now()),
        }
    }

    /// Lists a partition at this time.
    fn list_at(&mut self, partition: usize, at: Instant) {
        let Some(queue) = self.partitions.get_mut(partition) else { return };
        if queue.timer.is_none_or(|before| at < before) {
            queue.timer = Some(at);
            self.timers.push(Reverse((at, partition)));
        }
    }

    fn poll_brokers(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let ids: Vec<i32> = self.brokers.keys().copied().collect();
        let mut moved = false;
        for id in ids {
            while let Some(event) = self.poll_broker(id, cx, now) {
                moved = true;
                match event {
                    Some(event) => self.on_event(id, event, now),
                    // It is connected, or could not be.
                    None => break,
                }
            }
        }
        moved
    }

    /// What happened at a broker: `Some(None)` if the state of its connection has changed.
    fn poll_broker(&mut self, id: i32, cx: &mut Context<'_>, now: Instant) -> Option<Option<Event<broker::Sent>>> {
        let broker = self.brokers.get_mut(&id)?;
        match &mut broker.link {
            Link::None | Link::Waits(_) => broker.connect(&self.shared.settings, now).then_some(None),
            Link::Up(up) => match up.connection.poll(cx) {
                Poll::Ready(event) => Some(Some(event)),
                Poll::Pending => None,
            },
            Link::Opens(opening) => {
                let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return None };
                broker.was_tried = true;
                match opened {
                    Ok(connected) => {
                        broker.failures = 0;
                        broker.link = Up::new(connected, now).map_or(Link::None, |up| Link::Up(Box::new(up)));
                        self.count_connections();
                    }
                    Err(error) => {
                        let peer = broker.address.to_string();
                        self.wait_before_reconnect(id, now);
                        self.shared.causes.broker(&peer, error.to_string(), now);
                        self.questions.want_metadata(now);
                    }
                }
                self.tell(None);
                Some(None)
            }
        }
    }

    fn count_connections(&self) {
        let up = self.brokers.values().filter(|broker| matches!(broker.link, Link::Up(_))).count();
        self.shared.causes.connected(up);
    }

    /// A number that is different each time.
    fn random(&mut self) -> u32 {
        // Xorshift: enough to spread the attempts of many clients.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    /// Sets the outcome of a record. Its room is returned and its caller woken with those of its neighbours.
    fn settle(&mut self, slot: &Slot, outcome: Result<Acknowledged>) {
        let wakers = &mut self.wakers;
        if let Some(permit) = self.shared.settle_with(slot, outcome, |waker: Waker| wakers.add(waker)) {
            self.permits.push(permit);
        }
    }

    fn settle_collected(&mut self) {
        if !self.permits.is_empty() {
            self.shared.release(self.permits.drain(..));
        }
        self.wakers.wake();
    }
}

impl Future for Client {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            if this.ended {
                return Poll::Ready(());
            }
            if this.round(cx) {
                continue;
            }
            if this.shared.inbox.sleep(cx) && this.poll_alarm(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Everything is settled also when the runtime ends and drops the task.
impl Drop for Client {
    fn drop(&mut self) {
        if !self.ended {
            self.end();
            let why = failure::task_ended();
            self.shared.status.send_modify(|status| status.failed = Some(status.failed.take().unwrap_or(why)));
        }
    }
}

fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
