use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn back_pressure_is_exact_in_records() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.room(3, 1_000)).await;
    let commit = block_commits(&kafka);
    let mut handle = service.clone();
    let mut futures = Vec::new();
    for n in 0..3 {
        futures.push(handle.ready().await.unwrap().call(to(0, n)));
    }
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    assert!(handle.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    settle().await;
    assert_eq!(commit.used(), 1, "a batch without room for more is cut before its age");
    assert_eq!(count.0.load(Ordering::SeqCst), 0, "no room before the transaction has ended");
    commit.cancel();
    for future in futures {
        assert!(future.await.is_ok());
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(handle.poll_ready(&mut Context::from_waker(&waker)).is_ready());
}

#[tokio::test(start_paused = true)]
async fn back_pressure_is_exact_in_bytes() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.room(100, 10).age(10 * SECOND)).await;
    let start = Instant::now();
    let mut futures = send_all(&service, ["123456", "1234", "12345", "12345", "1"]);
    assert_eq!(service.control().in_flight().bytes, 10);
    assert_eq!(service.control().in_flight().parked, 3);
    let outcomes = all(futures.drain(..4).collect()).await;
    assert_eq!(offsets(&outcomes), [Some(0), Some(1), Some(3), Some(4)]);
    assert_eq!(start.elapsed(), Duration::ZERO, "records without room do not wait for the age of others");
    let too_large = send(&service, 0, "12345678901").await;
    assert_eq!(facts(&too_large), (ErrorKind::RecordTooLarge, Recovery::Reject, Persistence::NotPersisted));
}

#[tokio::test(start_paused = true)]
async fn many_callers_with_little_room_all_finish() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.room(3, 100).records(2)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let mut handle = service.clone();
        tasks.spawn(async move {
            for n in 0..20 {
                handle.ready().await.unwrap().call(to(caller % 2, n)).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(committed(&kafka).len(), 160);
    assert_eq!(service.control().in_flight(), kafka_tower_core::InFlight::default());
}

#[tokio::test(start_paused = true)]
async fn a_parked_record_whose_deadline_passes_takes_no_room() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.room(1, 100)).await;
    let commit = block_commits(&kafka);
    let first = send(&service, 0, "first");
    let start = Instant::now();
    let parked = service.clone().call(to(0, "parked").with_expires_at(start + 20 * MS));
    let last = send(&service, 0, "last");
    assert_eq!(facts(&parked.await).2, Persistence::NotPersisted);
    assert_eq!((start.elapsed(), service.control().in_flight().parked), (20 * MS, 1));
    commit.cancel();
    let mut last = pin!(last);
    assert!(first.await.is_ok() && last.as_mut().await.is_ok());
    assert_eq!(committed(&kafka), ["first", "last"]);
}

/// The batch already waits for its age when the room runs out.
#[tokio::test(start_paused = true)]
async fn a_caller_without_room_cuts_a_batch_that_waits() {
    for parks in [true, false] {
        let kafka = kafka();
        let service = service(&kafka, |layer| layer.room(2, 10).age(10 * SECOND)).await;
        let start = Instant::now();
        let mut handle = service.clone();
        let first = send(&service, 0, "12345");
        // From here on the batch waits for its age.
        sleep(MS).await;
        let mut second = None;
        if !parks {
            second = Some(send(&service, 0, "1"));
            handle.ready().await.unwrap();
        }
        let last = handle.call(to(0, "123456"));
        assert!(first.await.is_ok());
        if let Some(second) = second {
            assert!(second.await.is_ok());
        }
        assert_eq!(start.elapsed(), MS, "parks: {parks}");
        service.control().flush().await.unwrap();
        assert!(last.await.is_ok());
    }
}
