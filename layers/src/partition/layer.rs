use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::picker::Picker;
use super::{Partition, PartitionCounts, PartitionStrategy, Partitioner};

/// Layer that creates [`Partition`] services. See the [module](super).
///
/// All services of a layer and its clones share the round-robin position.
#[derive(Clone)]
pub struct PartitionLayer {
    picker: Picker,
    profiles: Option<Profiles>,
}

/// Strategy and partitioner of the records of a [profile](kafka_tower_core::Record::profile).
pub(super) type Profiles = Arc<dyn Fn(u8) -> Option<(PartitionStrategy, Option<Arc<dyn Partitioner>>)> + Send + Sync>;

impl PartitionLayer {
    /// Creates a layer with a strategy. `partition_counts` is usually a transport's
    /// [`Control`](kafka_tower_core::Control).
    #[must_use]
    pub fn new(strategy: PartitionStrategy, partition_counts: impl PartitionCounts + 'static) -> Self {
        let counts = Arc::new(partition_counts);
        let picker = Picker { strategy, partitioner: None, counts, positions: Arc::default() };
        Self { picker, profiles: None }
    }

    /// Sets a [`Partitioner`], and the strategy to `Custom`.
    ///
    /// ```
    /// use kafka_tower_core::Record;
    /// use kafka_tower_layers::partition::{PartitionLayer, PartitionStrategy};
    /// use kafka_tower_memory::MemoryKafka;
    ///
    /// let control = MemoryKafka::new().with_topic("orders", 3).transport().control();
    /// let layer = PartitionLayer::new(PartitionStrategy::Custom, control)
    ///     .partitioner(|record: &Record, _partitions: u32| Some(i32::from(record.value.is_none())));
    /// ```
    #[must_use]
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.picker.strategy = PartitionStrategy::Custom;
        self.picker.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Sets what other strategies the records of profiles have.
    #[doc(hidden)] // only a sink calls it
    #[must_use]
    pub fn profiles(
        mut self,
        profiles: impl Fn(u8) -> Option<(PartitionStrategy, Option<Arc<dyn Partitioner>>)> + Send + Sync + 'static,
    ) -> Self {
        self.profiles = Some(Arc::new(profiles));
        self
    }
}

impl<S> Layer<S> for PartitionLayer {
    type Service = Partition<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Partition::new(inner, self.picker.clone(), self.profiles.clone())
    }
}

impl fmt::Debug for PartitionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionLayer")
            .field("strategy", &self.picker.strategy)
            .field("partitioner", &self.picker.partitioner.is_some())
            .finish_non_exhaustive()
    }
}
