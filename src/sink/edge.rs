//! The one box: a stack whose type is forgotten.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower_core::{Control, Delivery, Error, ErrorKind, Result, SinkMessage};
use tower_service::Service;

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

/// A handle of a stack. `Send + Sync` whatever `T` is: it holds none.
pub(super) trait Edge<T>: Send + Sync {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
    fn call(&mut self, message: SinkMessage<T>) -> BoxFuture;
    /// A handle of its own, not ready.
    fn fresh(&self) -> Box<dyn Edge<T>>;
}

struct Typed<S>(S);

impl<T, S> Edge<T> for Typed<S>
where
    S: Service<SinkMessage<T>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, message: SinkMessage<T>) -> BoxFuture {
        Box::pin(self.0.call(message))
    }

    fn fresh(&self) -> Box<dyn Edge<T>> {
        Box::new(Self(self.0.clone()))
    }
}

/// What all clones of a sink share.
pub(super) struct Shared<T> {
    prototype: Box<dyn Edge<T>>,
    /// For batches: keeps order with a serializer that waits.
    ordered: Box<dyn Edge<T>>,
    /// Handed out for one poll at a time; it keeps its buffers.
    idle: Mutex<Option<Box<dyn Edge<T>>>>,
    pub(super) control: Arc<dyn Control>,
    pub(super) send_timeout: Duration,
    closed: AtomicBool,
}

impl<T> Shared<T> {
    pub(super) fn new<S>(stack: S, ordered: S, control: Arc<dyn Control>, send_timeout: Duration) -> Self
    where
        S: Service<SinkMessage<T>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        T: 'static,
    {
        Self {
            prototype: Box::new(Typed(stack)),
            ordered: Box::new(Typed(ordered)),
            idle: Mutex::new(None),
            control,
            send_timeout,
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn fresh(&self) -> Box<dyn Edge<T>> {
        self.prototype.fresh()
    }

    pub(super) fn fresh_ordered(&self) -> Box<dyn Edge<T>> {
        self.ordered.fresh()
    }

    /// The idle handle, or a fresh one. Never waits for the lock.
    pub(super) fn take(&self) -> Box<dyn Edge<T>> {
        self.idle.try_lock().ok().and_then(|mut idle| idle.take()).unwrap_or_else(|| self.fresh())
    }

    /// Keeps a handle whose readiness is spent.
    pub(super) fn give(&self, edge: Box<dyn Edge<T>>) {
        let unwanted = match self.idle.try_lock() {
            Ok(mut idle) if idle.is_none() => idle.replace(edge),
            _ => Some(edge),
        };
        drop(unwanted);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the sink was closed")
}
