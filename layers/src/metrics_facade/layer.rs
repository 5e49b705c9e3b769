use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::MetricsFacade;
use super::counters::SinkCounters;

/// Layer that creates [`MetricsFacade`] services. See the [module](super) for what they count.
#[derive(Clone)]
pub struct MetricsFacadeLayer {
    pub(super) sink: SinkCounters,
}

impl MetricsFacadeLayer {
    /// Creates the layer of a sink for `topic`; messages may name other topics. Install the recorder first: sends
    /// before that are not counted.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        Self { sink: SinkCounters::new(&topic.into()) }
    }
}

impl<S> Layer<S> for MetricsFacadeLayer {
    type Service = MetricsFacade<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MetricsFacade::new(inner, self.sink.clone())
    }
}

impl fmt::Debug for MetricsFacadeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsFacadeLayer").field("topic", &self.sink.topic.name).finish_non_exhaustive()
    }
}
