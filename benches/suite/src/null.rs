//! A transport that answers at once, so that only the cost of the layers remains.

use std::any::TypeId;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower::{
    CloseReport, Control, Delivery, Error, InFlight, IntoTransport, Record, Result, TransactionControl, handover,
};
use tower::Service;

/// Transport that is always ready and drops its records.
#[derive(Clone, Copy, Debug)]
pub struct Null;

impl Null {
    /// Returns its control.
    #[must_use]
    pub fn control() -> Arc<dyn Control> {
        Arc::new(NullControl)
    }
}

impl IntoTransport for Null {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        (self, Self::control())
    }
}

impl Service<Record> for Null {
    type Response = Delivery;
    type Error = Error;
    type Future = Ready<Result<Delivery>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        handover::taken();
        ready(Ok(Delivery::new(record.topic, 0).with_offset(0)))
    }
}

#[derive(Debug)]
struct NullControl;

type ControlFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl Control for NullControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn close(&self, _: Duration) -> ControlFuture<'_, CloseReport> {
        Box::pin(ready(Ok(CloseReport::default())))
    }

    fn partition_count(&self, _: &str) -> Option<u32> {
        Some(4)
    }

    fn in_flight(&self) -> InFlight {
        InFlight::default()
    }

    fn giver(&self) -> Option<TypeId> {
        Some(TypeId::of::<Null>())
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}
