use super::support::*;

#[tokio::test(start_paused = true)]
async fn duplicates_only_by_opt_in() {
    for (guarantee, allow, copies) in [
        (DeliveryGuarantee::AtMostOnce, true, 1),
        (DeliveryGuarantee::AtLeastOnce, false, 1),
        (DeliveryGuarantee::AtLeastOnce, true, 2),
        (DeliveryGuarantee::ExactlyOnce, true, 1),
    ] {
        let kafka = MemoryKafka::new().with_topic("orders", 1);
        kafka.script().lose_answer_with(perhaps_written());
        let layer = RetryLayer::new(policy().delivery_guarantee(guarantee).allow_duplicates(allow));
        let result = layer.layer(kafka.transport()).oneshot(record()).await;
        assert_eq!(kafka.len("orders"), copies, "{guarantee:?}, {allow}");
        match result {
            Ok(delivery) => assert_eq!(delivery.offset, Some(1)),
            Err(error) => assert_eq!((copies, error.persistence()), (1, Persistence::PossiblyPersisted)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_once_sends_once() {
    for planted in [not_written(), error(ErrorKind::Rejected, Persistence::NotPersisted)] {
        let inner = Scripted::new([planted]);
        let policy = policy().delivery_guarantee(DeliveryGuarantee::ExactlyOnce);
        let error = send(&mut retry(policy, &inner), record()).await.unwrap_err();
        assert_eq!((inner.calls(), error.attempts(), error.elapsed()), (1, 1, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_sent_one_by_one_at_once() {
    let refused = error(ErrorKind::Rejected, Persistence::NotPersisted);
    assert_eq!(refused.scope(), Scope::Batch);
    for guarantee in [DeliveryGuarantee::AtMostOnce, DeliveryGuarantee::AtLeastOnce] {
        let inner = Scripted::new([refused.clone()]);
        let begun = Instant::now();
        send(&mut retry(policy().delivery_guarantee(guarantee).max_retries(0), &inner), record()).await.unwrap();
        assert_eq!(inner.times(begun), [0, 0]);
        assert_eq!(inner.lock().calls.iter().map(|(.., alone)| *alone).collect::<Vec<_>>(), [false, true]);
    }
    let inner = Scripted::new([refused.clone(), refused.clone(), refused]);
    let error = send(&mut retry(policy(), &inner), record()).await.unwrap_err();
    assert_eq!((inner.calls(), error.attempts(), error.kind()), (2, 2, ErrorKind::Rejected));
}

#[tokio::test(start_paused = true)]
async fn an_isolated_record_keeps_its_retries_and_stays_isolated() {
    let refused = error(ErrorKind::Rejected, Persistence::NotPersisted);
    let (inner, begun) = (Scripted::new([not_written(), refused, not_written()]), Instant::now());
    send(&mut retry(policy().max_retries(2), &inner), record()).await.unwrap();
    assert_eq!(inner.times(begun), [0, 100, 100, 300]);
    assert_eq!(inner.lock().calls.iter().map(|(.., alone)| *alone).collect::<Vec<_>>(), [false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_does_not_deny_an_earlier_possible_write() {
    let inner =
        Scripted::new([perhaps_written(), not_written(), error(ErrorKind::Authorization, Persistence::NotPersisted)]);
    let error = send(&mut retry(policy().allow_duplicates(true), &inner), record()).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Authorization, Persistence::PossiblyPersisted));
    assert_eq!(error.recovery(), Recovery::Reject);
    assert!(error.message().starts_with("an earlier attempt may have been written; last error: "), "{error}");
    kafka_tower_test_texts::assert_consistent(&error);

    let inner = Scripted::new([perhaps_written()]);
    let future = retry(policy().allow_duplicates(true), &inner).ready_oneshot().await.unwrap().call(record());
    inner.lock().broken = true;
    let error = future.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::PossiblyPersisted));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_error_is_possibly_persisted() {
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let foreign = tower::service_fn(move |_: Record| {
        *count.lock().unwrap() += 1;
        ready(Err::<Delivery, BoxError>("foreign".into()))
    });
    let error = RetryLayer::new(policy()).layer(foreign).oneshot(record()).await.unwrap_err();
    assert_eq!((error.persistence(), *calls.lock().unwrap()), (Persistence::PossiblyPersisted, 1));
}
