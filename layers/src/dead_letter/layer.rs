use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Record, Result};
use tower_layer::Layer;

use super::decide::{Settings, letter};
use super::{DeadLetter, DeadLetterStyle, FailedRecord};

/// Layer that creates [`DeadLetter`] services. See the [module](super).
#[derive(Clone, Debug)]
pub struct DeadLetterLayer(Settings);

impl Default for DeadLetterLayer {
    fn default() -> Self {
        Self::new(DeadLetterStyle::Own)
    }
}

impl DeadLetterLayer {
    /// Creates a layer whose dead letters have headers of this style.
    #[must_use]
    pub fn new(style: DeadLetterStyle) -> Self {
        Self(Settings { style, topic: None, max_hops: 3, timeout: Duration::from_secs(30) })
    }

    /// Sets the topic of all dead letters. Default: the record's topic with `.dlq`, in Spring's style with `-dlt`.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.0.topic = Some(topic.into());
        self
    }

    /// Sets how many times a record may be dead-lettered, counted by its headers. Default: 3.
    #[must_use]
    pub fn max_hops(mut self, times: u32) -> Self {
        self.0.max_hops = times;
        self
    }

    /// Sets the time for the send of a dead letter, from its call: its [`expires_at`](kafka_tower_core::Record::expires_at).
    /// Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.0.timeout = time;
        self
    }

    /// Makes the dead letter of a failed record, to be sent without the service of this layer. It has the partition of the
    /// record and no time for its send.
    ///
    /// # Errors
    ///
    /// [`Refused`](kafka_tower_core::ErrorKind::Refused), if it would come to the same reader again: see the
    /// [module](super).
    pub fn letter(&self, failed: FailedRecord) -> Result<Record> {
        letter(&self.0, failed)
    }
}

impl<S> Layer<S> for DeadLetterLayer {
    type Service = DeadLetter<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadLetter::new(inner, self.0.clone())
    }
}
