//! Factory of a sink's stacks, so that they can be rebuilt with other options.

use std::sync::Arc;

use kafka_tower_core::{Control, Delivery, Error, SinkMessage, Transport};
use kafka_tower_layers::serialize::MessageSerializer;
use tower_layer::Layer;
use tower_service::Service;

use super::choices::Choices;
use super::edge::Edge;
use super::stack::{Instruments, Layers, Typed};
use crate::KafkaSinkConfig;

/// The boxed stacks whose handles a sink clones.
pub(super) struct Stacks<T> {
    pub(super) prototype: Box<dyn Edge<T>>,
    /// For batches and streams: keeps the order of messages even with an asynchronous serializer.
    pub(super) ordered: Box<dyn Edge<T>>,
}

type Cook<T> = Box<dyn Fn(&Choices) -> Stacks<T> + Send + Sync>;

/// Builds stacks over one transport, with one breaker and one set of metrics.
pub(super) struct Recipe<T> {
    config: KafkaSinkConfig,
    cook: Cook<T>,
}

impl<T: Send + Sync + 'static> Recipe<T> {
    pub(super) fn new<F, S, L>(
        config: KafkaSinkConfig,
        serializer: Arc<F>,
        outer: L,
        transport: S,
        control: Arc<dyn Control>,
        instruments: Instruments,
    ) -> Self
    where
        F: MessageSerializer<T> + ?Sized + 'static,
        S: Transport,
        L: Layer<Typed<T, F, S>> + Send + Sync + 'static,
        L::Service: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
        <L::Service as Service<SinkMessage<T>>>::Future: Send + 'static,
    {
        let settings = config.clone();
        let cook = move |choices: &Choices| {
            let layers = Layers::new(&settings, choices, &instruments, Arc::clone(&control));
            let stack = |in_order| {
                let typed = layers.stack(Arc::clone(&serializer), in_order, transport.clone());
                instruments.boxed(outer.layer(typed), in_order)
            };
            Stacks { prototype: stack(false), ordered: stack(true) }
        };
        Self { config, cook: Box::new(cook) }
    }
}

impl<T> Recipe<T> {
    /// Builds the stacks with these options, and returns an error if the configuration does not support them.
    pub(super) fn cook(&self, choices: &Choices) -> (Stacks<T>, Option<Error>) {
        ((self.cook)(choices), choices.fault(&self.config))
    }
}
