//! A request of librdkafka's admin client, with a queue of its own for the answer.

use std::ffi::{c_char, c_int};
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t as Admin;

use super::raw::millis;
use crate::codes;

/// Interval of the check whether the answer is still wanted. An answer ends the wait at once.
const SLICE: Duration = Duration::from_millis(100);

unsafe extern "C" {
    // As in `raw`: the code is an integer.
    fn rd_kafka_AdminOptions_set_request_timeout(
        options: *mut sys::rd_kafka_AdminOptions_t,
        timeout_ms: c_int,
        text: *mut c_char,
        size: usize,
    ) -> c_int;
    fn rd_kafka_AdminOptions_set_broker(
        options: *mut sys::rd_kafka_AdminOptions_t,
        broker: i32,
        text: *mut c_char,
        size: usize,
    ) -> c_int;
}

/// Options of a request, and the queue for its answer. Must be dropped before its client is destroyed.
pub(super) struct AdminRequest {
    pub(super) options: *mut sys::rd_kafka_AdminOptions_t,
    pub(super) queue: *mut sys::rd_kafka_queue_t,
}

impl AdminRequest {
    /// Prepares a request to this broker. Without a broker id, librdkafka sends it to a group's coordinator, to the leaders of
    /// partitions, or otherwise to the controller, which may be unreachable.
    pub(super) fn new(
        rk: *mut sys::rd_kafka_t,
        what: Admin,
        broker: Option<i32>,
        within: Duration,
    ) -> Result<Self, i32> {
        // SAFETY: the client lives. The options may be null, which is checked below.
        let question =
            unsafe { Self { options: sys::rd_kafka_AdminOptions_new(rk, what), queue: sys::rd_kafka_queue_new(rk) } };
        if question.options.is_null() {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let mut text: [c_char; 128] = [0; 128];
        // SAFETY: the options live; the length passed is that of the buffer.
        let codes = unsafe {
            [
                rd_kafka_AdminOptions_set_request_timeout(
                    question.options,
                    millis(within),
                    text.as_mut_ptr(),
                    text.len(),
                ),
                broker.map_or(0, |broker| {
                    rd_kafka_AdminOptions_set_broker(question.options, broker, text.as_mut_ptr(), text.len())
                }),
            ]
        };
        codes.into_iter().find(|code| *code != 0).map_or(Ok(question), Err)
    }

    /// Asks for the operations that this principal may do, too.
    pub(super) fn with_operations(self) -> Result<Self, i32> {
        // SAFETY: the options live. A non-null error belongs to this function, which destroys it once.
        unsafe {
            let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(self.options, 1);
            if error.is_null() {
                return Ok(self);
            }
            sys::rd_kafka_error_destroy(error);
            Err(codes::LOCAL_INVALID_ARG)
        }
    }

    /// Waits for the answer, which arrives within the options' time even if it is a time-out, as long as it is `wanted`.
    pub(super) fn answer<R>(
        &self,
        within: Duration,
        wanted: impl Fn() -> bool,
        read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<R, i32>,
    ) -> Result<R, i32> {
        let end = later(Instant::now(), within + Duration::from_secs(1));
        let event = loop {
            let wait = end.saturating_duration_since(Instant::now()).min(SLICE);
            // SAFETY: the queue lives.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue, millis(wait)) };
            if !event.is_null() {
                break event;
            }
            if !wanted() {
                return Err(codes::LOCAL_DESTROY);
            }
            if wait < SLICE {
                return Err(codes::LOCAL_TIMED_OUT);
            }
        };
        let answer = read(event);
        // SAFETY: this value owns the event, and no reference into it is left.
        unsafe { sys::rd_kafka_event_destroy(event) };
        answer
    }
}

impl Drop for AdminRequest {
    fn drop(&mut self) {
        // SAFETY: this value owns both, and destroys each once. librdkafka has its own references to what a pending
        // answer needs.
        unsafe {
            if !self.options.is_null() {
                sys::rd_kafka_AdminOptions_destroy(self.options);
            }
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}
