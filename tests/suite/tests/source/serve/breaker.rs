//! `serve` over a service that fails for a while, behind a circuit breaker.

use kafka_tower::layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, CircuitState};
use kafka_tower::{Error, ErrorKind};
use tower::{Layer as _, ServiceExt as _};

use super::*;

/// Handles 200 messages, one each second of two partitions, while the database is down from second 5 to 95. Returns how many calls it had meanwhile, and how many
/// the breaker rejected.
async fn outage(waits: bool) -> (usize, usize) {
    let kafka = kafka(2);
    let appends = kafka.clone();
    tokio::spawn(async move {
        for value in 0..100 {
            append(&appends, 0, [value]).await;
            sleep(SECOND / 2).await;
            append(&appends, 1, [value]).await;
            sleep(SECOND / 2).await;
        }
    });
    let (down, rejected) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (failures, rejections) = (Arc::clone(&down), Arc::clone(&rejected));
    let start = Instant::now();
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new().failure_threshold(3).open_for(10 * SECOND));
    let layer = layer.wait_while_open(waits);
    let (breaker, open) = (layer.handle(), Arc::<AtomicUsize>::default());
    let called_open = Arc::clone(&open);
    let database = service_fn(move |message: SourceMessage<u32>| {
        called_open.fetch_add(usize::from(breaker.state() == CircuitState::Open), Ordering::Relaxed);
        let is_down = (5..95).contains(&start.elapsed().as_secs());
        failures.fetch_add(usize::from(is_down), Ordering::Relaxed);
        async move {
            sleep(SECOND / 4).await;
            drop(message);
            if is_down { Err(Error::new(ErrorKind::Connection, "the database is down")) } else { Ok(()) }
        }
    });
    let service = layer.layer(database).map_err(move |error| {
        rejections.fetch_add(usize::from(error.kind() == ErrorKind::CircuitOpen), Ordering::Relaxed);
        error
    });
    let source = source(&kafka, config(CommitStrategy::Each)).await;
    let serve = source.serve(service).concurrency(4).order(Order::Partition).on_failure(FailurePolicy::retry(u32::MAX));
    let serve = tokio::spawn(serve.until(sleep(3 * LONG)));
    sleep(50 * SECOND).await;
    assert!(committed(&kafka, 0) < 10, "the source is behind");
    // It remains a member, and gives partitions back without a wait.
    let begin = Instant::now();
    let other = other_member(&kafka).await;
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    drop(other);
    let report = serve.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    assert!(report.is_complete(), "{report}");
    assert_eq!(open.load(Ordering::Relaxed), 0, "no call while the breaker is open");
    assert_eq!((report.skipped, committed(&kafka, 0), committed(&kafka, 1)), (0, 100, 100), "{report}");
    (down.load(Ordering::Relaxed), rejected.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_that_waits_pauses_the_reading_and_fails_no_message() {
    let (calls, rejected) = outage(true).await;
    assert_eq!(rejected, 0);
    assert!((4..=4 + 9).contains(&calls), "those that open it, and a probe each ten seconds: {calls}");
    assert!(outage(false).await.1 > 0, "rejected calls are failures");
}
