//! tower's layers around a service of `serve`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kafka_tower::source::{FailurePolicy, Order, Settlement, SourceErrorKind};
use kafka_tower::{BoxError, CommitStrategy, SourceMessage};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceBuilder, service_fn};

use super::Log;
use crate::support::{LONG, SECOND, committed, config, filled, source};

/// Serves 50 messages of which each takes a second. Returns how many were handled side by side, and how often the service
/// was called.
async fn run<S>(layered: impl FnOnce(Counting) -> S, policy: FailurePolicy) -> (usize, usize)
where
    S: Service<SourceMessage<u32>> + Send + 'static,
    S::Response: Into<Settlement>,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let kafka = filled(2, 25).await;
    let counting = Counting::default();
    let (most, log) = (Arc::clone(&counting.most), counting.log.clone());
    let source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let serve = source.serve(layered(counting)).order(Order::None).on_failure(policy).until(sleep(LONG));
    let report = timeout(2 * LONG, serve).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((report.settled, report.is_complete()), (50, true), "{report}");
    assert_eq!((committed(&kafka, 0), committed(&kafka, 1)), (25, 25));
    (most.load(Ordering::Relaxed), log.len())
}

#[derive(Clone, Default)]
struct Counting {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    log: Log,
}

impl Counting {
    async fn handle(self, message: SourceMessage<u32>) -> Result<(), BoxError> {
        self.log.note(&message);
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let _running = Running(self.now);
        // Takes longer at its first attempt.
        sleep(if message.offset() == 7 && message.attempt() == 1 { 10 * SECOND } else { SECOND }).await;
        Ok(())
    }
}

/// Counts down also when it is cancelled.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

macro_rules! service {
    ($counting:expr) => {
        service_fn(move |message: SourceMessage<u32>| $counting.clone().handle(message))
    };
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_bounds_it_by_readiness() {
    let limited = |counting: Counting| ServiceBuilder::new().concurrency_limit(5).service(service!(counting));
    assert_eq!(run(limited, FailurePolicy::fail()).await, (5, 50));
    assert_eq!(run(|counting| service!(counting), FailurePolicy::fail()).await, (50, 50), "without it");
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_a_failure_that_can_be_retried() {
    let limited = |counting: Counting| ServiceBuilder::new().timeout(5 * SECOND).service(service!(counting));
    assert_eq!(run(limited, FailurePolicy::retry(1)).await, (50, 52), "two messages take too long at first");
}

/// Its worker owns messages after their call: those come back as well.
#[tokio::test(start_paused = true)]
async fn a_buffer_hands_messages_to_its_worker() {
    let buffered = |counting: Counting| {
        let inner = ServiceBuilder::new().concurrency_limit(5).timeout(5 * SECOND).service(service!(counting));
        ServiceBuilder::new().buffer(10).service(inner)
    };
    assert_eq!(run(buffered, FailurePolicy::retry(1)).await, (5, 52));
}

/// What is shed is a failure: a message that waits for its next attempt does not count for the concurrency.
#[tokio::test(start_paused = true)]
async fn shed_load_is_handled_later() {
    let shed = |counting: Counting| ServiceBuilder::new().load_shed().concurrency_limit(20).service(service!(counting));
    let (most, calls) = run(shed, FailurePolicy::retry(20).backoff(SECOND, SECOND)).await;
    assert_eq!((most, calls), (20, 50), "each was handled once");
}

/// The end of a buffer's worker is an error of its readiness.
#[tokio::test(start_paused = true)]
async fn a_service_that_has_ended_ends_serve() {
    let kafka = filled(1, 3).await;
    let planted = |message: SourceMessage<u32>| -> std::future::Ready<Result<(), BoxError>> {
        assert!(message.offset() != 1, "planted: the worker panics");
        std::future::ready(Ok(()))
    };
    let service = ServiceBuilder::new().buffer(1).service(service_fn(planted));
    let source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let serve = source.serve(service).on_failure(FailurePolicy::retry(5));
    let error = timeout(LONG, serve).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Service, "{error}");
    assert_eq!((error.close_report().unwrap().settled, committed(&kafka, 0)), (1, 1));
}
