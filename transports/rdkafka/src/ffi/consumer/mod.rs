//! librdkafka's consumer: the instance, the queues of its partitions, and the records that they lend.
//!
//! The binding's `BaseConsumer` is not used: its drop polls the binding's event path, which turns codes into an enum that
//! does not have all of them, and runs callbacks on the dropping thread.

mod batch;
mod instance;
mod list;
mod log;
mod partition_queue;
mod raw;

pub(crate) use batch::{FailedRead, LentBatch, MOST};
pub(crate) use instance::{Begin, ConsumerInstance, Protocol};
pub(crate) use list::Place;
pub(crate) use log::OnLog;
pub(crate) use partition_queue::{OnRecords, PartitionQueue};

pub(super) use list::{PartitionList, place, places};
