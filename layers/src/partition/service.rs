use std::fmt;
use std::task::{Context, Poll};

use kafka_tower_core::Record;
use tower_service::Service;

use super::layer::Profiles;
use super::picker::Picker;
use super::positions::LastTopic;

/// Service that picks the partition of records. Created by [`PartitionLayer`](super::PartitionLayer).
#[derive(Clone)]
pub struct Partition<S> {
    inner: S,
    picker: Picker,
    last: LastTopic,
    profiles: Option<Profiles>,
    /// That of the last profile.
    other: Option<Box<(u8, Picker)>>,
}

impl<S> Partition<S> {
    pub(super) fn new(inner: S, picker: Picker, profiles: Option<Profiles>) -> Self {
        Self { inner, picker, last: LastTopic::default(), profiles, other: None }
    }

    /// Sets the partition of a record.
    #[inline]
    pub(crate) fn pick(&mut self, record: &mut Record) {
        record.partition = match record.profile() {
            0 => self.picker.partition(record, &mut self.last),
            _ => self.partition_of_profile(record),
        };
    }

    /// The partition of a record that a sink sends with other options than those of its stack.
    #[cold]
    #[inline(never)]
    fn partition_of_profile(&mut self, record: &Record) -> Option<i32> {
        let profile = record.profile();
        if self.other.as_ref().is_none_or(|other| other.0 != profile) {
            let mut picker = self.picker.clone();
            if let Some((strategy, partitioner)) = self.profiles.as_ref().and_then(|find| find(profile)) {
                (picker.strategy, picker.partitioner) = (strategy, partitioner);
            }
            self.other = Some(Box::new((profile, picker)));
        }
        let (_, picker) = &**self.other.as_ref()?;
        picker.partition(record, &mut self.last)
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
        self.pick(&mut record);
        self.inner.call(record)
    }
}

impl<S: fmt::Debug> fmt::Debug for Partition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("strategy", &self.picker.strategy).field("inner", &self.inner).finish()
    }
}
