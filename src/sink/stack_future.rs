//! The future of a message that a sink's stack was called with.
//!
//! The futures of the default stack over the transports of this project name neither the message's type nor the serializer,
//! so that they fit in one enum. All others are boxed, which costs one allocation for each send.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result};
use kafka_tower_layers::record_stack::RecordStack;
use kafka_tower_layers::serialize::SerializeFuture;
#[cfg(feature = "memory")]
use kafka_tower_memory::MemoryTransport;
#[cfg(feature = "native")]
use kafka_tower_native::NativeTransport;
#[cfg(feature = "rdkafka")]
use kafka_tower_rdkafka::RdkafkaTransport;
use pin_project::pin_project;

use super::client_transport::{ClientTransport, taken};

/// Future of the default stack over a transport.
type Default<S> = SerializeFuture<RecordStack<S>>;

/// Future of a message that a stack was called with.
#[must_use = "futures do nothing unless polled"]
pub(super) struct StackFuture(Kind);

enum Kind {
    #[cfg(feature = "rdkafka")]
    Rdkafka(Default<RdkafkaTransport>),
    #[cfg(feature = "memory")]
    Memory(Default<MemoryTransport>),
    #[cfg(feature = "native")]
    Native(Default<NativeTransport>),
    Client(Default<ClientTransport>),
    Other(Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>),
}

/// The future of a stack, whose error may be of another type.
#[pin_project]
struct Converted<F>(#[pin] F);

impl<F, E> Future for Converted<F>
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().0.poll(cx).map_err(Into::into)
    }
}

impl StackFuture {
    /// Boxes a future, unless it is one of those that are known.
    #[inline]
    pub(super) fn of<F, E>(future: F) -> Self
    where
        F: Future<Output = Result<Delivery, E>> + Send + 'static,
        E: Into<Error>,
    {
        // Asked first, so that it moves straight into the box.
        if !is_known::<F>() {
            return Self(Kind::Other(Box::pin(Converted(future))));
        }
        let mut future = Some(future);
        #[cfg(feature = "rdkafka")]
        if let Some(known) = taken(&mut future) {
            return Self(Kind::Rdkafka(known));
        }
        #[cfg(feature = "memory")]
        if let Some(known) = taken(&mut future) {
            return Self(Kind::Memory(known));
        }
        #[cfg(feature = "native")]
        if let Some(known) = taken(&mut future) {
            return Self(Kind::Native(known));
        }
        let Some(known) = taken(&mut future) else { unreachable!("it is of a known type") };
        Self(Kind::Client(known))
    }
}

/// Whether a future is kept without a box.
fn is_known<F: 'static>() -> bool {
    let of = TypeId::of::<F>();
    #[cfg(feature = "rdkafka")]
    if of == TypeId::of::<Default<RdkafkaTransport>>() {
        return true;
    }
    #[cfg(feature = "memory")]
    if of == TypeId::of::<Default<MemoryTransport>>() {
        return true;
    }
    #[cfg(feature = "native")]
    if of == TypeId::of::<Default<NativeTransport>>() {
        return true;
    }
    of == TypeId::of::<Default<ClientTransport>>()
}

impl Future for StackFuture {
    type Output = Result<Delivery>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            #[cfg(feature = "rdkafka")]
            Kind::Rdkafka(future) => Pin::new(future).poll(cx),
            #[cfg(feature = "memory")]
            Kind::Memory(future) => Pin::new(future).poll(cx),
            #[cfg(feature = "native")]
            Kind::Native(future) => Pin::new(future).poll(cx),
            Kind::Client(future) => Pin::new(future).poll(cx),
            Kind::Other(future) => future.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for StackFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackFuture").field("boxed", &matches!(self.0, Kind::Other(_))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_is_small() {
        // Each move of a send copies it.
        assert!(size_of::<StackFuture>() <= 160, "{}", size_of::<StackFuture>());
    }
}
