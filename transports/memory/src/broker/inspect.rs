//! What a source would find.

use std::sync::Arc;

use kafka_tower_core::{ConsumerInspection, FoundPartition, FoundSourceTopic, LogRange, Subscription, TopicPartition};

use super::{Broker, BrokerClient};
use crate::errors;

impl<C: BrokerClient> Broker<C> {
    pub(crate) fn inspect(&self, subscription: &Subscription) -> ConsumerInspection {
        let state = self.lock();
        let (log, groups) = (&state.store.log, &state.store.groups);
        let mut found = ConsumerInspection::default();
        found.group = Ok(groups.describe(&subscription.group_id));
        let names: Vec<_> = match &subscription.pattern {
            Some(pattern) => log.topics().filter(|topic| pattern.matches(topic)).cloned().collect(),
            None => subscription.topics.clone(),
        };
        for name in names {
            let topic = log.partition_count(&name).ok_or_else(|| errors::unknown_topic(&name).without_record());
            found.topics.insert(name, topic.map(topic_of));
        }
        for (name, topic) in &found.topics {
            let Ok(topic) = topic else { continue };
            for at in topic.partitions.iter().map(|partition| TopicPartition::new(Arc::clone(name), partition.id)) {
                if !subscription.partitions.is_empty() && !subscription.partitions.contains(&at) {
                    continue;
                }
                let committed = groups.committed(&subscription.group_id, name, at.partition);
                if let (Ok(all), Some(committed)) = (&mut found.committed, committed) {
                    all.insert(at.clone(), committed);
                }
                if let Some(partition) = log.partition(name, at.partition) {
                    found.logs.insert(at, LogRange { start: partition.start(), end: partition.high_watermark() });
                }
            }
        }
        found
    }
}

/// One broker leads all partitions, and all may be read.
fn topic_of(partitions: u32) -> FoundSourceTopic {
    let partition = |id| {
        let mut found = FoundPartition::default();
        (found.id, found.leader, found.replicas, found.in_sync) = (id as i32, Some(0), vec![0], vec![0]);
        found
    };
    let mut found = FoundSourceTopic::default();
    found.partitions = (0..partitions).map(partition).collect();
    found.may_read = Some(true);
    found
}
