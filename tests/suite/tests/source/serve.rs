//! `serve`: gives each message to a service, and settles it by the answer.

mod breaker;
mod composes;
mod ends;
mod failures;
mod order;
mod random;

use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::{FailurePolicy, Order, Settlement, SourceCloseReport, SourceErrorKind, SourceRecovery};
use kafka_tower::{BoxError, CommitStrategy, KafkaSourceConfig, SourceError, SourceMessage};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::util::ServiceFn;
use tower::{Service, service_fn};

use crate::support::{
    LONG, SECOND, append, append_keyed, committed, config, filled, kafka, next, other_member, source,
};

type Ended = Result<SourceCloseReport, SourceError>;

/// What handlers have done, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(i32, i64, u32)>>>);

impl Log {
    fn note(&self, message: &SourceMessage<u32>) {
        self.0.lock().unwrap().push((message.partition(), message.offset(), message.attempt()));
    }

    /// Offset and attempt of each call.
    fn calls(&self) -> Vec<(i64, u32)> {
        self.0.lock().unwrap().iter().map(|(_, offset, attempt)| (*offset, *attempt)).collect()
    }

    fn len(&self) -> usize {
        self.calls().len()
    }

    fn offsets(&self) -> Vec<i64> {
        self.calls().into_iter().map(|(offset, _)| offset).collect()
    }
}

/// Notes each message, and handles it.
fn noting<F, R>(log: &Log, mut handle: F) -> ServiceFn<impl FnMut(SourceMessage<u32>) -> R + Send + use<F, R>>
where
    F: FnMut(SourceMessage<u32>) -> R + Send,
{
    let log = log.clone();
    service_fn(move |message| {
        log.note(&message);
        handle(message)
    })
}

/// Serves until the returned sender is used or dropped.
async fn start<S>(
    kafka: &MemoryKafka,
    service: S,
    order: Order,
    concurrency: usize,
) -> (oneshot::Sender<()>, JoinHandle<Ended>)
where
    S: Service<SourceMessage<u32>> + Send + 'static,
    S::Response: Into<Settlement>,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let (stop, stopped) = oneshot::channel();
    let source = source(kafka, config(CommitStrategy::Automatic)).await;
    let serve = source.serve(service).order(order).concurrency(concurrency);
    (stop, tokio::spawn(serve.until(stopped)))
}

async fn stop((stop, ended): (oneshot::Sender<()>, JoinHandle<Ended>)) -> SourceCloseReport {
    drop(stop);
    ended.await.unwrap().unwrap_or_else(|error| panic!("{error}"))
}

async fn ends(serve: impl Future<Output = Ended>) -> SourceError {
    timeout(LONG, serve).await.expect("it ends").expect_err("it fails")
}
