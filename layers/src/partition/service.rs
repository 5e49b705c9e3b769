use std::fmt;
use std::task::{Context, Poll};

use kafka_tower_core::Record;
use tower_service::Service;

use super::picker::Picker;
use super::positions::LastTopic;

/// Service that picks the partition of records. Created by [`PartitionLayer`](super::PartitionLayer).
#[derive(Clone)]
pub struct Partition<S> {
    inner: S,
    picker: Picker,
    last: LastTopic,
}

impl<S> Partition<S> {
    pub(super) fn new(inner: S, picker: Picker) -> Self {
        Self { inner, picker, last: LastTopic::default() }
    }

    inner_service!();
}

impl<S: Service<Record>> Service<Record> for Partition<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut record: Record) -> S::Future {
        record.partition = self.picker.partition(&record, &mut self.last);
        self.inner.call(record)
    }
}

impl<S: fmt::Debug> fmt::Debug for Partition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("strategy", &self.picker.strategy).field("inner", &self.inner).finish()
    }
}
