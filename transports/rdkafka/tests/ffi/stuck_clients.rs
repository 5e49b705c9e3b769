//! Records without an answer for too long, and clients that are replaced because of them.

use super::*;

#[tokio::test]
async fn a_record_without_an_answer_for_too_long_is_given_up() {
    let (cluster, builder) = mock();
    let bound = Duration::from_millis(300);
    let mut transport =
        builder.delivery_bound(bound).limits(Limits { records: 2, bytes: 1_000 }).connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let begun = Instant::now();
    let without_deadline = call(&mut transport, record("a")).await;
    let with_deadline = call(&mut transport, record("b").with_expires_at(Instant::now() + bound / 3)).await;
    // Due before the first record; otherwise it gets the room of records that are given up, and a bound of its own.
    let parked = transport.clone().call(record("c").with_expires_at(begun + bound / 2));
    let told = with_deadline.await.unwrap_err();
    assert_eq!((told.kind(), told.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted), "{told}");
    assert!(!told.message().contains("given up"), "{told}");
    let error = without_deadline.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("no answer within 300 ms"), "{error}");
    let error = parked.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted), "{error}");
    transport.control().flush().await.unwrap();
    cluster.broker_up(1).unwrap();
    // The bound is short compared to the backoff of a reconnect: some more records may be given up first.
    let end = Instant::now() + PATIENCE;
    while let Err(error) = call(&mut transport, record("d")).await.await {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(Instant::now() < end, "the producer goes on: {error}");
    }
}

/// One partition has lost its leader, and the other broker answers: the client is replaced, and records in flight to
/// another topic are not given up with it.
#[tokio::test]
async fn a_client_without_an_answer_for_too_long_is_replaced_where_brokers_answer() {
    let cluster = MockCluster::start(2).unwrap();
    // The brokers lead partitions in turn.
    cluster.create_topic("t", 2).unwrap();
    cluster.create_topic("other", 2).unwrap();
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", cluster.bootstrap())
        .property("linger.ms", "60000")
        .property("topic.metadata.refresh.interval.ms", "100")
        .topic("t")
        .connect_timeout(PATIENCE)
        // Long enough for a busy machine under memcheck.
        .delivery_bound(Duration::from_secs(3))
        .connect()
        .await
        .unwrap();
    let to = |topic: &str, partition| Record::new(topic).with_partition(partition).with_value("x");
    // All brokers and all leaders are known.
    for partition in [0, 1] {
        let sent = call(&mut transport, to("t", partition)).await;
        transport.control().flush().await.unwrap();
        sent.await.unwrap();
    }
    cluster.broker_down(2).unwrap();
    let stuck = [call(&mut transport, to("t", 0)).await, call(&mut transport, to("t", 1)).await];
    // Half of the bound later: these are not overdue when the first ones are.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let others = [call(&mut transport, to("other", 0)).await, call(&mut transport, to("other", 1)).await];
    let failed: Vec<_> = join_all(stuck).await.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed.len(), 1, "the one on the broker that is gone: {failed:?}");
    for error in failed {
        assert_eq!(
            (error.kind(), error.persistence()),
            (ErrorKind::Timeout, Persistence::PossiblyPersisted),
            "{error}"
        );
        assert!(error.message().contains("no answer within 3 s"), "{error}");
    }
    assert_eq!(transport.control().generation(), 1);
    let delivered = join_all(others).await.into_iter().filter(Result::is_ok).count();
    assert!(delivered >= 1, "the one on the broker that answers");
    cluster.broker_up(2).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let sent = [call(&mut transport, to("t", 0)).await, call(&mut transport, to("t", 1)).await];
        transport.control().flush().await.unwrap();
        if join_all(sent).await.iter().all(Result::is_ok) {
            return;
        }
        assert!(Instant::now() < end, "the new one goes on");
    }
}
