//! Functions of librdkafka that return or take `rd_kafka_resp_err_t`, declared with the integer that it is in C.
//!
//! Source: `rdkafka.h` of librdkafka 2.12.1. A C enum is an `int` here (its values go below 0).

use std::ffi::{c_char, c_int};

use rdkafka_sys as sys;

unsafe extern "C" {
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
