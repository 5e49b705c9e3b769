use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use kafka_tower_core::sync::{read, write};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka_sys as sys;

use super::instance::{Instance, Native};
use super::raw::millis;
use super::{Queue, TokenTarget, produce, raw};
use crate::broker_activity::BrokerActivity;
use crate::codes;
use crate::connections::{Attempt, ConnectionState};
use crate::slot::Slot;

/// A librdkafka producer, made and owned by the binding's `Client`, which never polls it.
///
/// It can be destroyed while handles to it exist. Afterwards nothing can be produced.
pub(crate) struct Client {
    state: RwLock<State>,
    /// Read-locked by calls that wait for librdkafka. They must not hold the lock of `state` meanwhile: a writer would
    /// wait for them, and all records would wait for the writer.
    long_calls: RwLock<()>,
}

struct State {
    native: Option<Arc<Native>>,
    /// Whether records of some or all topics are held.
    holds: bool,
    all_held: bool,
    topics_held: Vec<Arc<str>>,
}

impl State {
    fn new(native: Arc<Native>) -> Self {
        Self { native: Some(native), holds: false, all_held: false, topics_held: Vec::new() }
    }

    fn changed(&mut self) {
        self.holds = self.all_held || !self.topics_held.is_empty();
    }
}

/// A broker's answer about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    /// Kafka's code; 0 if the topic exists.
    pub(crate) code: i32,
    pub(crate) partitions: u32,
    /// Broker id of the leader by partition; -1 without a leader.
    pub(crate) leaders: Vec<i32>,
}

impl Client {
    pub(crate) fn create(config: &ClientConfig) -> Result<Self, KafkaError> {
        let state = State::new(Instance::create(config)?.0);
        Ok(Self { state: RwLock::new(state), long_calls: RwLock::default() })
    }

    /// Returns the activity of the producer's brokers.
    pub(crate) fn broker_activity(&self, now: Instant) -> Vec<BrokerActivity> {
        self.with(|native| native.peers.all(now)).unwrap_or_default()
    }

    /// Returns whether a request of a transaction of this instance ended without an answer. A copy may still arrive.
    pub(crate) fn any_transactional_lost(&self) -> bool {
        self.with(|native| native.peers.any_transactional_lost()).unwrap_or(false)
    }

    /// Returns since when no request that adds offsets to a transaction is under way, after one was.
    pub(crate) fn no_offsets_since(&self) -> Option<Instant> {
        self.with(|native| native.peers.no_offsets_since())?
    }

    /// Returns the present instance, which lives at least as long as the result. `None` once it is destroyed.
    pub(crate) fn instance(&self) -> Option<Instance> {
        self.read().native.clone().map(Instance)
    }

    /// Returns the number of requests with records or a group's offsets that were sent since the producer was created.
    pub(crate) fn transactional_writes(&self) -> u64 {
        self.with(|native| native.peers.writes()).unwrap_or(0)
    }

    /// Returns the state of the producer's connections; `None` once it is destroyed.
    pub(crate) fn connections(&self) -> Option<ConnectionState> {
        self.with(|native| native.peers.connections.state())
    }

    /// Returns whether a connection of the producer is being made; `None` once it is destroyed.
    pub(crate) fn connection_attempt(&self) -> Option<Attempt> {
        self.with(|native| native.peers.connections.attempt())
    }

    /// Adds the bootstrap servers again if the producer has been without a connection for long: see `lost_brokers.rs`.
    pub(crate) fn find_lost_brokers(&self, now: Instant) {
        self.with_for_long(|native| native.find_lost_brokers(now));
    }

