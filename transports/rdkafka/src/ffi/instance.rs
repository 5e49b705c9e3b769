//! One instance of librdkafka's producer.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaType;
use rdkafka_sys as sys;

use super::bootstrap::Bootstrap;
use super::raw::millis;
use super::topics::Topics;
use super::{Event, Queue, TokenTarget, activity, raw};
use crate::broker_activity::BrokerActivities;
use crate::context::Context;
use crate::slot::Slot;

/// One instance of librdkafka's producer, before a client uses it or after it was replaced.
#[derive(Clone)]
pub(crate) struct Instance(pub(super) Arc<Native>);

impl Instance {
    pub(crate) fn create(config: &ClientConfig) -> Result<Self, KafkaError> {
        let native = config.create_native_config()?;
        let peers = Arc::new(BrokerActivities::default());
        let events = sys::RD_KAFKA_EVENT_DR
            | sys::RD_KAFKA_EVENT_STATS
            | sys::RD_KAFKA_EVENT_ERROR
            | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
        // SAFETY: the configuration is valid; the context becomes the client's opaque pointer in `Client::new`, and `peers`
        // outlives the client: see `Native`, and below.
        unsafe {
            sys::rd_kafka_conf_set_events(native.ptr(), events);
            activity::observe(native.ptr(), &peers);
        }
        let context = Context::new(Arc::clone(&peers));
        let made = rdkafka::client::Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context);
        let producer = made.inspect_err(|_| {
            // The binding leaks a client that it failed to set up, and its callbacks go on: `peers` must stay alive.
            std::mem::forget(Arc::clone(&peers));
        })?;
        // SAFETY: the producer lives longer than the queue: see `Native`.
        let queue = unsafe { Queue::main(producer.native_ptr()) };
        // SAFETY: the producer lives until `Native` is dropped, which ends the target first.
        let tokens = unsafe { TokenTarget::new(producer.native_ptr()) };
        let bootstrap = Bootstrap::new(config);
        Ok(Self(Arc::new(Native { topics: Topics::default(), queue, tokens, producer, peers, bootstrap })))
    }

    /// Like [`Client::purge`].
    pub(crate) fn purge(&self) {
        self.0.purge();
    }

    /// Like [`Client::fatal_error`].
    pub(crate) fn fatal_error(&self) -> Option<(i32, String)> {
        self.0.fatal_error()
    }

    /// Like [`Client::produce_lost`].
    pub(crate) fn produce_lost(&self) -> Option<Instant> {
        self.0.peers.produce_lost()
    }

    /// Returns a new reference to the main queue of the instance. It must be dropped before the instance.
    pub(crate) fn queue(&self) -> Queue {
        // SAFETY: the producer lives; the caller drops the queue before it.
        unsafe { Queue::main(self.0.rk()) }
    }

    /// Like [`Client::tokens`].
    pub(crate) fn tokens(&self) -> &Arc<TokenTarget> {
        &self.0.tokens
    }

    /// Waits until a broker answers, at most `within`. Returns whether one did.
    pub(crate) fn wait_for_broker(&self, within: Duration) -> bool {
        let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
        // SAFETY: the client lives; a null topic requests none; `metadata` is written only on success, and destroyed
        // once.
        unsafe {
            let answered = raw::rd_kafka_metadata(self.0.rk(), 0, ptr::null_mut(), &mut metadata, millis(within)) == 0;
            if answered {
                sys::rd_kafka_metadata_destroy(metadata);
            }
            answered
        }
    }

    /// Returns the number of records whose report was not read yet, plus the number of other waiting events.
    pub(crate) fn queued(&self) -> usize {
        // SAFETY: the client lives; the function is thread safe.
        usize::try_from(unsafe { sys::rd_kafka_outq_len(self.0.rk()) }).unwrap_or(0)
    }

    /// Gives up all records and passes on those without a report. Waits for librdkafka's threads, one of which may be
    /// resolving a host name.
    pub(crate) fn give_up(&self, mut last: impl FnMut(&Slot)) {
        self.0.give_up(|event| {
            if let Event::Reports(mut reports) = event {
                reports.each(|report| last(report.slot));
            }
        });
    }
}

/// Maximum time to wait for the reports of records that a destroyed producer still had.
const LAST_REPORTS: Duration = Duration::from_millis(500);

/// Topic handles and the queue are declared before the producer, because they must be destroyed before it; the target
/// of its callbacks is declared after it.
pub(super) struct Native {
    pub(super) topics: Topics,
    pub(super) queue: Queue,
    pub(super) tokens: Arc<TokenTarget>,
    producer: rdkafka::client::Client<Context>,
    pub(super) peers: Arc<BrokerActivities>,
    bootstrap: Bootstrap,
}

impl Native {
    pub(super) fn rk(&self) -> *mut sys::rd_kafka_t {
        self.producer.native_ptr()
    }
}

impl Drop for Native {
    /// Called when the event loop has read all reports. Records that are still here end as lost.
    fn drop(&mut self) {
        self.tokens.end();
        self.give_up(|event| drop(event));
    }
}

impl Native {
    fn give_up(&self, mut last: impl FnMut(Event<'_>)) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the client lives; the function is thread safe.
        unsafe { raw::rd_kafka_purge(self.rk(), flags) };
        let (end, mut reported) = (Instant::now() + LAST_REPORTS, Vec::new());
        // SAFETY: the client lives; the function is thread safe.
        while unsafe { sys::rd_kafka_outq_len(self.rk()) } > 0 && Instant::now() < end {
            self.queue.poll(Duration::from_millis(10), &mut reported, &mut last);
            reported.clear();
        }
    }

    pub(super) fn purge(&self) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: the client lives; the function is thread safe.
        unsafe { raw::rd_kafka_purge(self.rk(), flags) };
    }

    pub(super) fn find_lost_brokers(&self, now: Instant) {
        // SAFETY: the client lives.
        unsafe { self.bootstrap.add_if_lost(self.rk(), &self.peers.connections, now) };
    }

    pub(super) fn purge_queued(&self) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: the client lives; the function is thread safe.
        unsafe { raw::rd_kafka_purge(self.rk(), flags) };
    }

    pub(super) fn fatal_error(&self) -> Option<(i32, String)> {
        // SAFETY: the client lives.
        unsafe { fatal_error(self.rk()) }
    }
}

/// # Safety
///
/// The client lives.
pub(super) unsafe fn fatal_error(rk: *mut sys::rd_kafka_t) -> Option<(i32, String)> {
    let mut text: [c_char; 512] = [0; 512];
    // SAFETY: the client lives, as the caller promises. The length passed is that of the buffer, and librdkafka terminates
    // what it writes.
    let code = unsafe { raw::rd_kafka_fatal_error(rk, text.as_mut_ptr(), text.len()) };
    // SAFETY: the buffer was filled with zeros, so what is in it is terminated.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    (code != 0).then(|| (code, text.to_string_lossy().into_owned()))
}

/// librdkafka's text for a code.
pub(crate) fn text_of(code: i32) -> String {
    // SAFETY: a terminated string that is never freed, or that stays valid in this thread until the next call.
    unsafe { CStr::from_ptr(raw::rd_kafka_err2str(code)) }.to_string_lossy().into_owned()
}
