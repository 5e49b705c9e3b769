use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;

use rdkafka_sys as sys;
use sys::rd_kafka_vtype_t as vtype;

use super::raw;
use crate::codes;
use crate::slot::Slot;

/// `RD_KAFKA_PARTITION_UA`: the partitioner decides.
const PARTITION_UA: i32 = -1;

/// A topic handle. It must be dropped before its client; therefore it never leaves `Native`.
pub(super) struct Topic(*mut sys::rd_kafka_topic_t);

// SAFETY: librdkafka's topic handles are thread safe and reference counted.
unsafe impl Send for Topic {}
// SAFETY: as for `Send`: the handles are thread safe.
unsafe impl Sync for Topic {}

impl Topic {
    pub(super) fn open(rk: *mut sys::rd_kafka_t, name: &str) -> Result<Self, i32> {
        let name = CString::new(name).map_err(|_| codes::LOCAL_INVALID_ARG)?;
        // SAFETY: the client lives; the name is terminated and copied by librdkafka; the configuration is null, which
        // means the default.
        let topic = unsafe { sys::rd_kafka_topic_new(rk, name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() { Err(codes::LOCAL_UNKNOWN_TOPIC) } else { Ok(Self(topic)) }
    }

    pub(super) fn native(&self) -> *mut sys::rd_kafka_topic_t {
        self.0
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle came from `rd_kafka_topic_new` and its client still lives.
        unsafe { sys::rd_kafka_topic_destroy(self.0) };
    }
}

/// Headers that librdkafka does not own yet.
struct NativeHeaders(*mut sys::rd_kafka_headers_t);

impl Drop for NativeHeaders {
    fn drop(&mut self) {
        // SAFETY: this value owns the headers: `produce` forgets it when librdkafka takes ownership.
        unsafe { sys::rd_kafka_headers_destroy(self.0) };
    }
}

fn headers(headers: &kafka_tower_core::Headers) -> Option<NativeHeaders> {
    if headers.is_empty() {
        return None;
    }
    // SAFETY: a plain allocation; librdkafka aborts if there is no memory.
    let native = NativeHeaders(unsafe { sys::rd_kafka_headers_new(headers.len()) });
    for header in headers {
        let (value, len) = span(header.value.as_deref());
        // SAFETY: name and value are copied, with the sizes passed; a null value has size 0. The only error that this
        // function returns is for headers that are read-only, which these are not; so the result is a code that the
        // binding's enum has.
        unsafe {
            sys::rd_kafka_header_add(native.0, header.key.as_ptr().cast(), signed(header.key.len()), value, signed(len))
        };
    }
    Some(native)
}

/// Returns null for `None`, and a non-null pointer for an empty slice: Kafka distinguishes the two.
fn span(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast(), b.len()))
}

fn signed(len: usize) -> isize {
    // No overflow: a slice is never longer than isize::MAX.
    isize::try_from(len).unwrap_or(isize::MAX)
}

pub(super) fn produce(rk: *mut sys::rd_kafka_t, topic: &Topic, slot: Arc<Slot>) -> Result<(), (i32, Arc<Slot>)> {
    let record = slot.record();
    let headers = headers(&record.headers);
    let (key, key_len) = span(record.key.as_deref());
    let (value, value_len) = span(record.value.as_deref());
    let partition = record.partition.unwrap_or(PARTITION_UA);
    let timestamp = record.timestamp.map_or(0, kafka_tower_core::Timestamp::as_millis);
    let opaque = Arc::into_raw(slot).cast_mut();
    type Value = sys::rd_kafka_vu_s__bindgen_ty_1;
    type Span = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1;
    let vu = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
    let arguments = [
        vu(vtype::RD_KAFKA_VTYPE_RKT, Value { rkt: topic.0 }),
        vu(vtype::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition }),
        // Flags: librdkafka neither copies nor frees the value.
        vu(vtype::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: 0 }),
        vu(vtype::RD_KAFKA_VTYPE_KEY, Value { mem: Span { ptr: key, size: key_len } }),
        vu(vtype::RD_KAFKA_VTYPE_VALUE, Value { mem: Span { ptr: value, size: value_len } }),
        vu(vtype::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: timestamp }),
        vu(vtype::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: opaque.cast() }),
        vu(vtype::RD_KAFKA_VTYPE_HEADERS, Value { headers: headers.as_ref().map_or(ptr::null_mut(), |h| h.0) }),
    ];
    let count = arguments.len() - usize::from(headers.is_none());
    // SAFETY: in each argument the union's field is the one that its type names. librdkafka copies the key. The value
    // does not move until the delivery report: it belongs to the record in the slot, and no code changes that record.
    // The opaque pointer holds a reference to the slot, and after the report `Queue::poll` holds it until the report's
    // event is destroyed.
    let error = unsafe { sys::rd_kafka_produceva(rk, arguments.as_ptr(), count) };
    if error.is_null() {
        std::mem::forget(headers); // owned by librdkafka now
        return Ok(());
    }
    // SAFETY: a non-null error is valid until it is destroyed, and the caller of librdkafka destroys it.
    let code = unsafe {
        // After a fatal error, librdkafka returns the code of the error that ended the producer.
        let fatal = sys::rd_kafka_error_is_fatal(error) != 0;
        let code = raw::rd_kafka_error_code(error);
        sys::rd_kafka_error_destroy(error);
        if fatal { codes::LOCAL_FATAL } else { code }
    };
    // SAFETY: the pointer came from `Arc::into_raw` above. librdkafka did not accept the message, so no one else owns
    // this reference.
    Err((code, unsafe { Arc::from_raw(opaque) }))
}