    /// Returns the ids of the brokers that the producer has contacted. Usually connected brokers come first.
    pub(crate) fn broker_ids(&self, now: Instant) -> Vec<i32> {
        let mut peers = self.broker_activity(now);
        peers.retain(|peer| peer.id >= 0);
        // Brokers that answered last come first.
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.answered));
        peers.iter().map(|peer| peer.id).collect()
    }

    /// Updates the activity of the producer's brokers.
    pub(crate) fn update_broker_activity(&self, now: Instant) {
        self.with(|native| native.peers.look(now));
    }

    /// Switches librdkafka's debug lines about batches on or off. Only for the transport's event loop.
    pub(crate) fn log_batches(&self, on: bool) {
        let value = if on { c"msg" } else { c"-msg" };
        // SAFETY: the client lives, and so does its configuration, which librdkafka has allocated in writable memory.
        // librdkafka documents the configuration as read-only once the client is created, because its threads read it
        // without a lock. This call sets or clears one bit of one integer and changes nothing else;
        // `rd_kafka_set_log_level` writes the log level beside the same threads in the same way. Only the event loop
        // writes. A thread that reads the old value logs one line more or less. The error buffer is null and has length
        // 0, so no error text is written.
        self.with(|native| unsafe {
            let conf = sys::rd_kafka_conf(native.rk()).cast_mut();
            sys::rd_kafka_conf_set(conf, c"debug".as_ptr(), value.as_ptr(), ptr::null_mut(), 0);
        });
    }

    /// Replaces the instance and returns the previous one, which lives until it is dropped. Its queue must be dropped
    /// before it. None if the client was destroyed.
    pub(crate) fn swap(&self, new: Instance) -> Option<Instance> {
        let mut state = self.write();
        let old = state.native.take()?;
        state.native = Some(new.0);
        Some(Instance(old))
    }

    /// Pauses partitions: nothing is sent to them until the client is replaced. Waits for librdkafka's main thread.
    /// Returns whether each one was paused.
    pub(crate) fn pause<'a>(&self, partitions: impl ExactSizeIterator<Item = &'a (String, i32)>) -> bool {
        let paused = self.with_for_long(|native| {
            // SAFETY: the client lives; the list lives until it is destroyed below; names are terminated and copied.
            unsafe {
                let list = sys::rd_kafka_topic_partition_list_new(c_int::try_from(partitions.len()).unwrap_or(0));
                let wanted = partitions.len();
                for (topic, partition) in partitions {
                    if let Ok(topic) = CString::new(topic.as_str()) {
                        sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), *partition);
                    }
                }
                let code = raw::rd_kafka_pause_partitions(native.rk(), list);
                let added = usize::try_from((*list).cnt).unwrap_or(0);
                // Codes are read as integers.
                let paused = (0..added).all(|i| ptr::addr_of!((*(*list).elems.add(i)).err).cast::<c_int>().read() == 0);
                sys::rd_kafka_topic_partition_list_destroy(list);
                code == 0 && added == wanted && paused
            }
        });
        paused.unwrap_or(false)
    }

    /// Destroys the producer and ends its threads. All reports must have been read, or their records are lost.
    ///
    /// Does not wait for a pending request to the cluster: the thread that made it destroys the producer at its end. A
    /// request for settings ends at once then; librdkafka cannot give up one for metadata before its time-out.
    pub(crate) fn destroy(&self) {
        let mut state = self.write();
        let native = state.native.take();
        // From now on nothing would hand over held records.
        state.all_held = false;
        state.topics_held.clear();
        state.changed();
        drop(state);
        // Each call in progress has a reference, and the last reference to be dropped destroys the producer. Only a
        // request to the cluster may be the last one.
        drop(write(&self.long_calls));
        // Without the locks: it wakes the callers of records that have no report.
        drop(native);
    }

    fn with<R>(&self, f: impl FnOnce(&Native) -> R) -> Option<R> {
        self.read().native.as_deref().map(f)
    }

    /// Runs a call that may block.
    fn with_for_long<R>(&self, f: impl FnOnce(&Native) -> R) -> Option<R> {
        let _last_until = read(&self.long_calls);
        // A separate statement: the state is not locked during the call.
        let native = self.read().native.clone();
        native.as_deref().map(f)
    }

    /// Whether this instance was neither destroyed nor replaced.
    pub(super) fn is_present(&self, rk: *mut sys::rd_kafka_t) -> bool {
        self.with(|native| native.rk() == rk).unwrap_or(false)
    }

    /// Like `with_rk`, for a request to the cluster, which may take long: `destroy` does not wait for it.
    pub(super) fn kept<R>(&self, f: impl FnOnce(*mut sys::rd_kafka_t) -> R) -> Option<R> {
        // A separate statement, as in `with_rk`.
        let native = self.read().native.clone();
        native.map(|native| f(native.rk()))
    }

    pub(super) fn with_rk<R>(&self, f: impl FnOnce(*mut sys::rd_kafka_t) -> R) -> Option<R> {
        self.with_for_long(|native| f(native.rk()))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        read(&self.state)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        write(&self.state)
    }

    /// Returns another reference to the main queue, for the event loop. It must be dropped before the client is
    /// destroyed.
    pub(crate) fn queue(&self) -> Option<Queue> {
        // SAFETY: the producer lives; the caller drops the queue before it.
        self.with(|native| unsafe { Queue::main(native.rk()) })
    }

    /// Ends the current wait of the event loop, or its next one.
    pub(crate) fn wake(&self) {
        self.with(|native| native.queue.wake());
    }

    /// Hands the slot's record over without copying its value: the slot keeps the value until its delivery report.
    ///
    /// While its topic is held, `hold` gets the slot instead. An error is librdkafka's code and returns the slot: the
    /// record was not accepted.
    pub(crate) fn produce(&self, slot: Arc<Slot>, hold: impl FnOnce(Arc<Slot>)) -> Result<(), (i32, Arc<Slot>)> {
        let state = self.read();
        if state.holds && (state.all_held || state.topics_held.contains(&slot.record().topic)) {
            hold(slot);
            return Ok(());
        }
        state.produce(slot)
    }

    /// Hands a record over even if its topic is held.
    pub(crate) fn produce_held(&self, slot: Arc<Slot>) -> Result<(), (i32, Arc<Slot>)> {
        self.read().produce(slot)
    }

    /// Holds the records of a topic from now on. No record is handed over while `first` runs.
    pub(crate) fn hold(&self, topic: Arc<str>, first: impl FnOnce()) {
        let mut state = self.write();
        if !state.topics_held.contains(&topic) {
            state.topics_held.push(topic);
        }
        state.changed();
        first();
    }

    /// Ends [`hold`](Self::hold) if `none_left` returns true. No record is handed over while it runs.
    pub(crate) fn end_hold(&self, topic: &Arc<str>, none_left: impl FnOnce() -> bool) -> bool {
        let mut state = self.write();
        let ended = none_left();
        if ended {
            state.topics_held.retain(|held| held != topic);
            state.changed();
        }
        ended
    }

    /// Holds all records from now on.
    pub(crate) fn hold_all(&self) {
        let mut state = self.write();
        state.all_held = true;
        state.changed();
    }

    /// Whether all records are held.
    pub(crate) fn holds_all(&self) -> bool {
        self.read().all_held
    }

    /// Holds all records from now on, beginning with those that `first` holds, if the present instance has ended and `first`
    /// returns `Ok`. `None` if it has not ended. No record is handed over while `first` runs.
    pub(crate) fn hold_all_if_ended<R>(&self, first: impl FnOnce() -> Result<(), R>) -> Option<Result<(), R>> {
        let mut state = self.write();
        state.native.as_ref()?.fatal_error()?;
        let held = first();
        if held.is_ok() {
            state.all_held = true;
            state.changed();
        }
        Some(held)
    }

    /// Ends [`hold_all`](Self::hold_all), like [`end_hold`](Self::end_hold).
    pub(crate) fn end_hold_of_all(&self, none_left: impl FnOnce() -> bool) -> bool {
        let mut state = self.write();
        let ended = none_left();
        if ended {
            state.all_held = false;
            state.changed();
        }
        ended
    }

    /// Requests the metadata of a topic, or only an answer, from a broker. Blocks up to `timeout`. An error is
    /// librdkafka's code.
    pub(crate) fn metadata(&self, topic: Option<&str>, timeout: Duration) -> Result<TopicMetadata, i32> {
        self.kept(|rk| {
            let handle = topic.map(|name| produce::Topic::open(rk, name)).transpose()?;
            let handle = handle.as_ref().map_or(ptr::null_mut(), produce::Topic::native);
            let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
            // SAFETY: the client and the topic handle live; `metadata` is written only on success.
            let code = unsafe { raw::rd_kafka_metadata(rk, 0, handle, &mut metadata, millis(timeout)) };
            if code != 0 {
                return Err(code);
            }
            // SAFETY: on success `metadata` points to a valid structure until it is destroyed below. The code is read
            // as an integer: a reference to the topic would assert that the binding's enum has this code.
            let found = unsafe {
                let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
                let found = (0..count)
                    .map(|i| (*metadata).topics.add(i))
                    .find(|t| topic.is_none_or(|name| CStr::from_ptr((**t).topic).to_bytes() == name.as_bytes()))
                    .map(|t| TopicMetadata {
                        code: ptr::addr_of!((*t).err).cast::<c_int>().read(),
                        partitions: u32::try_from((*t).partition_cnt).unwrap_or(0),
                        leaders: leaders(t),
                    });
                sys::rd_kafka_metadata_destroy(metadata);
                found
            };
            match (topic, found) {
                (Some(_), Some(found)) => Ok(found),
                (Some(_), None) => {
                    Ok(TopicMetadata { code: codes::UNKNOWN_TOPIC_OR_PARTITION, partitions: 0, leaders: Vec::new() })
                }
                (None, _) => Ok(TopicMetadata { code: 0, partitions: 0, leaders: Vec::new() }),
            }
        })
        .unwrap_or(Err(codes::LOCAL_DESTROY))
    }

    /// Sends lingering batches, and waits up to `timeout` for all records. To do more than send batches, the event loop
    /// must run meanwhile.
    pub(crate) fn flush(&self, timeout: Duration) {
        // SAFETY: the client lives; the function is thread safe.
        self.with_for_long(|native| unsafe { raw::rd_kafka_flush(native.rk(), millis(timeout)) });
    }

    /// Gives up all records: queued ones end with `_PURGE_QUEUE`, sent ones with `_PURGE_INFLIGHT`. Does not wait for
    /// librdkafka's threads, one of which may be resolving a host name.
    pub(crate) fn purge(&self) {
        self.with(Native::purge);
    }

    /// Gives up the records that wait to be sent, and leaves those that were sent.
    pub(crate) fn purge_queued(&self) {
        self.with(Native::purge_queued);
    }

    /// Returns when a connection was last lost while a produce request had no answer.
    pub(crate) fn produce_lost(&self) -> Option<Instant> {
        self.with(|native| native.peers.produce_lost())?
    }

    /// Returns the error that ended the producer, if it has ended.
    pub(crate) fn fatal_error(&self) -> Option<(i32, String)> {
        self.with(Native::fatal_error)?
    }

    /// Returns the number of records whose report was not read yet, plus the number of other waiting events. 0 once the
    /// producer is destroyed.
    pub(crate) fn queued(&self) -> usize {
        // SAFETY: the client lives; the function is thread safe.
        let queued = self.with(|native| unsafe { sys::rd_kafka_outq_len(native.rk()) });
        queued.and_then(|queued| usize::try_from(queued).ok()).unwrap_or(0)
    }

    /// Where the producer's tokens go. `None` once it is destroyed.
    pub(crate) fn tokens(&self) -> Option<Arc<TokenTarget>> {
        self.with(|native| Arc::clone(&native.tokens))
    }

    /// Why the producer has no valid token, if it needs one and has none.
    pub(crate) fn token_trouble(&self, now: Instant) -> Option<String> {
        self.with(|native| native.tokens.facts().trouble(now))?
    }
}

impl State {
    fn produce(&self, slot: Arc<Slot>) -> Result<(), (i32, Arc<Slot>)> {
        let Some(native) = &self.native else { return Err((codes::LOCAL_DESTROY, slot)) };
        native.topics.produce(native.rk(), slot)
    }
}

/// # Safety
///
/// The topic is a valid part of metadata that is not destroyed yet.
unsafe fn leaders(topic: *const sys::rd_kafka_metadata_topic) -> Vec<i32> {
    // SAFETY: the topic is valid, as the caller promises; the array is as long as its count says. Fields are read one
    // by one: a reference to the topic would assert that the binding's enum has its code.
    unsafe {
        let count = usize::try_from((*topic).partition_cnt).unwrap_or(0);
        let mut leaders = vec![-1; count];
        for partition in (0..count).map(|i| (*topic).partitions.add(i)) {
            let (id, leader) = (ptr::addr_of!((*partition).id).read(), ptr::addr_of!((*partition).leader).read());
            if let Some(place) = usize::try_from(id).ok().and_then(|id| leaders.get_mut(id)) {
                *place = leader;
            }
        }
        leaders
    }
}
