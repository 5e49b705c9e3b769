use std::sync::Arc;

use super::handle::Telemetry;
use super::topic::Topic;
use super::transaction::TransactionSpans;

/// State shared by the services of a layer.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) telemetry: Telemetry,
    pub(super) topic: Arc<Topic>,
    pub(super) transaction: TransactionSpans,
}

impl Sink {
    pub(super) fn topic_of(&self, topic: Option<&Arc<str>>) -> Arc<Topic> {
        match topic {
            Some(topic) if **topic != *self.topic.name => self.telemetry.0.topic(topic),
            _ => Arc::clone(&self.topic),
        }
    }
}
