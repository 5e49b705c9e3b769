use std::ffi::{CStr, CString, c_char, c_void};
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::{ConsumerGroup, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka_sys as sys;

use super::super::bootstrap::{self, Bootstrap};
use super::super::raw::millis;
use super::super::{Queue, TokenTarget, instance, raw as base};
use super::list::{PartitionList, Place};
use super::{OnLog, log, raw};
use crate::codes;
use crate::connections::Connections;

/// Where an assigned partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Where the group has committed. librdkafka asks for that, and not again after an error.
    Committed,
    Offset(i64),
    First,
    End,
}

impl Begin {
    fn native(self) -> i64 {
        match self {
            Self::Committed => sys::RD_KAFKA_OFFSET_STORED.into(),
            Self::Offset(offset) => offset,
            Self::First => sys::RD_KAFKA_OFFSET_BEGINNING.into(),
            Self::End => sys::RD_KAFKA_OFFSET_END.into(),
        }
    }

    /// The offset, if it is known here.
    pub(crate) fn offset(self) -> Option<i64> {
        match self {
            Self::Offset(offset) => Some(offset),
            Self::Committed | Self::First | Self::End => None,
        }
    }
}

/// How a group moves partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// All at once.
    Eager,
    /// Only those that move: cooperative assignors, and KIP-848.
    Incremental,
}

/// One instance of librdkafka's consumer. The last reference destroys it, which may take seconds: see
/// [`close`](Self::close).
pub(crate) struct ConsumerInstance {
    /// Dropped before the client.
    events: Queue,
    client: Owned,
    /// Target of the client's log. Dropped after it.
    _log: Arc<dyn OnLog>,
    /// Target of an interceptor. Dropped after the client.
    connections: Arc<Connections>,
    bootstrap: Bootstrap,
}

struct Owned {
    rk: *mut sys::rd_kafka_t,
    tokens: Arc<TokenTarget>,
}

// SAFETY: librdkafka's clients are thread safe.
unsafe impl Send for Owned {}
// SAFETY: as for `Send`.
unsafe impl Sync for Owned {}

impl ConsumerInstance {
    /// The log goes to `log`, on whatever thread writes it.
    pub(crate) fn create<L: OnLog>(config: &ClientConfig, log: Arc<L>) -> Result<Arc<Self>, KafkaError> {
        let native = config.create_native_config()?;
        let events = sys::RD_KAFKA_EVENT_REBALANCE
            | sys::RD_KAFKA_EVENT_OFFSET_COMMIT
            | sys::RD_KAFKA_EVENT_STATS
            | sys::RD_KAFKA_EVENT_ERROR
            | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
        let connections = Arc::<Connections>::default();
        let mut text: [c_char; 512] = [0; 512];
        // SAFETY: the configuration is valid, and belongs to the client if there is one, else still to `native`. The length passed
        // is that of the buffer. The targets of the log and of the connections outlive the client: their fields come after it.
        let rk = unsafe {
            log::send_to(native.ptr(), &log);
            bootstrap::observe_connections(native.ptr(), &connections);
            sys::rd_kafka_conf_set_events(native.ptr(), events);
            let kind = sys::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            sys::rd_kafka_new(kind, native.ptr(), text.as_mut_ptr(), text.len())
        };
        if rk.is_null() {
            // SAFETY: the buffer was filled with zeros, and librdkafka terminates what it writes.
            let text = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned();
            return Err(KafkaError::ClientCreation(text));
        }
        mem::forget(native);
        // SAFETY: the client lives, and the queue is dropped before it. The call only fails for a client that is no consumer.
        // `Owned` ends the target of the tokens before it destroys the client.
        let (events, tokens) = unsafe {
            raw::rd_kafka_poll_set_consumer(rk);
            (Queue::consumer(rk), TokenTarget::new(rk))
        };
        let (client, bootstrap) = (Owned { rk, tokens }, Bootstrap::new(config));
        Ok(Arc::new(Self { events, client, _log: log, connections, bootstrap }))
    }

    /// Adds the bootstrap servers again if the consumer has been without a connection for long: see `lost_brokers.rs`.
    pub(crate) fn find_lost_brokers(&self, now: Instant) {
        // SAFETY: the client lives.
        unsafe { self.bootstrap.add_if_lost(self.rk(), &self.connections, now) };
    }

    pub(super) fn rk(&self) -> *mut sys::rd_kafka_t {
        self.client.rk
    }

    /// The queue of all events. Whoever serves it keeps the member in its group.
    pub(crate) fn events(&self) -> &Queue {
        &self.events
    }

