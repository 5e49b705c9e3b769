use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use kafka_tower_core::{ConsumerGroup, TopicOffset};
use rdkafka_sys as sys;

use super::instance::Instance;
use super::raw::millis;
use super::{Client, raw};
use crate::codes;

/// Error of a transactional call of librdkafka.
#[derive(Debug)]
pub(crate) struct TransactionError {
    pub(crate) code: i32,
    pub(crate) text: String,
    /// The same call may be repeated.
    pub(crate) retriable: bool,
    /// The producer is unusable.
    pub(crate) fatal: bool,
    /// The transaction must be aborted.
    pub(crate) abort: bool,
}

impl TransactionError {
    fn local(code: i32) -> Self {
        Self { code, text: String::new(), retriable: false, fatal: false, abort: false }
    }

    /// # Safety
    ///
    /// The pointer is null, or an error that this function may destroy.
    unsafe fn take(error: *mut sys::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the error is valid, as the caller promises; its text lives until the error is destroyed. The code is
        // read as an integer.
        unsafe {
            let taken = Self {
                code: raw::rd_kafka_error_code(error),
                text: CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned(),
                retriable: sys::rd_kafka_error_is_retriable(error) != 0,
                fatal: sys::rd_kafka_error_is_fatal(error) != 0,
                abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
            };
            sys::rd_kafka_error_destroy(error);
            Err(taken)
        }
    }
}

impl Instance {
    /// Like [`Client::init_transactions`].
    pub(crate) fn init_transactions(&self, within: Duration) -> Result<(), TransactionError> {
        // SAFETY: the client lives; `TransactionError::take` destroys the error.
        unsafe { TransactionError::take(sys::rd_kafka_init_transactions(self.0.rk(), millis(within))) }
    }

    /// Adds offsets to the transaction. Blocks up to `within`, or longer: see `transactions/lost_offsets.rs`.
    pub(crate) fn send_offsets(
        &self,
        offsets: &[TopicOffset],
        group: &ConsumerGroup,
        within: Duration,
    ) -> Result<(), TransactionError> {
        let offsets = Offsets::new(offsets)?;
        let group = Group::new(group)?;
        // SAFETY: the client, the list and the group live through the call; `TransactionError::take` destroys the error.
        unsafe {
            TransactionError::take(sys::rd_kafka_send_offsets_to_transaction(
                self.0.rk(),
                offsets.0,
                group.0,
                millis(within),
            ))
        }
    }
}

/// All calls block up to `within` and are thread safe.
impl Client {
    pub(crate) fn init_transactions(&self, within: Duration) -> Result<(), TransactionError> {
        // SAFETY: the client lives; `TransactionError::take` destroys the error.
        self.transaction(|rk| unsafe { TransactionError::take(sys::rd_kafka_init_transactions(rk, millis(within))) })
    }

    pub(crate) fn begin_transaction(&self) -> Result<(), TransactionError> {
        // SAFETY: the client lives; `TransactionError::take` destroys the error.
        self.transaction(|rk| unsafe { TransactionError::take(sys::rd_kafka_begin_transaction(rk)) })
    }

    pub(crate) fn commit_transaction(&self, within: Duration) -> Result<(), TransactionError> {
        // SAFETY: the client lives; `TransactionError::take` destroys the error.
        self.transaction(|rk| unsafe { TransactionError::take(sys::rd_kafka_commit_transaction(rk, millis(within))) })
    }

    pub(crate) fn abort_transaction(&self, within: Duration) -> Result<(), TransactionError> {
        // SAFETY: the client lives; `TransactionError::take` destroys the error.
        self.transaction(|rk| unsafe { TransactionError::take(sys::rd_kafka_abort_transaction(rk, millis(within))) })
    }

    fn transaction(
        &self,
        call: impl FnOnce(*mut sys::rd_kafka_t) -> Result<(), TransactionError>,
    ) -> Result<(), TransactionError> {
        self.with_rk(call).unwrap_or_else(|| Err(TransactionError::local(codes::LOCAL_DESTROY)))
    }
}

struct Offsets(*mut sys::rd_kafka_topic_partition_list_t);

impl Offsets {
    fn new(offsets: &[TopicOffset]) -> Result<Self, TransactionError> {
        let size = i32::try_from(offsets.len()).map_err(|_| TransactionError::local(codes::LOCAL_INVALID_ARG))?;
        // SAFETY: a plain allocation.
        let list = Self(unsafe { sys::rd_kafka_topic_partition_list_new(size) });
        for offset in offsets {
            let topic = string(&offset.topic)?;
            // SAFETY: the list lives; the name is terminated and copied; the entry is valid until the list grows.
            unsafe {
                let entry = sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), offset.partition);
                ptr::addr_of_mut!((*entry).offset).write(offset.offset);
            }
        }
        Ok(list)
    }
}

impl Drop for Offsets {
    fn drop(&mut self) {
        // SAFETY: this value owns the pointer and destroys it once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

struct Group(*mut sys::rd_kafka_consumer_group_metadata_t);

impl Group {
    fn new(group: &ConsumerGroup) -> Result<Self, TransactionError> {
        let (id, member) = (string(&group.group_id)?, string(&group.member_id)?);
        let instance = group.group_instance_id.as_deref().map(string).transpose()?;
        let instance = instance.as_ref().map_or(ptr::null(), |instance| instance.as_ptr());
        // SAFETY: the strings are terminated and copied; a null instance id means none.
        Ok(Self(unsafe {
            sys::rd_kafka_consumer_group_metadata_new_with_genid(
                id.as_ptr(),
                group.generation,
                member.as_ptr(),
                instance,
            )
        }))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: this value owns the pointer and destroys it once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) };
    }
}

fn string(text: &str) -> Result<CString, TransactionError> {
    CString::new(text).map_err(|_| TransactionError::local(codes::LOCAL_INVALID_ARG))
}
