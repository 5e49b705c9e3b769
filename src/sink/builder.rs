use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use kafka_tower_core::{Control, Result, Transport};
use kafka_tower_layers::serialize::MessageSerializer;

use super::edge::Shared;
use super::{IntoTransport, KafkaSink, stack};
use crate::KafkaSinkConfig;

/// What a sink encodes with unless it is told: JSON with the feature `json`, else nothing, and then
/// [`SinkBuilder::serializer`] has to be called.
#[cfg(feature = "json")]
pub type DefaultSerializer = kafka_tower_layers::serialize::JsonSerializer;

/// What a sink encodes with unless it is told: JSON with the feature `json`, else nothing, and then
/// [`SinkBuilder::serializer`] has to be called.
#[cfg(not(feature = "json"))]
pub type DefaultSerializer = NoSerializer;

/// The serializer of a builder that has none yet. It encodes nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct NoSerializer;

/// A builder's transport that is still to be connected: librdkafka, by the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    #[cfg_attr(not(feature = "rdkafka"), allow(dead_code))]
    pub(super) check: bool,
}

/// A builder's transport that it was given.
#[derive(Clone, Debug)]
pub struct Given<S> {
    transport: S,
    control: Arc<dyn Control>,
}

/// Makes a [`KafkaSink`] piece by piece: [`KafkaSink::builder`].
///
/// `F` is the serializer, `S` where the transport comes from.
#[must_use = "a builder makes nothing before `build`"]
pub struct SinkBuilder<T, F: ?Sized = DefaultSerializer, S = Connect> {
    pub(super) config: KafkaSinkConfig,
    pub(super) serializer: Arc<F>,
    pub(super) source: S,
    message: PhantomData<fn(T)>,
}

impl<T> SinkBuilder<T> {
    pub(super) fn new(config: KafkaSinkConfig) -> Self {
        let serializer = Arc::new(DefaultSerializer::default());
        Self { config, serializer, source: Connect { check: true }, message: PhantomData }
    }
}

impl<T, F: ?Sized, S> SinkBuilder<T, F, S> {
    /// Encodes with this, in place of JSON. Takes an `Arc<dyn MessageSerializer<T>>` as well.
    pub fn serializer<G: MessageSerializer<T> + ?Sized>(self, serializer: Arc<G>) -> SinkBuilder<T, G, S> {
        SinkBuilder { config: self.config, serializer, source: self.source, message: PhantomData }
    }

    /// Sends through this, in place of connecting through librdkafka. Of the configuration the transport's part
    /// is unused then.
    pub fn transport<X: IntoTransport>(self, transport: X) -> SinkBuilder<T, F, Given<X::Transport>> {
        let (transport, control) = transport.into_transport();
        let source = Given { transport, control };
        SinkBuilder { config: self.config, serializer: self.serializer, source, message: PhantomData }
    }
}

impl<T, F, S> SinkBuilder<T, F, Given<S>>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
    S: Transport,
{
    /// Checks the configuration and makes the sink.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for settings that cannot work.
    ///
    /// # Cancel safety
    ///
    /// Does not wait.
    pub async fn build(self) -> Result<KafkaSink<T>> {
        self.config.validate()?;
        let Given { transport, control } = self.source;
        Ok(sink(&self.config, self.serializer, transport, control))
    }
}

/// The default stack behind a sink.
pub(super) fn sink<T, F, S>(
    config: &KafkaSinkConfig,
    serializer: Arc<F>,
    transport: S,
    control: Arc<dyn Control>,
) -> KafkaSink<T>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
    S: Transport,
{
    let ordered = stack::layers(config, Arc::clone(&serializer), true, transport.clone());
    let stack = stack::layers(config, serializer, false, transport);
    KafkaSink::of(Shared::new(stack, ordered, control, config.send_timeout()))
}

impl<T, F: ?Sized, S: fmt::Debug> fmt::Debug for SinkBuilder<T, F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkBuilder")
            .field("config", &self.config)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
