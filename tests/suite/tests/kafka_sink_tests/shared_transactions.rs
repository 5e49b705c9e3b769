//! Sinks whose sends share transactions, over the memory transport.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::{
    ConsumerGroup, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, Recovery, Result, SinkMessage,
    TransactionBatchOptions,
};
use kafka_tower_test_texts::assert_consistent;
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig::exactly_once("memory", "numbers", "id")
}

fn options() -> TransactionBatchOptions {
    TransactionBatchOptions::new()
}

async fn build(
    kafka: &MemoryKafka,
    config: KafkaSinkConfig,
    options: TransactionBatchOptions,
) -> Result<KafkaSink<u32>> {
    let lanes = kafka.clone();
    KafkaSink::builder(config)
        .transaction_batch_over(options, move |id: &str| lanes.transactional_transport(id))
        .build()
        .await
}

async fn stage(options: TransactionBatchOptions) -> (MemoryKafka, KafkaSink<u32>) {
    let kafka = MemoryKafka::new().with_topic("numbers", 8);
    let sink = build(&kafka, config(), options).await.unwrap();
    (kafka, sink)
}

fn committed(kafka: &MemoryKafka) -> Vec<u32> {
    let records = kafka.committed("numbers");
    records.iter().map(|stored| String::from_utf8_lossy(stored.value().unwrap()).parse().unwrap()).collect()
}

fn to(partition: i32, value: u32) -> SinkMessage<u32> {
    SinkMessage::new(value).with_partition(partition)
}

fn must_abort() -> Error {
    Error::new(ErrorKind::Transaction, "planted")
        .with_recovery(Recovery::AbortTransaction)
        .with_persistence(Persistence::NotPersisted)
}