    /// Ends the current wait for an event, or the next one.
    pub(crate) fn wake(&self) {
        self.events.wake();
    }

    /// Joins the group to read these topics. Errors are librdkafka's codes.
    pub(crate) fn subscribe<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> Result<(), i32> {
        let list = PartitionList::of(topics.into_iter().map(|topic| (topic, -1, 0)));
        // SAFETY: the client and the list live, and what librdkafka keeps is copied.
        code(unsafe { raw::rd_kafka_subscribe(self.rk(), list.native()) })
    }

    /// How the group of this member moves partitions. Only while it is in the group.
    pub(crate) fn protocol(&self) -> Protocol {
        // SAFETY: the client lives; the result is null or a static string.
        let name = unsafe {
            let name = sys::rd_kafka_rebalance_protocol(self.rk());
            if name.is_null() { c"" } else { CStr::from_ptr(name) }
        };
        if name == c"COOPERATIVE" { Protocol::Incremental } else { Protocol::Eager }
    }

    /// Whether the partitions of this member may already belong to others.
    pub(crate) fn assignment_lost(&self) -> bool {
        // SAFETY: the client lives.
        unsafe { sys::rd_kafka_assignment_lost(self.rk()) != 0 }
    }

    /// Answers an assignment.
    pub(crate) fn assign(&self, protocol: Protocol, partitions: &[(TopicPartition, Begin)]) -> Result<(), i32> {
        let place = |(at, begin): &(TopicPartition, Begin)| (at.topic.to_string(), at.partition, begin.native());
        let places: Vec<_> = partitions.iter().map(place).collect();
        let list = PartitionList::of(places.iter().map(|(topic, partition, offset)| (&**topic, *partition, *offset)));
        // SAFETY: the client and the list live, and what librdkafka keeps is copied.
        unsafe {
            match protocol {
                Protocol::Eager => code(raw::rd_kafka_assign(self.rk(), list.native())),
                Protocol::Incremental => taken(sys::rd_kafka_incremental_assign(self.rk(), list.native())),
            }
        }
    }

    /// Answers a revocation: gives partitions back, with the eager protocol all of them.
    pub(crate) fn unassign(&self, protocol: Protocol, partitions: &[TopicPartition]) -> Result<(), i32> {
        let list = PartitionList::of(partitions.iter().map(|at| (&*at.topic, at.partition, 0)));
        // SAFETY: as in `assign`.
        unsafe {
            match protocol {
                Protocol::Eager => code(raw::rd_kafka_assign(self.rk(), ptr::null())),
                Protocol::Incremental => taken(sys::rd_kafka_incremental_unassign(self.rk(), list.native())),
            }
        }
    }

    /// Continues a partition at an offset. Waits for librdkafka's main thread. Afterwards nothing of the old place is read, and
    /// there is no position until something is read.
    pub(crate) fn seek(&self, topic: &str, partition: i32, offset: i64, within: Duration) -> Result<(), i32> {
        let list = PartitionList::of([(topic, partition, offset)]);
        // SAFETY: the client and the list live.
        taken(unsafe { sys::rd_kafka_seek_partitions(self.rk(), list.native(), millis(within)) })?;
        code(list.first().map_or(codes::LOCAL_INVALID_ARG, |(_, of_partition)| of_partition))
    }

    /// Sends a commit. The answer is an event with this number.
    pub(crate) fn commit<'a>(
        &self,
        offsets: impl IntoIterator<Item = (&'a str, i32, i64)>,
        number: u64,
    ) -> Result<(), i32> {
        let list = PartitionList::of(offsets);
        let number = usize::try_from(number).map_err(|_| codes::LOCAL_INVALID_ARG)?;
        let opaque = ptr::without_provenance_mut::<c_void>(number);
        // SAFETY: the client, the list and the queue live; librdkafka copies the list, and keeps a reference to the queue. The
        // opaque pointer is a number and is never read through.
        code(unsafe { raw::rd_kafka_commit_queue(self.rk(), list.native(), self.events.native(), None, opaque) })
    }

