use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;

use kafka_tower_core::{BatchSink, RecordRef, Timestamp, TimestampType};
use rdkafka_sys as sys;

use super::super::raw as base;
use super::{ConsumerInstance, raw};

/// Maximum number of records of a batch.
pub(crate) const MOST: usize = 64;

/// Records that were taken from a queue. Each is destroyed when it was lent, or with this value.
pub(crate) struct LentBatch {
    messages: [*mut sys::rd_kafka_message_t; MOST],
    /// Those before were lent and destroyed.
    next: usize,
    count: usize,
    /// Dropped after the messages.
    _instance: Arc<ConsumerInstance>,
}

/// An error among the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedRead {
    pub(crate) code: i32,
    pub(crate) text: String,
    /// Where it happened. Negative if that is not known.
    pub(crate) offset: i64,
}

impl LentBatch {
    /// # Safety
    ///
    /// The first `count` pointers are messages that librdkafka has given to the caller.
    pub(super) unsafe fn new(
        messages: [*mut sys::rd_kafka_message_t; MOST],
        count: usize,
        instance: Arc<ConsumerInstance>,
    ) -> Self {
        Self { messages, next: 0, count: count.min(MOST), _instance: instance }
    }

    /// Number of messages, also those that are errors.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The offset of each record, and the errors among them.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = Result<i64, FailedRead>> {
        self.messages[..self.count].iter().map(|message| {
            // SAFETY: the message lives. The fields are read one by one, the code as an integer. The text is null or terminated,
            // and lives as long as the message.
            unsafe {
                let code = ptr::addr_of!((**message).err).cast::<c_int>().read();
                let offset = ptr::addr_of!((**message).offset).read();
                if code == 0 {
                    return Ok(offset);
                }
                let text = sys::rd_kafka_message_errstr(*message);
                let text = if text.is_null() { Cow::default() } else { CStr::from_ptr(text).to_string_lossy() };
                Err(FailedRead { code, text: text.into_owned(), offset })
            }
        })
    }

    /// Lends the first records, with their headers or without, and destroys each one afterwards. The rest is destroyed without
    /// being lent.
    ///
    /// librdkafka says whether a record has headers only by parsing them, in a buffer that it makes for that.
    pub(crate) fn lend(mut self, records: usize, with_headers: bool, into: &mut dyn BatchSink) {
        while self.next < records.min(self.count) {
            let message = self.messages[self.next];
            // SAFETY: the message lives until it is destroyed below, or by the drop of this value if `into` panics. What is
            // borrowed from it ends before.
            unsafe { lend(message, with_headers, into) };
            self.next += 1;
            // SAFETY: the message was not destroyed before, and the drop begins behind it.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for LentBatch {
    fn drop(&mut self) {
        for message in &self.messages[self.next..self.count] {
            // SAFETY: this value owns the message, which was not destroyed before.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
    }
}

/// # Safety
///
/// The message is a record of a consumer, and lives during the call.
unsafe fn lend(message: *mut sys::rd_kafka_message_t, with_headers: bool, into: &mut dyn BatchSink) {
    // SAFETY: the message lives, as the caller promises. Key and value are null, or as long as their lengths say. The headers
    // live as long as the message.
    unsafe {
        let names_and_values = if with_headers { headers(message) } else { Vec::new() };
        let headers: Vec<_> = names_and_values.iter().map(|(name, value)| (&**name, *value)).collect();
        let mut kind: c_int = 0;
        let timestamp = base::rd_kafka_message_timestamp(message, &mut kind);
        let key = bytes(ptr::addr_of!((*message).key).read(), ptr::addr_of!((*message).key_len).read());
        let value = bytes(ptr::addr_of!((*message).payload).read(), ptr::addr_of!((*message).len).read());
        let record = RecordRef::new(ptr::addr_of!((*message).offset).read())
            .with_timestamp((timestamp >= 0).then(|| Timestamp::from_millis(timestamp)))
            .with_timestamp_type(timestamp_type(kind))
            .with_key(key)
            .with_value(value)
            .with_headers(&headers);
        into.record(record);
    }
}

/// Of `rd_kafka_timestamp_type_t`.
fn timestamp_type(kind: c_int) -> Option<TimestampType> {
    match kind {
        1 => Some(TimestampType::Create),
        2 => Some(TimestampType::LogAppend),
        _ => None,
    }
}

type NameAndValue<'a> = (Cow<'a, str>, Option<&'a [u8]>);

/// # Safety
///
/// The message is a record of a consumer, and lives as long as `'a`.
unsafe fn headers<'a>(message: *mut sys::rd_kafka_message_t) -> Vec<NameAndValue<'a>> {
    let mut native: *mut sys::rd_kafka_headers_t = ptr::null_mut();
    let mut headers = Vec::new();
    // SAFETY: the message lives. `native` is written on success only, and belongs to the message. Names are terminated; values
    // are null, or as long as their sizes say.
    unsafe {
        if raw::rd_kafka_message_headers(message, &mut native) != 0 {
            return headers;
        }
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
        while raw::rd_kafka_header_get_all(native, headers.len(), &mut name, &mut value, &mut size) == 0 {
            headers.push((CStr::from_ptr(name).to_string_lossy(), bytes(value, size)));
        }
    }
    headers
}

/// # Safety
///
/// The pointer is null, or points to `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(pointer: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the pointer is not null, so the bytes are there, as the caller promises.
    (!pointer.is_null()).then(|| unsafe { slice::from_raw_parts(pointer.cast(), length) })
}
