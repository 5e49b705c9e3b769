//! Observes requests and answers of brokers through librdkafka's interceptors and its throttle callback.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;

use super::{bootstrap, raw};
use crate::broker_activity::BrokerActivities;
use crate::context::Context;

const NAME: &CStr = c"kafka-tower";
/// Kafka's API key of the Produce request.
const PRODUCE: i16 = 0;

/// Returns whether a request of this kind belongs to a transaction: Produce, `AddPartitionsToTxn`, `AddOffsetsToTxn`, `EndTxn`,
/// `TxnOffsetCommit`.
fn is_transactional(api: i16) -> bool {
    matches!(api, PRODUCE | 24 | 25 | 26 | 28)
}

/// Returns whether a request of this kind writes records or a group's offsets: Produce, `TxnOffsetCommit`.
fn writes(api: i16) -> bool {
    matches!(api, PRODUCE | 28)
}

/// Returns whether adding offsets to a transaction makes requests of this kind: `FindCoordinator`, `AddOffsetsToTxn`,
/// `TxnOffsetCommit`.
fn adds_offsets(api: i16) -> bool {
    matches!(api, 10 | 25 | 28)
}

/// Makes the client that will be created from `conf` report its brokers' activity to `peers`.
///
/// # Safety
///
/// `conf` is valid. The client is made with a [`Context`] as its opaque pointer, and `peers` lives longer than it.
pub(super) unsafe fn observe(conf: *mut sys::rd_kafka_conf_t, peers: &Arc<BrokerActivities>) {
    let peers = Arc::as_ptr(peers).cast_mut().cast::<c_void>();
    // SAFETY: `conf` is valid, as the caller promises; the names are copied. The first interceptor of a configuration
    // is always accepted.
    unsafe {
        raw::rd_kafka_conf_interceptor_add_on_new(conf, NAME.as_ptr(), on_new, peers);
        sys::rd_kafka_conf_set_throttle_cb(conf, Some(on_throttle));
    }
}

unsafe extern "C" fn on_new(
    rk: *mut sys::rd_kafka_t,
    _conf: *const sys::rd_kafka_conf_t,
    peers: *mut c_void,
    _text: *mut c_char,
    _size: usize,
) -> c_int {
    // SAFETY: librdkafka calls this while it creates the client; interceptors may be added then.
    unsafe {
        raw::rd_kafka_interceptor_add_on_request_sent(rk, NAME.as_ptr(), on_sent, peers);
        raw::rd_kafka_interceptor_add_on_response_received(rk, NAME.as_ptr(), on_answer, peers);
        raw::rd_kafka_interceptor_add_on_broker_state_change(rk, NAME.as_ptr(), on_state, peers);
    }
    0
}

/// librdkafka holds the broker's lock.
unsafe extern "C" fn on_state(
    _rk: *mut sys::rd_kafka_t,
    _id: i32,
    _protocol: *const c_char,
    _host: *const c_char,
    port: c_int,
    state: *const c_char,
    peers: *mut c_void,
) -> c_int {
    // SAFETY: as in `on_sent`.
    let (peers, state) = unsafe { (&*peers.cast_const().cast::<BrokerActivities>(), bytes(state)) };
    if state == b"DOWN" {
        peers.disconnected();
    }
    bootstrap::count(&peers.connections, port, state);
    0
}

unsafe extern "C" fn on_sent(
    _rk: *mut sys::rd_kafka_t,
    _socket: c_int,
    name: *const c_char,
    id: i32,
    api: i16,
    _version: i16,
    _correlation: i32,
    _size: usize,
    peers: *mut c_void,
) -> c_int {
    // SAFETY: `observe` passed this pointer, and its target outlives the client.
    let peers = unsafe { &*peers.cast_const().cast::<BrokerActivities>() };
    // SAFETY: a terminated string of librdkafka's that lives during this call.
    peers.sent(id, unsafe { bytes(name) }, api == PRODUCE);
    if writes(api) {
        peers.wrote();
    }
    if adds_offsets(api) {
        peers.offsets_sent();
    }
    0
}

unsafe extern "C" fn on_answer(
    _rk: *mut sys::rd_kafka_t,
    _socket: c_int,
    name: *const c_char,
    id: i32,
    api: i16,
    _version: i16,
    _correlation: i32,
    size: usize,
    _round_trip: i64,
    code: c_int,
    peers: *mut c_void,
) -> c_int {
    // SAFETY: as in `on_sent`.
    let (peers, name) = unsafe { (&*peers.cast_const().cast::<BrokerActivities>(), bytes(name)) };
    if api < 0 {
        return 0; // the answer to a request that had timed out before
    }
    if adds_offsets(api) {
        peers.offsets_ended();
    }
    // A request that expects no answer (acks=0) has neither bytes nor a code.
    if size > 0 || code == 0 {
        peers.answered(id, name, api == PRODUCE);
    } else {
        if is_transactional(api) {
            peers.transactional_lost();
        }
        peers.lost(id, name, code, api == PRODUCE);
    }
    0
}

unsafe extern "C" fn on_throttle(
    _rk: *mut sys::rd_kafka_t,
    _address: *const c_char,
    id: i32,
    millis: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque pointer of the client is its context, which outlives the client.
    let context = unsafe { &*opaque.cast_const().cast::<Context>() };
    context.peers().throttled(id, Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
}

/// # Safety
///
/// The pointer is null, or a terminated string that lives as long as `'a`.
unsafe fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: the pointer is not null, so the string is terminated and lives long enough, as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}
