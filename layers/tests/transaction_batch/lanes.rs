use crate::support::*;

async fn two_lanes(kafka: &MemoryKafka) -> TransactionBatch {
    let transports: Vec<_> = (0..2).map(|lane| kafka.transactional_transport(format!("id-{lane}"))).collect();
    let layer = TransactionBatchLayer::lanes(transports.iter().map(MemoryTransport::control).collect());
    layer.init(SECOND).await.unwrap();
    layer.layer_lanes(transports)
}

/// Partitions of two lanes.
async fn apart(kafka: &MemoryKafka, service: &TransactionBatch) -> (i32, i32) {
    for other in 1..16 {
        let before =
            kafka.script_transactions().on(TransactionCall::Commit).of_id("id-0").always().delay(Duration::ZERO);
        let used = async |partition| {
            let start = before.used();
            send(service, partition, "probe").await.unwrap();
            before.used() > start
        };
        let (first, second) = (used(0).await, used(other).await);
        before.cancel();
        match (first, second) {
            (true, false) => return (0, other),
            (false, true) => return (other, 0),
            _ => {}
        }
    }
    panic!("all partitions are in one lane");
}

#[tokio::test(start_paused = true)]
async fn lanes_commit_side_by_side_and_a_partition_has_one_lane() {
    let kafka = MemoryKafka::new().with_topic("orders", 16);
    let service = two_lanes(&kafka).await;
    let (slow, fast) = apart(&kafka, &service).await;
    let hold = kafka.script_transactions().on(TransactionCall::Commit).of_id("id-0").always().lose_request();
    let mut first = send(&service, slow, "slow");
    settle().await;
    assert!(send(&service, fast, "fast").await.is_ok());
    assert!(poll(&mut first).is_pending());
    hold.cancel();
    assert!(first.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_has_ended_does_not_end_the_other() {
    let kafka = MemoryKafka::new().with_topic("orders", 16);
    let service = two_lanes(&kafka).await;
    let (fenced, other) = apart(&kafka, &service).await;
    let newer = kafka.transactional_transport("id-0");
    newer.control().transactions().unwrap().init(SECOND).await.unwrap();
    assert_eq!(facts(&send(&service, fenced, "a").await).0, ErrorKind::Fatal);
    assert!(send(&service, other, "b").await.is_ok());
    let report = service.control().close(SECOND).await.unwrap();
    assert!(report.undelivered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn keys_pick_their_lane() {
    let kafka = MemoryKafka::new().with_topic("orders", 16);
    let service = two_lanes(&kafka).await;
    let mut handle = service.clone();
    let mut sent = Vec::new();
    for n in 0..64 {
        let record = Record::new("orders").with_key(format!("key-{}", n % 8)).with_value(n.to_string());
        sent.push(handle.ready().await.unwrap().call(record));
    }
    let partitions: Vec<_> = all(sent).await.into_iter().map(|outcome| outcome.unwrap().partition).collect();
    for (n, partition) in partitions.iter().enumerate() {
        let key = format!("key-{}", n % 8);
        assert_eq!(*partition, kafka_tower_core::partitioner::partition_for_key(key.as_bytes(), 16));
    }
    let unknown = handle.call(Record::new("nowhere").with_key("k")).await;
    assert_eq!(facts(&unknown).0, ErrorKind::UnknownTopicOrPartition);
}

/// Those of a batch share a partition, the next batch goes to another lane, and nothing waits for a lane that is busy while
/// another one is free.
#[tokio::test(start_paused = true)]
async fn records_without_key_and_partition_go_to_a_lane_that_is_free() {
    let kafka = MemoryKafka::new().with_topic("orders", 16);
    let mut service = two_lanes(&kafka).await;
    let mut next = |count: usize| {
        let record = |_| service.call(Record::new("orders").with_value("no key"));
        all((0..count).map(record).collect::<Vec<_>>())
    };
    let partition = |outcomes: Vec<Result<Delivery>>| {
        let partitions: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().partition).collect();
        assert!(partitions.iter().all(|partition| *partition == partitions[0]), "{partitions:?}");
        partitions[0]
    };
    // The first batch is held in its commit: the second one goes to the other lane and is committed before it.
    let held = kafka.script_transactions().on(TransactionCall::Commit).delay(10 * SECOND);
    let mut first = Box::pin(next(8));
    assert!(tokio::time::timeout(SECOND, first.as_mut()).await.is_err());
    assert_eq!(held.used(), 1);
    let second = partition(next(8).await);
    let third = partition(next(8).await);
    assert_eq!(second, third, "a lane that is free goes on");
    assert!(tokio::time::timeout(SECOND, first.as_mut()).await.is_err(), "it is committed later");
    let first = partition(first.await);
    assert_ne!(first % 2, second % 2, "another lane");
}

#[tokio::test(start_paused = true)]
async fn close_ends_all_lanes() {
    let kafka = MemoryKafka::new().with_topic("orders", 16);
    let service = two_lanes(&kafka).await;
    let futures: Vec<_> = (0..16).map(|partition| send(&service, partition, partition)).collect();
    let report = service.control().close(SECOND).await.unwrap();
    assert_eq!((report.delivered, report.is_complete()), (16, true));
    assert!(all(futures).await.iter().all(Result::is_ok));
    assert_eq!(kafka.committed("orders").len(), 16);
}
