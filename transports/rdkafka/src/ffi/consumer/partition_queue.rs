use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use rdkafka_sys as sys;

use super::list::PartitionList;
use super::{ConsumerInstance, LentBatch, MOST, raw};

/// Called by a thread of librdkafka when a queue has records and was empty before. librdkafka holds the lock of the queue
/// meanwhile.
pub(crate) trait OnRecords: Send + Sync + 'static {
    fn has_records(&self);
}

/// The queue of a partition's records, which are not forwarded to the consumer's queue.
pub(crate) struct PartitionQueue<W: OnRecords> {
    queue: *mut sys::rd_kafka_queue_t,
    /// The partition, for questions about its position.
    place: PartitionList,
    /// Dropped after the queue.
    instance: Arc<ConsumerInstance>,
    /// Target of the queue's callback.
    _woken: Arc<W>,
}

// SAFETY: librdkafka's queues are thread safe, and the list is only used through `&mut self`.
unsafe impl<W: OnRecords> Send for PartitionQueue<W> {}

impl<W: OnRecords> PartitionQueue<W> {
    /// Detaches a partition's queue. Call it before the partition is assigned, so that no record is forwarded. `None` for a
    /// name with a NUL.
    pub(crate) fn detach(instance: &Arc<ConsumerInstance>, topic: &str, partition: i32, woken: Arc<W>) -> Option<Self> {
        let name = CString::new(topic).ok()?;
        // SAFETY: the client lives; the name is terminated and copied. The result is null or a new counted reference.
        let queue = unsafe { sys::rd_kafka_queue_get_partition(instance.rk(), name.as_ptr(), partition) };
        if queue.is_null() {
            return None;
        }
        let opaque = Arc::as_ptr(&woken).cast_mut().cast::<c_void>();
        // SAFETY: the queue lives. The target of the callback lives as long as this value, whose drop removes the callback.
        unsafe {
            sys::rd_kafka_queue_forward(queue, ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue, Some(has_records::<W>), opaque);
        }
        let place = PartitionList::of([(topic, partition, 0)]);
        Some(Self { queue, place, instance: Arc::clone(instance), _woken: woken })
    }

    /// Takes the records that are here, at most `max`. Does not wait.
    pub(crate) fn take(&mut self, max: usize) -> LentBatch {
        let mut messages = [ptr::null_mut(); MOST];
        // SAFETY: the queue lives, and the array has at least as many places as the size passed.
        let count = unsafe { sys::rd_kafka_consume_batch_queue(self.queue, 0, messages.as_mut_ptr(), max.min(MOST)) };
        // SAFETY: the first `count` places hold messages that belong to the caller. -1 is an error without messages.
        unsafe { LentBatch::new(messages, usize::try_from(count).unwrap_or(0), Arc::clone(&self.instance)) }
    }

    /// The offset behind everything that was taken, also behind markers and aborted records. `None` if nothing was taken since
    /// the partition was assigned or sought. Wrong after a batch with an error.
    pub(crate) fn position(&mut self) -> Option<i64> {
        // SAFETY: the client and the list live. The call writes to the list, which `&mut self` owns.
        let code = unsafe { raw::rd_kafka_position(self.instance.rk(), self.place.native()) };
        let (offset, of_partition) = self.place.first()?;
        (code == 0 && of_partition == 0 && offset >= 0).then_some(offset)
    }
}

impl<W: OnRecords> Drop for PartitionQueue<W> {
    fn drop(&mut self) {
        // Records that nobody takes any more would keep memory until the client ends.
        while self.take(MOST).len() > 0 {}
        // SAFETY: the queue lives and this value owns one counted reference. The callback is removed under the queue's lock,
        // under which librdkafka calls it, so that no call is under way afterwards.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

unsafe extern "C" fn has_records<W: OnRecords>(_rk: *mut sys::rd_kafka_t, woken: *mut c_void) {
    // SAFETY: `detach` passed this pointer, and its target outlives the callback.
    let woken = unsafe { &*woken.cast_const().cast::<W>() };
    // A panic must not unwind into C.
    if catch_unwind(AssertUnwindSafe(|| woken.has_records())).is_err() {
        tracing::error!("a panic in a waker was caught");
    }
}
