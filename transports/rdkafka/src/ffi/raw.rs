//! Functions of librdkafka that return or take `rd_kafka_resp_err_t`, declared with C's integer type.
//!
//! Source: `rdkafka.h` of librdkafka 2.12.1. The C enum is an `int`, because it has values below 0.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use rdkafka_sys as sys;

pub(super) type OnNew =
    unsafe extern "C" fn(*mut sys::rd_kafka_t, *const sys::rd_kafka_conf_t, *mut c_void, *mut c_char, usize) -> c_int;
/// Arguments: socket, broker's name and id, API key and version, correlation id, bytes, opaque pointer.
pub(super) type OnSent =
    unsafe extern "C" fn(*mut sys::rd_kafka_t, c_int, *const c_char, i32, i16, i16, i32, usize, *mut c_void) -> c_int;
/// Arguments: as above, with the round-trip time in microseconds (-1 without an answer) and the code before the opaque
/// pointer.
pub(super) type OnAnswer = unsafe extern "C" fn(
    *mut sys::rd_kafka_t,
    c_int,
    *const c_char,
    i32,
    i16,
    i16,
    i32,
    usize,
    i64,
    c_int,
    *mut c_void,
) -> c_int;
/// Arguments: broker's id, protocol, host, port, the state's name, opaque pointer.
pub(super) type OnState = unsafe extern "C" fn(
    *mut sys::rd_kafka_t,
    i32,
    *const c_char,
    *const c_char,
    c_int,
    *const c_char,
    *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub(super) fn rd_kafka_conf_interceptor_add_on_new(
        conf: *mut sys::rd_kafka_conf_t,
        name: *const c_char,
        on_new: OnNew,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_interceptor_add_on_request_sent(
        rk: *mut sys::rd_kafka_t,
        name: *const c_char,
        on_sent: OnSent,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_interceptor_add_on_response_received(
        rk: *mut sys::rd_kafka_t,
        name: *const c_char,
        on_answer: OnAnswer,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_interceptor_add_on_broker_state_change(
        rk: *mut sys::rd_kafka_t,
        name: *const c_char,
        on_state: OnState,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_err2str(code: c_int) -> *const c_char;
    pub(super) fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
    pub(super) fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
    pub(super) fn rd_kafka_fatal_error(rk: *mut sys::rd_kafka_t, text: *mut c_char, size: usize) -> c_int;
    pub(super) fn rd_kafka_flush(rk: *mut sys::rd_kafka_t, timeout_ms: c_int) -> c_int;
    pub(super) fn rd_kafka_pause_partitions(
        rk: *mut sys::rd_kafka_t,
        partitions: *mut sys::rd_kafka_topic_partition_list_t,
    ) -> c_int;
    pub(super) fn rd_kafka_purge(rk: *mut sys::rd_kafka_t, flags: c_int) -> c_int;
    pub(super) fn rd_kafka_metadata(
        rk: *mut sys::rd_kafka_t,
        all_topics: c_int,
        only_topic: *mut sys::rd_kafka_topic_t,
        metadata: *mut *const sys::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_message_status(message: *const sys::rd_kafka_message_t) -> c_int;
    pub(super) fn rd_kafka_message_timestamp(message: *const sys::rd_kafka_message_t, kind: *mut c_int) -> i64;
    pub(super) fn rd_kafka_oauthbearer_set_token(
        rk: *mut sys::rd_kafka_t,
        token: *const c_char,
        lifetime_ms: i64,
        principal: *const c_char,
        extensions: *mut *const c_char,
        extension_size: usize,
        text: *mut c_char,
        size: usize,
    ) -> c_int;
    pub(super) fn rd_kafka_oauthbearer_set_token_failure(rk: *mut sys::rd_kafka_t, text: *const c_char) -> c_int;
}

#[cfg(feature = "mock-cluster")]
unsafe extern "C" {
    pub(super) fn rd_kafka_mock_push_request_errors_array(
        cluster: *mut sys::rd_kafka_mock_cluster_t,
        api_key: i16,
        count: usize,
        errors: *const c_int,
    );
    pub(super) fn rd_kafka_mock_topic_create(
        cluster: *mut sys::rd_kafka_mock_cluster_t,
        topic: *const c_char,
        partitions: c_int,
        replication_factor: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_mock_broker_set_down(cluster: *mut sys::rd_kafka_mock_cluster_t, broker: i32) -> c_int;
    pub(super) fn rd_kafka_mock_broker_set_up(cluster: *mut sys::rd_kafka_mock_cluster_t, broker: i32) -> c_int;
    pub(super) fn rd_kafka_mock_broker_set_rtt(
        cluster: *mut sys::rd_kafka_mock_cluster_t,
        broker: i32,
        rtt_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_mock_topic_set_error(
        cluster: *mut sys::rd_kafka_mock_cluster_t,
        topic: *const c_char,
        error: c_int,
    );
}

/// A time-out for librdkafka.
pub(super) fn millis(timeout: Duration) -> c_int {
    // Rounded up: a wait of 0 ms would spin during the rest of the last millisecond.
    c_int::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(c_int::MAX)
}
