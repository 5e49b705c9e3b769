use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::MetricsFacade;
use super::counters::{Counters, Topic};

/// Layer that creates [`MetricsFacade`] services. See the [module](super) for what they count.
#[derive(Clone)]
pub struct MetricsFacadeLayer {
    counters: Arc<Counters>,
    topic: Arc<Topic>,
}

impl MetricsFacadeLayer {
    /// Creates the layer of a sink for `topic`; messages may name other topics. Install the recorder first: sends
    /// before that are not counted.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        let counters = Arc::new(Counters::new());
        let topic = counters.topic(&topic.into());
        Self { counters, topic }
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    pub(super) fn topic_of(&self, topic: Option<&Arc<str>>) -> Arc<Topic> {
        match topic {
            Some(topic) if **topic != *self.topic.name => self.counters.topic(topic),
            _ => Arc::clone(&self.topic),
        }
    }
}

impl<S> Layer<S> for MetricsFacadeLayer {
    type Service = MetricsFacade<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MetricsFacade::new(inner, self.clone())
    }
}

impl fmt::Debug for MetricsFacadeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsFacadeLayer").field("topic", &self.topic.name).finish_non_exhaustive()
    }
}