#[tokio::test(start_paused = true)]
async fn sends_share_a_transaction_and_are_ok_after_its_commit() {
    let (kafka, sink) = stage(options()).await;
    kafka.script_transactions().on(TransactionCall::Commit).always().delay(10 * MS);
    let start = Instant::now();
    let sent = join_all((0..10).map(|n| sink.send(to(0, n)))).await;
    assert_eq!(start.elapsed(), 60 * MS, "its age and its commit");
    let offsets: Vec<_> = sent.into_iter().map(|sent| sent.unwrap().offset).collect();
    assert_eq!(offsets, (0..10).map(Some).collect::<Vec<_>>());
    assert_eq!((kafka.markers("numbers", 0).len(), committed(&kafka)), (1, (0..10).collect()));
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn flush_cuts_now_and_close_drains() {
    let (kafka, sink) = stage(options().age(5_000 * MS)).await;
    let start = Instant::now();
    let first = tokio::spawn(sink.send(to(0, 1)));
    tokio::task::yield_now().await;
    sink.flush().await.unwrap();
    assert!(first.await.unwrap().is_ok());
    let second = tokio::spawn(sink.send(to(0, 2)));
    tokio::task::yield_now().await;
    sink.close().await.unwrap();
    assert!(second.await.unwrap().is_ok());
    assert_eq!((committed(&kafka), start.elapsed()), (vec![1, 2], Duration::ZERO));
    assert_eq!(sink.send(to(0, 3)).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn lanes_have_ids_of_their_own() {
    let (kafka, sink) = stage(options().lanes(3)).await;
    let rules: Vec<_> = (0..3)
        .map(|lane| {
            let id = format!("id-{lane}");
            kafka.script_transactions().on(TransactionCall::Commit).of_id(id).always().delay(Duration::ZERO)
        })
        .collect();
    let sent = join_all((0..8).map(|n| sink.send(to(n.try_into().unwrap(), n)))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert!(rules.iter().all(|rule| rule.used() > 0), "each lane has committed");
    sink.send(9).await.expect("without a key: the sink picks the partition");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_before_a_transport_is_made() {
    let long = config().with_property("transaction.timeout.ms", "1000000");
    let plain = KafkaSinkConfig { topic: "numbers".into(), ..Default::default() };
    let no_id = KafkaSinkConfig { transactional_id: None, ..config() };
    for (config, options, cure) in [
        (config(), options().lanes(0), "1 or more"),
        (long, options().age(1_001_000 * MS), "lower the age"),
        (plain, options(), "`transactional_id`"),
        (no_id, options(), ""),
        (config(), options().timeout(21_000 * MS), "lower the timeout"),
    ] {
        let made = Arc::new(AtomicUsize::new(0));
        let (kafka, count) = (MemoryKafka::new().with_topic("numbers", 8), Arc::clone(&made));
        let builder = KafkaSink::<u32>::builder(config).transaction_batch_over(options, move |id: &str| {
            count.fetch_add(1, Ordering::Relaxed);
            kafka.transactional_transport(id)
        });
        let error = builder.build().await.unwrap_err();
        assert_consistent(&error);
        assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
        assert!(error.help().contains(cure), "{error:#}");
        assert_eq!(made.load(Ordering::Relaxed), 0);
    }
    let kafka = MemoryKafka::new().with_topic("numbers", 8);
    let (lanes, plain) = (kafka.clone(), kafka.transactional_transport("id"));
    let builder = KafkaSink::<u32>::builder(config());
    let builder = builder.transaction_batch_over(options(), move |id: &str| lanes.transactional_transport(id));
    let error = builder.transport(plain).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("after `transaction_batch`"), "{error}");
}

/// Two sinks of one process would fence each other. The first one goes on.
#[tokio::test(start_paused = true)]
async fn an_id_of_another_sink_is_refused() {
    let (kafka, sink) = stage(options().lanes(2)).await;
    let taken = build(&kafka, config(), options()).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Config);
    assert!(taken.message().contains("\"id-0\""), "{taken}");
    // A sink with transactions of its own, with the id of a lane.
    let other = KafkaSinkConfig { transactional_id: Some("id-1".into()), ..config() };
    let plain = KafkaSink::<u32>::builder(other).transport(kafka.transactional_transport("id-1")).build().await;
    assert!(plain.unwrap_err().message().contains("\"id-1\""));
    assert!(sink.send(to(0, 1)).await.is_ok());
    sink.close().await.unwrap();
    let next = build(&kafka, config(), options()).await.unwrap();
    assert!(next.send(to(0, 2)).await.is_ok());
    assert_eq!(committed(&kafka), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn transactions_of_the_callers_are_refused() {
    let (kafka, sink) = stage(options()).await;
    let group =
        ConsumerGroup { group_id: "g".into(), generation: -1, member_id: String::new(), group_instance_id: None };
    for error in [
        sink.begin_transaction().await.unwrap_err(),
        sink.commit_transaction().await.unwrap_err(),
        sink.abort_transaction().await.unwrap_err(),
        sink.send_offsets(Vec::new(), group).await.unwrap_err(),
        sink.transaction().await.map(drop).unwrap_err(),
        sink.in_transaction(async |_| Ok::<_, Error>(())).await.unwrap_err(),
    ] {
        assert_consistent(&error);
        let facts = (error.kind(), error.recovery(), error.persistence());
        assert_eq!(facts, (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted));
        assert!(error.message().contains("share transactions"), "{error}");
        assert!(error.help().contains("await each send"), "{error}");
    }
    assert!(sink.control().transactions().is_none(), "no way around");
    assert!(sink.send(to(0, 1)).await.is_ok());
    assert_eq!(committed(&kafka), [1]);
}

/// The retry layer is silent: an abort is replayed by the batching layer, in order, and nothing is sent again after an
/// unknown end.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_twice() {
    for (replays, records) in [(3, 3 * 2), (0, 2)] {
        let (kafka, sink) = stage(options().replays(replays)).await;
        let aborts = kafka.script_transactions().on(TransactionCall::Commit).times(2).fail(must_abort());
        let sent = join_all([sink.send(to(0, 1)), sink.send(to(0, 2))]).await;
        assert_eq!(sent.iter().all(Result::is_ok), replays > 0, "{sent:?}");
        assert_eq!(kafka.len("numbers"), records);
        aborts.cancel();
        assert_eq!(sink.metrics().await.retries, 0);
    }
    let (kafka, sink) = stage(options()).await;
    kafka.script_transactions().on(TransactionCall::Commit).always().lose_answer();
    let error = sink.send(to(0, 1)).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    assert_eq!((kafka.len("numbers"), committed(&kafka)), (1, vec![1]));
}

/// The lanes that are no longer used are fenced before the first send.
#[tokio::test(start_paused = true)]
async fn lanes_of_an_earlier_version_are_fenced_first() {
    let (kafka, order) = (MemoryKafka::new().with_topic("numbers", 8), Arc::new(Mutex::new(Vec::new())));
    let mut old = kafka.transactional_transport("id-3");
    let transactions = old.control().transactions().unwrap();
    transactions.init(1_000 * MS).await.unwrap();
    transactions.begin(1_000 * MS).await.unwrap();
    let record = kafka_tower::Record::new("numbers").with_partition(0).with_value("99");
    tower::Service::call(&mut old, record.clone()).await.unwrap();

    let (lanes, made) = (kafka.clone(), Arc::clone(&order));
    let builder = KafkaSink::<u32>::builder(config()).transaction_batch_over(
        options().lanes(2).earlier_lanes(4),
        move |id: &str| {
            made.lock().unwrap().push(id.to_owned());
            lanes.transactional_transport(id)
        },
    );
    let sink = builder.build().await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["id-2", "id-3", "id-0", "id-1"]);
    assert!(sink.send(to(0, 1)).await.is_ok());
    assert_eq!(transactions.commit(1_000 * MS).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(committed(&kafka), [1]);
    // The ids that are no longer used are free.
    let other = KafkaSinkConfig { transactional_id: Some("id-2".into()), ..config() };
    let other = KafkaSink::<u32>::builder(other).transport(kafka.transactional_transport("id-2")).build().await;
    assert!(other.is_ok());
}

/// The coordinator does not answer a commit for two minutes, and fences the producer meanwhile. The sends behind it end by
/// their deadlines, and then the sink goes on.
#[tokio::test(start_paused = true)]
async fn a_lane_comes_back_after_an_outage() {
    let (kafka, sink) = stage(options().lanes(2)).await;
    let outage = kafka.script_transactions().on(TransactionCall::Commit).always().lose_request();
    let start = Instant::now();
    let first = sink.send(to(0, 1)).await.unwrap_err();
    assert_eq!(
        (first.recovery(), first.persistence()),
        (Recovery::Reject, Persistence::PossiblyPersisted),
        "{first:#}"
    );
    assert!(start.elapsed() < 21_000 * MS);
    let second = sink.send(to(0, 2)).await.unwrap_err();
    assert_eq!((second.kind(), second.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted), "{second:#}");
    assert!(second.message().contains("its lane cannot begin a transaction"), "{second:#}");
    tokio::time::sleep(120_000 * MS).await;
    outage.cancel();
    let third = sink.send(to(0, 3)).await;
    assert!(third.is_ok(), "{third:?}");
    assert_eq!(committed(&kafka), [3]);
    // The claims are kept.
    assert!(build(&kafka, config(), options()).await.is_err());
    sink.close().await.unwrap();
    assert!(build(&kafka, config(), options()).await.is_ok());
}

/// What was sent is committed before another sink of the process gets the id.
#[tokio::test(start_paused = true)]
async fn a_sink_that_is_dropped_keeps_its_ids_until_its_sends_are_committed() {
    let (kafka, sink) = stage(options()).await;
    let commit = kafka.script_transactions().on(TransactionCall::Commit).always().delay(1_000 * MS);
    let sent = tokio::spawn(sink.send(to(0, 1)));
    tokio::task::yield_now().await;
    sent.abort();
    drop(sink);
    tokio::time::sleep(500 * MS).await;
    assert!(build(&kafka, config(), options()).await.is_err());
    tokio::time::sleep(1_000 * MS).await;
    commit.cancel();
    assert_eq!(committed(&kafka), [1]);
    assert!(build(&kafka, config(), options()).await.is_ok());
}
