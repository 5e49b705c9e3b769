use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::slot::Slot;

/// The binding's callbacks. They run only where the binding itself polls, in the drop of a producer, and by then the
/// event loop has drained all events: what still comes is told as lost.
pub(crate) struct Context;

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Slot>;

    fn delivery(&self, _: &DeliveryResult<'_>, slot: Arc<Slot>) {
        slot.lose();
    }
}
