//! How much a stack admits at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use kafka_tower_core::{Delivery, Error, Record};
use tokio::task::yield_now;
use tokio::time::timeout;
use tower_service::Service;

use super::run::PATIENCE;
use super::workload::TOPIC;
use crate::MemoryKafka;

/// It is not asked for more.
const ENOUGH: usize = 64;

/// How many sends are admitted while no answer comes, each by a handle of its own.
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
        // What is lazy goes down with its first poll.
        let answered = future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if answered {
            // It was refused or answered without the broker: nothing is held by it.
            return ENOUGH;
        }
        open.push(future);
    }
    hold.release();
    let admitted = open.len();
    for future in open {
        // A future that is stuck is found by other means.
        let _ = timeout(PATIENCE, future).await;
    }
    admitted
}

/// Lets the stack's own tasks run between two looks.
async fn is_ready<S: Service<Record>>(handle: &mut S) -> bool {
    for _ in 0..3 {
        if handle.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        yield_now().await;
    }
    false
}
