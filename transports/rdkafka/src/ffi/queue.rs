use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;

use super::consumer::{Place, places};
use super::raw;
use super::raw::millis;
use crate::classify;
use crate::codes;
use crate::slot::Slot;

/// A queue of events, for example the main queue of a client.
pub(crate) struct Queue(*mut sys::rd_kafka_queue_t);

// SAFETY: librdkafka's queues are thread safe.
unsafe impl Send for Queue {}
// SAFETY: as for `Send`: the queues are thread safe.
unsafe impl Sync for Queue {}

impl Queue {
    /// # Safety
    ///
    /// The client lives, and is destroyed only after this queue was dropped.
    pub(super) unsafe fn main(rk: *mut sys::rd_kafka_t) -> Self {
        // SAFETY: the client lives, as the caller promises; the result is a new counted reference.
        Self(unsafe { sys::rd_kafka_queue_get_main(rk) })
    }

    /// The queue of a consumer.
    ///
    /// # Safety
    ///
    /// The client lives, is a consumer, and is destroyed only after this queue was dropped.
    pub(super) unsafe fn consumer(rk: *mut sys::rd_kafka_t) -> Self {
        // SAFETY: as in `main`. The result is null only for a client that is no consumer.
        Self(unsafe { sys::rd_kafka_queue_get_consumer(rk) })
    }

    /// A queue of its own.
    ///
    /// # Safety
    ///
    /// The client lives, and is destroyed only after this queue was dropped.
    pub(super) unsafe fn new(rk: *mut sys::rd_kafka_t) -> Self {
        // SAFETY: the client lives, as the caller promises.
        Self(unsafe { sys::rd_kafka_queue_new(rk) })
    }

    pub(super) fn native(&self) -> *mut sys::rd_kafka_queue_t {
        self.0
    }

    /// Ends the current `poll`, or the next one.
    pub(super) fn wake(&self) {
        // SAFETY: the queue lives.
        unsafe { sys::rd_kafka_queue_yield(self.0) };
    }

    /// Waits for an event and passes it to `handle`. Returns whether there was one.
    ///
    /// `reported` receives the slots of the event and holds them until the event is destroyed: librdkafka reads their values in
    /// place.
    pub(crate) fn poll(
        &self,
        timeout: Duration,
        reported: &mut Vec<Arc<Slot>>,
        handle: impl FnOnce(Event<'_>),
    ) -> bool {
        // SAFETY: the queue lives.
        let event = unsafe { sys::rd_kafka_queue_poll(self.0, millis(timeout)) };
        if event.is_null() {
            return false;
        }
        // Destroys the event even if `handle` panics.
        let event = NativeEvent(event);
        handle(event.read(reported));
        drop(event);
        true
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: this value owns one counted reference.
        unsafe { sys::rd_kafka_queue_destroy(self.0) };
    }
}

/// An event of librdkafka. Codes are integers.
pub(crate) enum Event<'a> {
    Reports(Reports<'a>),
    Error {
        code: i32,
        fatal: bool,
        text: &'a CStr,
    },
    Log {
        level: i32,
        facility: &'a CStr,
        text: &'a CStr,
    },
    Statistics(&'a CStr),
    TokenRefresh,
    /// A consumer is given partitions, or has to give them back; the code says which.
    Rebalance {
        code: i32,
        partitions: Vec<Place>,
    },
    /// The answer to a consumer's commit. The code is that of the whole commit.
    Committed {
        number: u64,
        code: i32,
        partitions: Vec<Place>,
    },
    Other(i32),
}

/// The delivery report of a message, as librdkafka returns it.
pub(crate) struct Report<'a> {
    pub(crate) slot: &'a Arc<Slot>,
    pub(crate) code: i32,
    /// `RD_KAFKA_MSG_STATUS_…`: 0 not persisted, 1 possibly, 2 persisted.
    pub(crate) status: i32,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// In milliseconds since the epoch, or -1.
    pub(crate) timestamp: i64,
}

/// The reports of one event.
pub(crate) struct Reports<'a> {
    event: &'a NativeEvent,
    reported: &'a mut Vec<Arc<Slot>>,
}

