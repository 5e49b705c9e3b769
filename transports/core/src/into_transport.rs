use std::sync::Arc;

use crate::{Control, Transport};

/// A transport together with its [`Control`], as a sink's builder takes it.
///
/// A transport implements it, so that users pass the transport alone. A layered transport, whose type is the layer's,
/// is passed as the pair `(service, control)`: take the control before you apply the layer.
///
/// ```
/// use std::future::{Ready, ready};
/// use std::sync::Arc;
/// use std::task::{Context, Poll};
///
/// use kafka_tower_core::{Control, Delivery, Error, IntoTransport, Record, Result};
/// use tower_service::Service;
///
/// #[derive(Clone, Debug)]
/// struct MyTransport {
///     control: Arc<dyn Control>,
/// }
///
/// impl Service<Record> for MyTransport {
///     type Response = Delivery;
///     type Error = Error;
///     type Future = Ready<Result<Delivery>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, record: Record) -> Self::Future {
///         // Hand the record over.
/// #       ready(Ok(Delivery::new(record.topic, 0)))
///     }
/// }
///
/// impl IntoTransport for MyTransport {
///     type Transport = Self;
///
///     fn into_transport(self) -> (Self, Arc<dyn Control>) {
///         let control = Arc::clone(&self.control);
///         (self, control)
///     }
/// }
/// ```
pub trait IntoTransport {
    /// Type of the transport.
    type Transport: Transport;

    /// Splits into the service that takes records and its control.
    fn into_transport(self) -> (Self::Transport, Arc<dyn Control>);
}

impl<S: Transport> IntoTransport for (S, Arc<dyn Control>) {
    type Transport = S;

    fn into_transport(self) -> (S, Arc<dyn Control>) {
        self
    }
}
