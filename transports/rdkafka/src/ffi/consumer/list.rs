use std::ffi::{CStr, CString, c_int};
use std::ptr;

use rdkafka_sys as sys;

/// An entry of a list of partitions that librdkafka returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Negative if there is none.
    pub(crate) offset: i64,
    /// Kafka's or librdkafka's code; 0 without an error.
    pub(crate) code: i32,
}

/// A list of partitions.
pub(in crate::ffi) struct PartitionList(*mut sys::rd_kafka_topic_partition_list_t);

// SAFETY: the list belongs to this value alone, and librdkafka's lists are not bound to a thread.
unsafe impl Send for PartitionList {}

impl PartitionList {
    pub(super) fn new() -> Self {
        // SAFETY: the result is never null: librdkafka ends the process if there is no memory.
        Self(unsafe { sys::rd_kafka_topic_partition_list_new(1) })
    }

    /// Partitions with offsets. A name with a NUL, which no topic has, is left out.
    pub(in crate::ffi) fn of<'a>(places: impl IntoIterator<Item = (&'a str, i32, i64)>) -> Self {
        let list = Self::new();
        for (topic, partition, offset) in places {
            let Ok(topic) = CString::new(topic) else { continue };
            // SAFETY: the list lives, and the name is terminated and copied. The result is the new entry, which is valid until
            // the list changes.
            unsafe {
                let entry = sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition);
                ptr::addr_of_mut!((*entry).offset).write(offset);
            }
        }
        list
    }

    pub(in crate::ffi) fn native(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub(super) fn places(&self) -> Vec<Place> {
        // SAFETY: the list lives.
        unsafe { places(self.0) }
    }

    /// Offset and code of the first entry. Without an allocation.
    pub(super) fn first(&self) -> Option<(i64, i32)> {
        // SAFETY: the list lives, and has an entry if its count says so. The code is read as an integer.
        unsafe {
            let entry = ((*self.0).cnt > 0).then_some((*self.0).elems)?;
            Some((ptr::addr_of!((*entry).offset).read(), ptr::addr_of!((*entry).err).cast::<c_int>().read()))
        }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: this value owns the list.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

/// The entries of a list. Empty for null.
///
/// # Safety
///
/// The pointer is null, or a valid list of librdkafka.
pub(in crate::ffi) unsafe fn places(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Place> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list is valid, as the caller promises: it has as many entries as its count says.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        (0..count).map(|i| place((*list).elems.add(i))).collect()
    }
}

/// # Safety
///
/// The pointer is a valid entry of librdkafka's.
pub(in crate::ffi) unsafe fn place(entry: *const sys::rd_kafka_topic_partition_t) -> Place {
    // SAFETY: the entry is valid, as the caller promises, and its name is terminated. The fields are read one by one, the code as
    // an integer: a reference to an entry would assert that the binding's enum has its code.
    unsafe {
        Place {
            topic: CStr::from_ptr(ptr::addr_of!((*entry).topic).read()).to_string_lossy().into_owned(),
            partition: ptr::addr_of!((*entry).partition).read(),
            offset: ptr::addr_of!((*entry).offset).read(),
            code: ptr::addr_of!((*entry).err).cast::<c_int>().read(),
        }
    }
}
