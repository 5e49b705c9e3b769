//! A stack whose sends are tracked for the completeness of a transaction.

use std::task::{Context, Poll};

use kafka_tower_core::{Result, SinkMessage, handover};

use super::super::edge::{BoxFuture, Edge};
use super::Whole;
use super::future::WatchedFuture;

/// Wraps the erased stack instead of being one of its layers: another type in the stack would split code that sinks
/// without transactions have in one piece.
pub(in crate::sink) struct Watched<E> {
    edge: E,
    whole: Whole,
}

impl<E> Watched<E> {
    pub(in crate::sink) fn new(edge: E, whole: Whole) -> Self {
        Self { edge, whole }
    }
}

impl<T, E: Edge<T> + Clone + 'static> Edge<T> for Watched<E> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.edge.poll_ready(cx)
    }

    fn call(&mut self, message: SinkMessage<T>) -> BoxFuture {
        let part = self.whole.part();
        let (future, taken) = handover::watch_inside(|| self.edge.call(message));
        if taken {
            part.done();
            return future;
        }
        Box::pin(WatchedFuture::new(future, part))
    }

    fn fresh(&self) -> Box<dyn Edge<T>> {
        Box::new(Self { edge: self.edge.clone(), whole: self.whole.clone() })
    }
}
