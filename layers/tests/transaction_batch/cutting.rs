use crate::support::*;

#[tokio::test(start_paused = true)]
async fn age_cuts() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(70 * MS)).await;
    let start = Instant::now();
    let first = send(&service, 0, "a");
    sleep(40 * MS).await;
    let second = send(&service, 0, "b");
    assert!(first.await.is_ok() && second.await.is_ok());
    assert_eq!((start.elapsed(), transactions(&kafka)), (70 * MS, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn count_cuts() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(3).age(SECOND)).await;
    let start = Instant::now();
    let futures = send_all(&service, 0..7);
    let rest = futures.into_iter().enumerate();
    for (n, future) in rest {
        assert!(future.await.is_ok());
        assert_eq!(start.elapsed().is_zero(), n < 6, "record {n}");
    }
    assert_eq!((start.elapsed(), transactions(&kafka)), (SECOND, (3, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_reached_while_the_batch_waits_cuts_at_once() {
    for by_bytes in [true, false] {
        let kafka = kafka();
        let settings = |layer: TransactionBatchLayer| if by_bytes { layer.bytes(3) } else { layer.records(3) };
        let service = service(&kafka, |layer| settings(layer.age(10 * SECOND))).await;
        let start = Instant::now();
        let mut futures = Vec::new();
        for n in 0..3 {
            sleep(MS).await;
            futures.push(send(&service, 0, n));
        }
        assert!(all(futures).await.iter().all(Result::is_ok));
        assert_eq!(start.elapsed(), 3 * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_cut() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.bytes(10).age(SECOND)).await;
    let start = Instant::now();
    let outcomes = all(send_all(&service, ["1234", "1234", "1234", "12345678901234", "1"])).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), SECOND, "the last one waits for its age");
    assert_eq!(transactions(&kafka), (4, 0), "two, one, the large one, and the last one");
}

#[tokio::test(start_paused = true)]
async fn without_an_age_a_batch_is_what_was_called_during_the_last_commit() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(Duration::ZERO)).await;
    kafka.script_transactions().on(TransactionCall::Commit).always().delay(10 * MS);
    let start = Instant::now();
    let first = send(&service, 0, "first");
    settle().await;
    let outcomes = all(send_all(&service, 0..5)).await;
    assert!(first.await.is_ok() && outcomes.iter().all(Result::is_ok));
    assert_eq!((start.elapsed(), transactions(&kafka)), (20 * MS, (2, 0)));
}

/// A record of batch n + 1 is not in the transaction of batch n.
#[tokio::test(start_paused = true)]
async fn the_next_batch_fills_during_the_commit_and_joins_no_other() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(2)).await;
    let commit = block_commits(&kafka);
    let first = send_all(&service, ["a", "b"]);
    settle().await;
    let second = send_all(&service, ["c", "d"]);
    settle().await;
    assert_eq!(kafka.len("orders"), 2, "no send races the commit");
    commit.cancel();
    assert_eq!(offsets(&all(first).await), [Some(0), Some(1)]);
    assert_eq!(offsets(&all(second).await), [Some(3), Some(4)], "behind the marker of the first one");
    assert_eq!(transactions(&kafka), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn limits_of_zero_are_refused() {
    let control = kafka().transactional_transport("id").control();
    let layer = || TransactionBatchLayer::new(Arc::clone(&control));
    let refused: [&dyn Fn() -> TransactionBatchLayer; 6] = [
        &|| layer().records(0),
        &|| layer().bytes(0),
        &|| layer().room(0, 1),
        &|| layer().room(1, 0),
        &|| layer().timeout(Duration::ZERO),
        &|| TransactionBatchLayer::lanes(Vec::new()),
    ];
    for make in refused {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(make)).is_err());
    }
    let plain = kafka().transport().control();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| TransactionBatchLayer::new(plain))).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_expires_when_its_batch_is_cut_had_room() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(50 * MS)).await;
    let record = to(0, "late").with_expires_at((Instant::now() + 50 * MS).into_std());
    let mut handle = service.clone();
    let error = handle.call(record).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    assert!(error.message().ends_with("its transaction is not committed yet"), "{error}");
    kafka_tower_test_texts::assert_consistent(&error);
    assert!(committed(&kafka).is_empty());
}
