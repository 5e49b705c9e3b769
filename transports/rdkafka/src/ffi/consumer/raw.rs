//! Functions of librdkafka that only consumers use, with C's integer type where the binding has an enum with holes.

use std::ffi::{c_char, c_int, c_void};

use rdkafka_sys as sys;

type OnCommitted = unsafe extern "C" fn(
    rk: *mut sys::rd_kafka_t,
    code: c_int,
    offsets: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
);

unsafe extern "C" {
    pub(super) fn rd_kafka_assign(
        rk: *mut sys::rd_kafka_t,
        partitions: *const sys::rd_kafka_topic_partition_list_t,
    ) -> c_int;
    pub(super) fn rd_kafka_commit_queue(
        rk: *mut sys::rd_kafka_t,
        offsets: *const sys::rd_kafka_topic_partition_list_t,
        queue: *mut sys::rd_kafka_queue_t,
        callback: Option<OnCommitted>,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_committed(
        rk: *mut sys::rd_kafka_t,
        partitions: *mut sys::rd_kafka_topic_partition_list_t,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_get_watermark_offsets(
        rk: *mut sys::rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
    ) -> c_int;
    pub(super) fn rd_kafka_header_get_all(
        headers: *const sys::rd_kafka_headers_t,
        index: usize,
        name: *mut *const c_char,
        value: *mut *const c_void,
        size: *mut usize,
    ) -> c_int;
    pub(super) fn rd_kafka_message_headers(
        message: *const sys::rd_kafka_message_t,
        headers: *mut *mut sys::rd_kafka_headers_t,
    ) -> c_int;
    pub(super) fn rd_kafka_offsets_for_times(
        rk: *mut sys::rd_kafka_t,
        offsets: *mut sys::rd_kafka_topic_partition_list_t,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_poll_set_consumer(rk: *mut sys::rd_kafka_t) -> c_int;
    pub(super) fn rd_kafka_position(
        rk: *mut sys::rd_kafka_t,
        partitions: *mut sys::rd_kafka_topic_partition_list_t,
    ) -> c_int;
    pub(super) fn rd_kafka_query_watermark_offsets(
        rk: *mut sys::rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_subscribe(
        rk: *mut sys::rd_kafka_t,
        topics: *const sys::rd_kafka_topic_partition_list_t,
    ) -> c_int;
}
