//! How much memory a source takes while its service is not ready.

use std::fs;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Ready, ready};
use kafka_tower::{BoxError, KafkaSource, KafkaSourceConfig, SourceMessage};
use tower::Service;

use crate::message::Received;
use crate::read::{self, source_config};
use crate::run::Plan;

/// Time for reading ahead. It ends after a fraction of that.
const TIME: Duration = Duration::from_secs(6);

/// Memory of one record that librdkafka has read ahead, beside its bytes.
const OF_A_RECORD: usize = 512;

/// Memory of threads, connections and metadata.
const FIXED: usize = 24 << 20;

/// Never ready.
struct Never;

impl Service<SourceMessage<Received>> for Never {
    type Response = ();
    type Error = BoxError;
    type Future = Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _: SourceMessage<Received>) -> Self::Future {
        ready(Ok(()))
    }
}

/// Resident memory of this process in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Before the source was opened.
    pub before: usize,
    /// The most of it afterwards.
    pub most: usize,
}

fn config(plan: &Plan, buffer: usize) -> KafkaSourceConfig {
    KafkaSourceConfig { buffer_bytes: buffer, ..source_config(plan) }
}

/// What a stalled source of this topic may take at most.
#[must_use]
pub fn bound(plan: &Plan, buffer: usize) -> usize {
    let config = config(plan, buffer);
    // A partition that is below its limits gets one more response.
    let response = (read::PARTITIONS.unsigned_abs() as usize * config.partition_fetch_bytes).min(buffer / 2);
    let records = config.buffer_records + response / plan.size;
    buffer + response + records.min((buffer + response) / plan.size) * OF_A_RECORD + FIXED
}

/// Serves a filled topic with a service that is never ready.
///
/// # Panics
///
/// If it cannot be read, or without `/proc`.
pub async fn serve(plan: &Plan, buffer: usize) -> Resident {
    let before = status("VmRSS:");
    let source = KafkaSource::<Received>::new(config(plan, buffer)).await.expect("a source");
    let served = tokio::time::timeout(TIME, source.serve(Never)).await;
    assert!(served.is_err(), "it ended: {served:?}");
    Resident { before, most: status("VmHWM:") }
}

fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}
