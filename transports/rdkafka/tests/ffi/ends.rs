//! Closes and drops, also of the last handle, and of an open transaction.

use super::*;

#[tokio::test]
async fn a_drop_with_records_in_flight_returns_and_every_answer_is_true() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let mut futures = Vec::new();
    for i in 0..1_000 {
        let deadline = Instant::now() + Duration::from_millis(300);
        futures.push(call(&mut transport, record(i.to_string()).with_expires_at(deadline)).await);
    }
    drop(transport);
    // Futures that are awaited keep the producer alive until they have an answer.
    drop(futures.split_off(500));
    for outcome in join_all(futures).await {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    }
}

#[tokio::test]
async fn oneshot_on_the_last_handle_delivers() {
    let (_cluster, builder) = mock();
    let delivery = builder.connect().await.unwrap().oneshot(record("x")).await.unwrap();
    assert_eq!(delivery.offset, Some(0));
}

#[tokio::test]
async fn close_returns_the_undelivered_records() {
    let (cluster, builder) = mock();
    let mut transport = builder.limits(Limits { records: 5, bytes: 1_000 }).connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let mut handles: Vec<_> = (0..8).map(|_| transport.clone()).collect();
    let mut futures = Vec::new();
    for (i, handle) in handles.iter_mut().enumerate() {
        // Called without readiness: the last three are parked.
        futures.push(handle.call(record(format!("v{i}"))));
    }
    let control = transport.control();
    assert_eq!((control.in_flight().records, control.in_flight().parked), (5, 3));
    let report = control.close(Duration::from_millis(200)).await.unwrap();
    assert_eq!((report.delivered, report.failed + report.unknown), (0, 8), "{report}");
    let mut values: Vec<_> = report.undelivered.iter().map(|u| u.record.value.clone().unwrap()).collect();
    values.sort();
    assert_eq!(values, ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"]);
    for outcome in join_all(futures).await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
    }
    let late = transport.ready().await.unwrap().call(record("late")).await.unwrap_err();
    assert_eq!((late.kind(), late.persistence()), (ErrorKind::Closed, Persistence::NotPersisted));
    assert!(control.close(Duration::from_secs(1)).await.unwrap().undelivered.is_empty());
}

/// librdkafka's mock cluster has coordinators, but no control records.
#[tokio::test]
async fn an_open_transaction_costs_a_close_and_a_drop_no_more_than_their_time() {
    for (reachable, dropped) in [(true, false), (false, false), (true, true), (false, true)] {
        let (cluster, builder) = mock();
        let mut transport = builder.property("transactional.id", "id").connect().await.unwrap();
        let control = transport.control();
        let transactions = control.transactions().unwrap();
        transactions.init(Duration::from_secs(20)).await.unwrap();
        transactions.begin(Duration::from_secs(20)).await.unwrap();
        call(&mut transport, record("a")).await.await.unwrap();
        if !reachable {
            cluster.broker_down(1).unwrap();
        }
        let begun = Instant::now();
        if dropped {
            drop(transactions);
            drop(control);
            drop(transport);
            // The bound is 3 s; the rest allows for a slow machine.
            assert!(reachable || begun.elapsed() >= Duration::from_secs(2), "it did not try to abort");
            assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
            continue;
        }
        let report = control.close(Duration::from_secs(1)).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        match &report.transaction {
            Some(TransactionEnd::Aborted) if reachable => assert!(report.is_complete(), "{report}"),
            Some(TransactionEnd::Unknown(_)) if !reachable => assert!(!report.is_complete(), "{report}"),
            end => panic!("reachable: {reachable}: {end:?}"),
        }
        let error = transactions.begin(Duration::from_secs(20)).await.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::NotPersisted));
    }
}

/// Records in flight when their transaction is aborted are reported as aborted.
#[tokio::test]
async fn a_close_reports_the_records_of_the_transaction_that_it_aborts() {
    let (_cluster, builder) = mock();
    let builder = builder.property("transactional.id", "id").property("linger.ms", "2000");
    let mut transport = builder.connect().await.unwrap();
    let control = transport.control();
    let transactions = control.transactions().unwrap();
    transactions.init(Duration::from_secs(20)).await.unwrap();
    transactions.begin(Duration::from_secs(20)).await.unwrap();
    let lingers = call(&mut transport, record("a")).await;
    let report = control.close(Duration::from_secs(20)).await.unwrap();
    assert!(matches!(report.transaction, Some(TransactionEnd::Aborted)), "{report}");
    // On a machine that stalls for 2 s the record was sent before.
    assert_eq!(report.delivered + report.failed + report.unknown, 1, "{report}");
    if let Err(error) = lingers.await {
        assert_eq!(error.kind(), ErrorKind::Transaction, "{error:#}");
        assert_eq!(report.undelivered.len(), 1, "{report}");
    }
}

struct DropsTheLast(Last, UnboundedSender<&'static str>);

impl ClientEvents for DropsTheLast {
    fn statistics(&self, _: &str) {
        if self.0.lock().unwrap().take().is_some() {
            self.1.send("dropped").unwrap();
        }
    }
}

impl Drop for DropsTheLast {
    fn drop(&mut self) {
        self.1.send("the loop has ended").unwrap();
    }
}

#[tokio::test]
async fn the_last_handle_may_go_on_the_event_loop_itself() {
    let last = Last::default();
    let (sender, mut happened) = unbounded_channel();
    let (_cluster, builder) = mock();
    let events = DropsTheLast(Arc::clone(&last), sender);
    let mut transport = builder.property("statistics.interval.ms", "10").events(events).connect().await.unwrap();
    drop(call(&mut transport, record("dropped")).await);
    *last.lock().unwrap() = Some(transport);
    for expected in ["dropped", "the loop has ended"] {
        let next = tokio::time::timeout(PATIENCE, happened.recv()).await;
        assert_eq!(next.expect("it goes on"), Some(expected));
    }
}
