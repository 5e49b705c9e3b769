//! Each misuse is a typed error that names the right order of calls.

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{DeliveryGuarantee, TransactionControl};

use super::*;

const ORDER: &str = "begin, send, commit or abort";

fn offsets() -> (Vec<TopicOffset>, ConsumerGroup) {
    let group =
        ConsumerGroup { group_id: "g".into(), generation: -1, member_id: String::new(), group_instance_id: None };
    (vec![TopicOffset { topic: "input".into(), partition: 0, offset: 7 }], group)
}

#[tokio::test(start_paused = true)]
async fn calls_without_an_open_transaction() {
    let (kafka, sink) = stage().await;
    assert_misuse(sink.commit_transaction().await, "no transaction is open", ORDER);
    assert_misuse(sink.abort_transaction().await, "no transaction is open", ORDER);
    let (list, group) = offsets();
    assert_misuse(sink.send_offsets(list, group).await, "no transaction is open", ORDER);
    assert_misuse(sink.send(1).await, "no transaction is open", ORDER);
    assert!(kafka.records("numbers").is_empty());
    // None of them breaks the next transaction.
    sink.in_transaction(async |tx| tx.send(2).await.map(drop)).await.unwrap();
    assert_eq!(committed(&kafka), [2]);
}

#[tokio::test(start_paused = true)]
async fn begin_twice() {
    let (kafka, sink) = stage().await;
    sink.begin_transaction().await.unwrap();
    assert_misuse(sink.begin_transaction().await, "already open", ORDER);
    assert_misuse(sink.transaction().await, "already open", ORDER);
    sink.send(1).await.unwrap();
    sink.commit_transaction().await.unwrap();
    let tx = sink.transaction().await.unwrap();
    let cure = "`commit` or `abort` of the `Transaction` first";
    assert_misuse(sink.transaction().await, "begin: the open transaction belongs to", cure);
    assert_misuse(sink.begin_transaction().await, "begin: the open transaction belongs to", cure);
    tx.send(2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(committed(&kafka), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn manual_calls_while_a_guard_is_open() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    let cure = "`commit` or `abort` of the `Transaction`";
    assert_misuse(sink.commit_transaction().await, "commit: the open transaction belongs to", cure);
    assert_misuse(sink.abort_transaction().await, "abort: the open transaction belongs to", cure);
    let (list, group) = offsets();
    assert_misuse(sink.send_offsets(list, group).await, "send_offsets: the open transaction belongs to", cure);
    let control = sink.control().transactions().unwrap();
    assert_misuse(control.commit(TIME).await, "commit: the open transaction belongs to", cure);
    assert!(committed(&kafka).is_empty());
    tx.commit().await.unwrap();
    assert_eq!(committed(&kafka), [1]);
    assert_misuse(sink.commit_transaction().await, "no transaction is open", ORDER);
}

#[tokio::test(start_paused = true)]
async fn a_guard_without_a_transactional_id() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let plain = KafkaSinkConfig { topic: "numbers".into(), ..Default::default() };
    let sink = KafkaSink::<u32>::builder(plain).transport(kafka.transport()).build().await.unwrap();
    for error in [
        sink.transaction().await.map(drop).unwrap_err(),
        sink.begin_transaction().await.unwrap_err(),
        sink.in_transaction(async |_| Ok::<_, Error>(())).await.unwrap_err(),
    ] {
        assert_consistent(&error);
        assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
        assert!(error.help().contains("`transactional_id`"), "{error:#}");
    }
    // The configuration has transactions, and the transport none.
    let made = KafkaSink::<u32>::builder(config()).transport(kafka.transport()).build().await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn settings_that_cannot_work() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let refused = async |config: KafkaSinkConfig, guarantee: Option<DeliveryGuarantee>| {
        let builder = KafkaSink::<u32>::builder(config).transport(kafka.transactional_transport("id"));
        let builder = match guarantee {
            Some(guarantee) => builder.delivery_guarantee(guarantee),
            None => builder,
        };
        let error = builder.build().await.unwrap_err();
        assert_consistent(&error);
        assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
        format!("{error:#}")
    };
    let plain = KafkaSinkConfig { topic: "numbers".into(), ..Default::default() };
    let text = refused(plain, Some(DeliveryGuarantee::ExactlyOnce)).await;
    assert!(text.contains("ExactlyOnce needs transactions") && text.contains("`transactional_id`"), "{text}");
    let text = refused(KafkaSinkConfig { transactional_id: None, ..config() }, None).await;
    assert!(text.contains("`transactional_id` is missing"), "{text}");
    let text = refused(KafkaSinkConfig { send_timeout_ms: 60_001, ..config() }, None).await;
    assert!(text.contains("transaction.timeout.ms") && text.contains("`send_timeout_ms` (60001)"), "{text}");
}

/// Each would fence the other.
#[tokio::test(start_paused = true)]
async fn two_sinks_with_one_transactional_id() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let build = async |kafka: &MemoryKafka, id: &str| {
        let builder = KafkaSink::<u32>::builder(config());
        builder.transport(kafka.transactional_transport(id)).build().await
    };
    let first = build(&kafka, "id").await.unwrap();
    let tx = first.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    let error = build(&kafka, "id").await.unwrap_err();
    assert_consistent(&error);
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert!(error.message().contains("uses the transactional id \"id\""), "{error:#}");
    assert!(error.help().contains("clone that sink, or close it first"), "{error:#}");
    tx.commit().await.expect("the second sink was refused before it could fence the first");
    assert_eq!(committed(&kafka), [1]);

    // Another id, and another cluster.
    let _another = build(&kafka, "other").await.unwrap();
    let _elsewhere = build(&MemoryKafka::new().with_topic("numbers", 1), "id").await.unwrap();

    // A derived sink shares the producer, and its id.
    let derived = first.clone().with_partition_strategy(kafka_tower::PartitionStrategy::RoundRobin);
    drop(first);
    build(&kafka, "id").await.unwrap_err();
    drop(derived);
    let second = build(&kafka, "id").await.expect("the last handle was dropped");
    second.close().await.unwrap();
    let third = build(&kafka, "id").await.expect("the sink was closed");
    drop(second);
    build(&kafka, "id").await.expect_err("dropping a closed sink releases nothing of the third");
    drop(third);
}

/// A sink that could not be made leaves no claim.
#[tokio::test(start_paused = true)]
async fn a_failed_build_releases_the_transactional_id() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let lost = kafka.script_transactions().on(TransactionCall::Init).always().lose_request();
    let transport = kafka.transactional_transport("id");
    let error = KafkaSink::<u32>::builder(config()).transport(transport).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    lost.cancel();
    sink_over(&kafka).await;
}

/// Calls of the transport's own control are the transport's to judge.
#[tokio::test(start_paused = true)]
async fn the_transports_own_calls_name_the_order_too() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let control: std::sync::Arc<dyn TransactionControl> =
        kafka.transactional_transport("id").control().transactions().unwrap();
    assert_misuse(control.begin(TIME).await, "call init first", ORDER);
}
