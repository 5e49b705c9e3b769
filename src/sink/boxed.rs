//! A stack whose type is erased.

use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result, SinkMessage};
use tower_service::Service;

use super::stack_future::StackFuture;

/// Handle of a stack. `Send + Sync` for any `T`: it holds no messages.
pub(super) trait DynStack<T>: Send + Sync {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
    fn call(&mut self, message: SinkMessage<T>) -> StackFuture;
    /// Returns a new handle that is not ready.
    fn fresh(&self) -> Box<dyn DynStack<T>>;
}

struct Erased<S>(S);

/// Erases the type of a stack.
pub(super) fn erase<T, S>(stack: S) -> Box<dyn DynStack<T>>
where
    S: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    Box::new(Erased(stack))
}

impl<T, S> DynStack<T> for Erased<S>
where
    S: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, message: SinkMessage<T>) -> StackFuture {
        StackFuture::of(self.0.call(message))
    }

    fn fresh(&self) -> Box<dyn DynStack<T>> {
        Box::new(Self(self.0.clone()))
    }
}
