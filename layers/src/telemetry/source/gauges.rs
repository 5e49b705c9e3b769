//! Gauges of sources: their state is read when metrics are collected.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use kafka_tower_core::TopicPartition;
use kafka_tower_core::sync::lock;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::SourceTelemetry;
use crate::telemetry::attributes;
use crate::telemetry::semconv::metric;

/// Maximum number of partitions of a topic with a lag of their own. If a topic has more, its greatest lag is reported.
const PARTITIONS: usize = 256;

/// Where a source stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The partition.
    pub at: TopicPartition,
    /// Number of messages that were handed out and are not settled.
    pub unsettled: usize,
    /// Number of records between the offset that may be committed and the end of the log, if the end is known.
    pub lag: Option<u64>,
    /// How long the offset that may be committed has not moved although messages are handed out.
    pub stalled: Duration,
}

/// A source whose state is reported.
pub trait SourceState: Send + Sync {
    /// The partitions that the source has at present.
    fn partitions(&self) -> Vec<PartitionState>;
}

/// Sources that still exist. Weak references: they keep none alive.
#[derive(Default)]
pub(in crate::telemetry) struct WatchedSources(Mutex<Vec<(SourceTelemetry, Weak<dyn SourceState>)>>);

impl SourceTelemetry {
    /// Reports the state of a source as long as it exists. Does not keep it alive.
    pub fn watch(&self, source: &Arc<dyn SourceState>) {
        let mut watched = lock(&self.0.telemetry.0.instruments.sources.0);
        watched.retain(|(_, known)| known.strong_count() > 0);
        watched.push((self.clone(), Arc::downgrade(source)));
    }
}

/// What distinguishes time series: client, group, topic and partition.
type Series = (Option<Arc<str>>, Arc<str>, Arc<str>, Option<i32>);

impl WatchedSources {
    pub(in crate::telemetry) fn observe(self: &Arc<Self>, meter: &Meter) {
        let this = Arc::clone(self);
        meter
            .u64_observable_gauge(metric::SOURCE_LAG)
            .with_unit("{message}")
            .with_description("Records of a partition behind the offset that may be committed.")
            .with_callback(move |observer| {
                for (set, lag) in this.values(true, |state| state.lag, u64::max) {
                    observer.observe(lag, &set);
                }
            })
            .build();
        let this = Arc::clone(self);
        meter
            .u64_observable_gauge(metric::SOURCE_UNSETTLED)
            .with_unit("{message}")
            .with_description("Messages that were handed out and are not settled.")
            .with_callback(move |observer| {
                for (set, unsettled) in this.values(false, |state| Some(state.unsettled as u64), |a, b| a + b) {
                    observer.observe(unsettled, &set);
                }
            })
            .build();
        let this = Arc::clone(self);
        meter
            .f64_observable_gauge(metric::SOURCE_STALLED)
            .with_unit("s")
            .with_description(
                "How long the offset that may be committed has not moved although messages are handed out.",
            )
            .with_callback(move |observer| {
                for (set, stalled) in this.values(false, |state| Some(state.stalled.as_secs_f64()), f64::max) {
                    observer.observe(stalled, &set);
                }
            })
            .build();
    }

    fn values<V: Copy>(
        &self,
        by_partition: bool,
        of: impl Fn(&PartitionState) -> Option<V>,
        merge: impl Fn(V, V) -> V,
    ) -> Vec<(Vec<KeyValue>, V)> {
        let there: Vec<_> = {
            let mut watched = lock(&self.0);
            watched.retain(|(_, source)| source.strong_count() > 0);
            watched.iter().filter_map(|(telemetry, source)| Some((telemetry.clone(), source.upgrade()?))).collect()
        };
        // Values of one series become one, because only the last observed one would be reported.
        let mut values: BTreeMap<Series, (Vec<KeyValue>, V)> = BTreeMap::new();
        // Outside the lock: dropping the last reference may close a source.
        for (telemetry, source) in there {
            let states = source.partitions();
            let mut of_topic: BTreeMap<_, usize> = BTreeMap::new();
            states.iter().for_each(|state| *of_topic.entry(Arc::clone(&state.at.topic)).or_default() += 1);
            for state in &states {
                let Some(value) = of(state) else { continue };
                let own = by_partition && of_topic[&state.at.topic] <= PARTITIONS;
                let (topic, partition) = (telemetry.topic(&state.at.topic), own.then_some(state.at.partition));
                let client = telemetry.0.telemetry.0.client.client_id.clone();
                let series = (client, Arc::clone(&telemetry.0.group), Arc::clone(&topic.name), partition);
                let set = || attributes::with(&topic.own, [partition.map(attributes::partition)]);
                let known = values.entry(series);
                known.and_modify(|(_, known)| *known = merge(*known, value)).or_insert_with(|| (set(), value));
            }
        }
        values.into_values().collect()
    }
}

impl fmt::Debug for WatchedSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchedSources").field(&lock(&self.0).len()).finish()
    }
}
