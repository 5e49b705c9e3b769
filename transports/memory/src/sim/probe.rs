//! Number of sends that a stack admits at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use kafka_tower_core::{Delivery, Error, Record};
use tokio::task::yield_now;
use tokio::time::timeout;
use tower_service::Service;

use super::outcome::PATIENCE;
use super::workload::TOPIC;
use crate::MemoryKafka;

/// Limit of the probe.
const ENOUGH: usize = 64;

/// Returns how many sends are admitted while no answer arrives, each by its own handle.
pub(crate) async fn capacity<S>(kafka: &MemoryKafka, service: &S) -> usize
where
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let hold = kafka.script().always().hold();
    let mut open: Vec<Pin<Box<S::Future>>> = Vec::new();
    while open.len() < ENOUGH {
        let mut handle = service.clone();
        if !is_ready(&mut handle).await {
            break;
        }
        let mut future = Box::pin(handle.call(Record::new(TOPIC).with_value("probe")));
        // A lazy service passes the record down only in the first poll.
        let answered = future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if answered {
            // It was refused or resolved without the broker, so it holds no room.
            return ENOUGH;
        }
        open.push(future);
    }
    hold.release();
    let admitted = open.len();
    for future in open {
        // A stuck future is detected elsewhere.
        let _ = timeout(PATIENCE, future).await;
    }
    admitted
}

/// Yields between polls, so that the stack's own tasks can run.
async fn is_ready<S: Service<Record>>(handle: &mut S) -> bool {
    for _ in 0..3 {
        if handle.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        yield_now().await;
    }
    false
}
