//! Changing a sink that is connected.

use std::sync::Arc;

use kafka_tower_core::{Error, ErrorKind};
use kafka_tower_layers::partition::{PartitionStrategy, Partitioner};
use kafka_tower_layers::retry::DeliveryGuarantee;

use super::KafkaSink;
use super::choices::Choices;

/// The stack is made again over the same transport, breaker and metrics; clones that were made before keep theirs. A choice
/// that cannot be kept, or a sink over a stack of your own, is told by the first operation; the builder tells it before it
/// connects.
impl<T> KafkaSink<T> {
    /// Chooses how records without a partition get one.
    #[must_use]
    pub fn with_partition_strategy(self, strategy: PartitionStrategy) -> Self {
        self.rebuilt(|choices| {
            choices.strategy = strategy;
            choices.partitioner = None;
        })
    }

    /// Lets a partitioner choose the partition of records that have none.
    #[must_use]
    pub fn with_partitioner(self, partitioner: impl Partitioner + 'static) -> Self {
        self.rebuilt(|choices| {
            choices.strategy = PartitionStrategy::Custom;
            choices.partitioner = Some(Arc::new(partitioner));
        })
    }

    /// Chooses what sending again may do. It follows from the configuration, if it is not said.
    #[must_use]
    pub fn with_delivery_guarantee(self, guarantee: DeliveryGuarantee) -> Self {
        self.rebuilt(|choices| choices.guarantee = guarantee)
    }

    /// Sends also again what may have been written, under `AtLeastOnce`.
    #[must_use]
    pub fn with_duplicates_allowed(self, allow: bool) -> Self {
        self.rebuilt(|choices| choices.allow_duplicates = allow)
    }

    fn rebuilt(self, change: impl FnOnce(&mut Choices)) -> Self {
        match self.shared.rebuilt(change) {
            Some(shared) => Self::of(shared),
            None => Self::of(self.shared.with_fault(unchangeable())),
        }
    }
}

/// The layers are in a stack that the caller made.
fn unchangeable() -> Error {
    Error::new(ErrorKind::Config, "a sink over a stack of your own has no layers that could be changed")
        .with_help("choose strategy and guarantee in the layers of the stack")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_agrees_with_its_facts() {
        kafka_tower_test_texts::assert_consistent(&super::unchangeable());
    }
}
