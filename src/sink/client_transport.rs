//! The transport of a client, behind one type: which one it is does not show in the type of a client.

use std::any::{Any, TypeId};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use kafka_tower_core::{Control, Delivery, Error, Record, Result, Transport};
use kafka_tower_layers::transaction_batch::TransactionBatch;
#[cfg(feature = "memory")]
use kafka_tower_memory::MemoryTransport;
#[cfg(feature = "rdkafka")]
use kafka_tower_rdkafka::RdkafkaTransport;
use pin_project::pin_project;
use tower_service::Service;

type BoxFuture = Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

/// Transport of a [`KafkaClient`](super::KafkaClient): librdkafka, the in-memory Kafka, shared transactions over either, or
/// your own.
///
/// The first three cost a record nothing more than alone; any other is boxed, which costs one allocation for each record.
#[derive(Clone)]
pub struct ClientTransport {
    kind: Kind,
    /// What it was made of.
    transport: TypeId,
}

#[derive(Clone)]
enum Kind {
    #[cfg(feature = "rdkafka")]
    Rdkafka(RdkafkaTransport),
    #[cfg(feature = "memory")]
    Memory(MemoryTransport),
    Batched(TransactionBatch),
    Other(Box<dyn DynTransport>),
}

impl ClientTransport {
    pub(super) fn of<S: Transport>(transport: S) -> Self {
        Self { kind: Kind::of(transport), transport: TypeId::of::<S>() }
    }

    /// Whether the errors of this transport contain their records.
    pub(super) fn gives_records_back(&self, control: &dyn Control) -> bool {
        control.giver() == Some(self.transport)
    }

    /// The transport over librdkafka, if it is that.
    #[cfg(feature = "rdkafka")]
    pub(super) fn rdkafka(&self) -> Option<&RdkafkaTransport> {
        match &self.kind {
            Kind::Rdkafka(transport) => Some(transport),
            _ => None,
        }
    }
}

impl Kind {
    fn of<S: Transport>(transport: S) -> Self {
        let mut transport = Some(transport);
        #[cfg(feature = "rdkafka")]
        if let Some(known) = taken(&mut transport) {
            return Self::Rdkafka(known);
        }
        #[cfg(feature = "memory")]
        if let Some(known) = taken(&mut transport) {
            return Self::Memory(known);
        }
        if let Some(known) = taken(&mut transport) {
            return Self::Batched(known);
        }
        let Some(other) = transport else { unreachable!("it was of no known type") };
        Self::Other(Box::new(other))
    }
}

/// Takes the value, if it is of this type. The types are compared when this is compiled.
#[inline]
pub(super) fn taken<A: 'static, B: 'static>(value: &mut Option<A>) -> Option<B> {
    (value as &mut dyn Any).downcast_mut().and_then(Option::take)
}

impl Service<Record> for ClientTransport {
    type Response = Delivery;
    type Error = Error;
    type Future = ClientFuture;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.kind {
            #[cfg(feature = "rdkafka")]
            Kind::Rdkafka(transport) => transport.poll_ready(cx),
            #[cfg(feature = "memory")]
            Kind::Memory(transport) => transport.poll_ready(cx),
            Kind::Batched(transport) => transport.poll_ready(cx),
            Kind::Other(transport) => transport.ready(cx),
        }
    }

    #[inline]
    fn call(&mut self, record: Record) -> ClientFuture {
        ClientFuture(match &mut self.kind {
            #[cfg(feature = "rdkafka")]
            Kind::Rdkafka(transport) => Sent::Rdkafka(transport.call(record)),
            #[cfg(feature = "memory")]
            Kind::Memory(transport) => Sent::Memory(transport.call(record)),
            Kind::Batched(transport) => Sent::Batched(transport.call(record)),
            Kind::Other(transport) => Sent::Other(transport.send(record)),
        })
    }
}

/// Future of a record that a [`ClientTransport`] was called with.
///
/// # Cancel safety
///
/// That of the transport: dropping it does not cancel the record.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ClientFuture(#[pin] Sent);

#[pin_project(project = SentProjection)]
enum Sent {
    #[cfg(feature = "rdkafka")]
    Rdkafka(#[pin] <RdkafkaTransport as Service<Record>>::Future),
    #[cfg(feature = "memory")]
    Memory(#[pin] <MemoryTransport as Service<Record>>::Future),
    Batched(#[pin] <TransactionBatch as Service<Record>>::Future),
    Other(BoxFuture),
}

impl Future for ClientFuture {
    type Output = Result<Delivery>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            #[cfg(feature = "rdkafka")]
            SentProjection::Rdkafka(future) => future.poll(cx),
            #[cfg(feature = "memory")]
            SentProjection::Memory(future) => future.poll(cx),
            SentProjection::Batched(future) => future.poll(cx),
            SentProjection::Other(future) => future.as_mut().poll(cx),
        }
    }
}

trait DynTransport: Send + Sync {
    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
    fn send(&mut self, record: Record) -> BoxFuture;
    fn boxed(&self) -> Box<dyn DynTransport>;
}

impl<S: Transport> DynTransport for S {
    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_ready(cx)
    }

    fn send(&mut self, record: Record) -> BoxFuture {
        Box::pin(self.call(record))
    }

    fn boxed(&self) -> Box<dyn DynTransport> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn DynTransport> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

impl fmt::Debug for ClientTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            #[cfg(feature = "rdkafka")]
            Kind::Rdkafka(_) => "rdkafka",
            #[cfg(feature = "memory")]
            Kind::Memory(_) => "memory",
            Kind::Batched(_) => "shared transactions",
            Kind::Other(_) => "other",
        };
        f.debug_tuple("ClientTransport").field(&kind).finish()
    }
}

impl fmt::Debug for ClientFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}