    /// Asks the group for the offsets that it has committed. Finds its coordinator for that. Blocks up to `within`.
    pub(crate) fn committed<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a str, i32)>,
        within: Duration,
    ) -> Result<Vec<Place>, i32> {
        let list = PartitionList::of(partitions.into_iter().map(|(topic, partition)| (topic, partition, 0)));
        // SAFETY: the client and the list live.
        code(unsafe { raw::rd_kafka_committed(self.rk(), list.native(), millis(within)) })?;
        Ok(list.places())
    }

    /// Asks a broker for the offset of the first record with this timestamp (in milliseconds) or a later one. Blocks up to
    /// `within`.
    pub(crate) fn offset_since(
        &self,
        topic: &str,
        partition: i32,
        time: i64,
        within: Duration,
    ) -> Result<Option<i64>, i32> {
        let list = PartitionList::of([(topic, partition, time)]);
        // SAFETY: the client and the list live.
        code(unsafe { raw::rd_kafka_offsets_for_times(self.rk(), list.native(), millis(within)) })?;
        let (offset, of_partition) = list.first().ok_or(codes::LOCAL_INVALID_ARG)?;
        code(of_partition)?;
        Ok((offset >= 0).then_some(offset))
    }

    /// Asks a broker for the first offset and the end of a partition. Blocks up to `within`.
    pub(crate) fn ends(&self, topic: &str, partition: i32, within: Duration) -> Result<(i64, i64), i32> {
        let topic = CString::new(topic).map_err(|_| codes::LOCAL_INVALID_ARG)?;
        let (mut first, mut end) = (0, 0);
        // SAFETY: the client lives, the name is terminated, and both numbers are written before the call returns.
        code(unsafe {
            let within = millis(within);
            raw::rd_kafka_query_watermark_offsets(self.rk(), topic.as_ptr(), partition, &mut first, &mut end, within)
        })?;
        Ok((first, end))
    }

    /// The high watermark of a partition that is read, as of its last answer. Asks nobody.
    pub(crate) fn end_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client lives, the name is terminated, and both results are written to places of this function.
        let found =
            unsafe { raw::rd_kafka_get_watermark_offsets(self.rk(), topic.as_ptr(), partition, &mut low, &mut high) };
        (found == 0 && high >= 0).then_some(high)
    }

    /// The metadata of this member. Waits for librdkafka's main thread; not after [`close`](Self::close) has begun.
    pub(crate) fn group(&self) -> Option<ConsumerGroup> {
        // SAFETY: the client lives. The result is null, or valid until it is destroyed; its strings live as long as it does.
        unsafe {
            let group = sys::rd_kafka_consumer_group_metadata(self.rk());
            if group.is_null() {
                return None;
            }
            let text =
                |text: *const c_char| (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            let found = ConsumerGroup {
                group_id: text(sys::rd_kafka_consumer_group_metadata_group_id(group)).unwrap_or_default(),
                generation: sys::rd_kafka_consumer_group_metadata_generation_id(group),
                member_id: text(sys::rd_kafka_consumer_group_metadata_member_id(group)).unwrap_or_default(),
                group_instance_id: text(sys::rd_kafka_consumer_group_metadata_group_instance_id(group)),
            };
            sys::rd_kafka_consumer_group_metadata_destroy(group);
            Some(found)
        }
    }

    /// Begins to leave the group. From now on its events come from the returned queue, which is dropped before this instance.
    /// Revocations have to be answered until it is [`closed`](Self::is_closed).
    pub(crate) fn close(&self) -> Result<Queue, i32> {
        // SAFETY: the client lives, and the caller drops the queue before it. The consumer's own queue cannot be passed: it is
        // forwarded to the one that is.
        unsafe {
            let queue = Queue::new(self.rk());
            taken(sys::rd_kafka_consumer_close_queue(self.rk(), queue.native()))?;
            Ok(queue)
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        // SAFETY: the client lives.
        unsafe { sys::rd_kafka_consumer_closed(self.rk()) != 0 }
    }

    /// The error that ended the consumer, if it has ended.
    pub(crate) fn fatal_error(&self) -> Option<(i32, String)> {
        // SAFETY: the client lives.
        unsafe { instance::fatal_error(self.rk()) }
    }

    /// Where the consumer's tokens go.
    pub(crate) fn tokens(&self) -> &Arc<TokenTarget> {
        &self.client.tokens
    }

    /// Why the consumer has no valid token, if it needs one and has none.
    pub(crate) fn token_trouble(&self, now: Instant) -> Option<String> {
        self.tokens().facts().trouble(now)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.tokens.end();
        // SAFETY: this is the last reference to the instance, and its queue was dropped before. Queues of partitions and records
        // hold references, so that none is left. The flag prevents that librdkafka waits for the group once more.
        unsafe { sys::rd_kafka_destroy_flags(self.rk, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) };
    }
}

fn code(code: i32) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(code) }
}

/// Reads and destroys an error; null is none.
fn taken(error: *mut sys::rd_kafka_error_t) -> Result<(), i32> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error belongs to the caller, and is destroyed once.
    unsafe {
        let code = base::rd_kafka_error_code(error);
        sys::rd_kafka_error_destroy(error);
        Err(code)
    }
}
