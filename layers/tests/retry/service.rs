use super::support::*;

#[tokio::test(start_paused = true)]
async fn first_attempts_are_in_the_order_of_the_calls() {
    let inner = Scripted::new(many(2));
    let mut service = retry(policy(), &inner);
    let mut futures = Vec::new();
    for n in 1..=3 {
        futures.push(service.ready().await.unwrap().call(Record::new("orders").with_value(n.to_string())));
    }
    assert_eq!(inner.calls(), 3, "before a future is polled");
    for future in futures.into_iter().rev() {
        future.await.unwrap();
    }
    let order: Vec<_> = inner.lock().calls.iter().map(|(_, value, _)| value.clone()).collect();
    assert_eq!(order, ["1", "2", "3", "2", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_makes_no_further_attempt() {
    // Drop after the call, during the back-off, and while waiting for room.
    for (polls, full) in [(false, false), (true, false), (true, true)] {
        let inner = Scripted::new(many(9));
        let mut future = retry(policy(), &inner).ready_oneshot().await.unwrap().call(record());
        inner.set_full(full);
        if polls {
            assert!(poll(&mut future).is_pending());
        }
        if full {
            tokio::time::advance(200 * MS).await;
            assert!(poll(&mut future).is_pending());
        }
        drop(future);
        inner.set_full(false);
        tokio::time::advance(10_000 * MS).await;
        assert_eq!(inner.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_are_called_for_each_further_attempt() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (Arc::clone(&told), Arc::clone(&told));
    let refused = error(ErrorKind::Rejected, Persistence::NotPersisted);
    let inner = Scripted::new([not_written(), refused]);
    let layer = RetryLayer::new(policy())
        .on_retry(move |event| {
            first.lock().unwrap().push((event.attempt, event.delay, event.isolated, event.error.kind()));
        })
        .on_retry(move |event| second.lock().unwrap().push((0, event.delay, event.isolated, event.error.kind())));
    layer.layer(inner).oneshot(record()).await.unwrap();
    let (broker, rejected) = (ErrorKind::Broker, ErrorKind::Rejected);
    assert_eq!(
        *told.lock().unwrap(),
        [
            (1, 100 * MS, false, broker),
            (0, 100 * MS, false, broker),
            (2, Duration::ZERO, true, rejected),
            (0, Duration::ZERO, true, rejected)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_frees_its_permit_before_the_next_one_waits() {
    let inner = Scripted::new(many(2));
    let limited = tower::limit::ConcurrencyLimit::new(inner.clone(), 1);
    let mut service = RetryLayer::new(policy()).layer(limited);
    let sent = service.ready().await.unwrap().call(patient(5_000 * MS));
    sent.await.unwrap();
    assert_eq!(inner.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn over_the_memory_transport_a_retry_waits_for_room_like_others() {
    let kafka = MemoryKafka::new().with_topic("orders", 2);
    kafka.script().on_partition("orders", 0).fail(not_written());
    let hold = kafka.script().on_partition("orders", 1).hold();
    let mut service = RetryLayer::new(policy()).layer(kafka.transport_with(Limits { records: 1, bytes: 1_000 }));
    let first = tokio::spawn(service.ready().await.unwrap().call(record().with_partition(0)));
    let second = tokio::spawn(service.ready().await.unwrap().call(record().with_partition(1)));
    tokio::time::sleep(1_000 * MS).await;
    assert_eq!(kafka.partition("orders", 0).len(), 0, "there is no room for the retry");
    hold.release();
    second.await.unwrap().unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(kafka.len("orders"), 2);
}
