//! Methods that change a connected sink.

use std::sync::Arc;

use kafka_tower_core::{Error, ErrorKind};
use kafka_tower_layers::partition::{PartitionStrategy, Partitioner};
use kafka_tower_layers::retry::DeliveryGuarantee;

use super::KafkaSink;
use super::options::StackOptions;

/// Each method returns a sink over the same transport, layers, breaker and metrics; earlier clones keep their options. These
/// methods cannot fail: an unsupported option, or a sink over your own stack, is stored as an error that the first
/// operation returns. The builder reports the same error before it connects.
impl<T> KafkaSink<T> {
    /// Sets the partition strategy for records without an explicit partition.
    #[must_use]
    pub fn with_partition_strategy(self, strategy: PartitionStrategy) -> Self {
        self.rebuilt(|options| {
            options.strategy = strategy;
            options.partitioner = None;
        })
    }

    /// Sets a custom partitioner for records without an explicit partition.
    #[must_use]
    pub fn with_partitioner(self, partitioner: impl Partitioner + 'static) -> Self {
        self.rebuilt(|options| {
            options.strategy = PartitionStrategy::Custom;
            options.partitioner = Some(Arc::new(partitioner));
        })
    }

    /// Sets the delivery guarantee, which limits what a retry may do. Default: `ExactlyOnce` with transactions,
    /// otherwise `AtLeastOnce`.
    #[must_use]
    pub fn with_delivery_guarantee(self, guarantee: DeliveryGuarantee) -> Self {
        self.rebuilt(|options| options.guarantee = guarantee)
    }

    /// Under `AtLeastOnce`, also retries records that are `PossiblyPersisted`; such a record may then be in the log
    /// twice.
    #[must_use]
    pub fn with_allow_duplicates(self, allow: bool) -> Self {
        self.rebuilt(|options| options.allow_duplicates = allow)
    }

    fn rebuilt(self, change: impl FnOnce(&mut StackOptions)) -> Self {
        match self.inner.rebuilt(change) {
            Some(inner) => Self::of(inner),
            None => Self::of(self.inner.with_fault(unchangeable())),
        }
    }
}

/// Error for a sink whose layers are in the caller's own stack.
fn unchangeable() -> Error {
    Error::new(ErrorKind::Config, "the layers of a sink over your own stack cannot be changed")
        .with_help("set the strategy and the guarantee in the layers of that stack")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::unchangeable());
    }
}