impl Reports<'_> {
    /// Passes every report to the callback once.
    pub(crate) fn each(&mut self, mut read: impl FnMut(&Report<'_>)) {
        loop {
            // SAFETY: the event lives and is a delivery report; the message lives as long as the event.
            let message = unsafe { sys::rd_kafka_event_message_next(self.event.0) };
            if message.is_null() {
                return;
            }
            let mut kind: c_int = 0;
            // SAFETY: the message is valid. Its code is read as an integer and never as the binding's enum. Its opaque
            // pointer is the slot's reference from `produce`. This call takes that reference over once: librdkafka
            // reports each message once, and yields it once.
            unsafe {
                let opaque = ptr::addr_of!((*message)._private).read();
                let slot = Arc::from_raw(opaque.cast::<Slot>().cast_const());
                let at = self.reported.len();
                self.reported.push(slot);
                read(&Report {
                    slot: &self.reported[at],
                    code: codes::of_report(ptr::addr_of!((*message).err).cast::<c_int>().read()),
                    status: raw::rd_kafka_message_status(message),
                    partition: ptr::addr_of!((*message).partition).read(),
                    offset: ptr::addr_of!((*message).offset).read(),
                    timestamp: raw::rd_kafka_message_timestamp(message, &mut kind),
                });
            }
        }
    }
}

impl Drop for Reports<'_> {
    fn drop(&mut self) {
        // Slots of reports that were not read, for example after a panic, must not leak.
        self.each(|report| report.slot.lose(classify::lost(&report.slot.record().topic)));
    }
}

struct NativeEvent(*mut sys::rd_kafka_event_t);

impl NativeEvent {
    fn read<'a>(&'a self, reported: &'a mut Vec<Arc<Slot>>) -> Event<'a> {
        // SAFETY: the event and the strings that it owns live as long as `self`. Each accessor is called only on an
        // event of its own type.
        unsafe {
            match sys::rd_kafka_event_type(self.0) {
                sys::RD_KAFKA_EVENT_DR => Event::Reports(Reports { event: self, reported }),
                sys::RD_KAFKA_EVENT_ERROR => Event::Error {
                    code: raw::rd_kafka_event_error(self.0),
                    fatal: sys::rd_kafka_event_error_is_fatal(self.0) != 0,
                    text: text(sys::rd_kafka_event_error_string(self.0)).unwrap_or_default(),
                },
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                    sys::rd_kafka_event_log(self.0, &mut facility, &mut line, &mut level);
                    Event::Log {
                        level,
                        facility: text(facility).unwrap_or_default(),
                        text: text(line).unwrap_or_default(),
                    }
                }
                sys::RD_KAFKA_EVENT_STATS => {
                    Event::Statistics(text(sys::rd_kafka_event_stats(self.0)).unwrap_or_default())
                }
                sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => Event::TokenRefresh,
                sys::RD_KAFKA_EVENT_REBALANCE => Event::Rebalance {
                    code: raw::rd_kafka_event_error(self.0),
                    partitions: places(sys::rd_kafka_event_topic_partition_list(self.0)),
                },
                sys::RD_KAFKA_EVENT_OFFSET_COMMIT => Event::Committed {
                    // Not a pointer, but the number that the commit was sent with.
                    number: sys::rd_kafka_event_opaque(self.0).addr() as u64,
                    code: raw::rd_kafka_event_error(self.0),
                    partitions: places(sys::rd_kafka_event_topic_partition_list(self.0)),
                },
                other => Event::Other(other),
            }
        }
    }
}

/// # Safety
///
/// The pointer is null, or a terminated string that lives as long as `'a`.
unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the pointer is not null, so the string is terminated and lives long enough, as the caller promises.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

impl Drop for NativeEvent {
    fn drop(&mut self) {
        // SAFETY: this value owns the event, and no reference into it is left.
        unsafe { sys::rd_kafka_event_destroy(self.0) };
    }
}
