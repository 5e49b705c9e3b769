//! Records that cannot be decoded go to a dead letter topic of a real Kafka, which has fewer partitions.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::layers::dead_letter::{DeadLetterLayer, FailedRecord};
use kafka_tower::layers::deserialize::BytesDeserializer;
use kafka_tower::layers::serialize::BytesSerializer;
use kafka_tower::source::{DecodePolicy, FailurePolicy, SourceErrorKind};
use kafka_tower::{
    BoxError, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Record, SinkMessage, SourceMessage,
};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use tokio::time::{sleep, timeout};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::read::{PATIENCE, config, no_lag};
use crate::support::Kind;

async fn sink_of_bytes(kafka: &Cluster, topic: &str) -> KafkaSink<Bytes> {
    let config =
        KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic: topic.to_owned(), ..Default::default() };
    KafkaSink::builder(config).serializer(Arc::new(BytesSerializer)).build().await.unwrap()
}

fn number(bytes: &Bytes) -> i64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_delivers_every_dead_letter_before_its_record_is_committed() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("poison", 3).await.unwrap();
    let dead = kafka.topic("dead", 2).await.unwrap();
    let sink = sink_of_bytes(kafka, &topic).await;
    let records = (0..300).map(|number| {
        let text = if number % 10 == 3 { format!("poison {number}") } else { number.to_string() };
        let record = Record::new(&*topic).with_partition(number % 3).with_key(number.to_string()).with_value(text);
        SinkMessage::from_record(record)
    });
    for outcome in sink.send_batch(records.collect::<Vec<_>>()).await.unwrap() {
        outcome.unwrap();
    }
    let letters = ServiceBuilder::new()
        .layer(DeadLetterLayer::default().topic(&*dead))
        .map_request(SinkMessage::from_record)
        .service(sink_of_bytes(kafka, &dead).await);
    let read = config(kafka, &topic, Kind::Cooperative);
    let builder = KafkaSource::<u32>::builder(read.clone()).on_decode_error(DecodePolicy::dead_letter(letters));
    let mut source = builder.build().await.unwrap();
    let mut handled = BTreeSet::new();
    while handled.len() < 270 {
        let message =
            timeout(PATIENCE, source.recv()).await.expect("in time").unwrap_or_else(|error| panic!("{error:?}"));
        message.ack();
        handled.insert(*message.value().unwrap());
    }
    // The rest of the poison is read, and its letters are sent in the background.
    assert!(timeout(Duration::from_secs(2), source.recv()).await.is_err());
    no_lag(kafka, &topic, &read.group_id).await;
    let report = source.close().await;
    assert_eq!((report.settled, report.dead_lettered, report.skipped, report.is_complete()), (270, 30, 0, true));

    let dead_config = KafkaSourceConfig { topics: vec![dead.clone()], ..config(kafka, &dead, Kind::Cooperative) };
    let builder = KafkaSource::<Bytes>::builder(dead_config).deserializer(Arc::new(BytesDeserializer));
    let mut letters = builder.build().await.unwrap();
    let mut originals = BTreeSet::new();
    for _ in 0..30 {
        let letter = timeout(PATIENCE, letters.recv()).await.expect("in time").unwrap();
        let header = |name: &str| letter.headers().get(&format!("kafka-tower-dlq-{name}")).unwrap();
        let key = letter.key().unwrap();
        assert_eq!(letter.value().unwrap(), &format!("poison {}", number(key)));
        let partition = number(header("partition"));
        assert_eq!(partition, number(key) % 3);
        assert!(partition == 2 || letter.partition() == partition as i32, "the same one, if it exists");
        assert_eq!(
            (header("topic"), header("group")),
            (&Bytes::from(topic.clone()), &Bytes::from(read.group_id.clone()))
        );
        assert!(originals.insert((partition, number(header("offset")))));
        letter.ack();
    }
    assert!(letters.close().await.is_complete());
}

/// Members come and go while dead letters are under way, by `serve` and for records that cannot be decoded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalances_lose_no_record() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("moved", 4).await.unwrap();
    let dead = kafka.topic("moved-dead", 4).await.unwrap();
    let sink = sink_of_bytes(kafka, &topic).await;
    // A third cannot be decoded, and a third is not handled.
    let text = |number: i32| if number % 3 == 0 { format!("poison {number}") } else { number.to_string() };
    let records = (0..600).map(|number| {
        SinkMessage::from_record(Record::new(&*topic).with_partition(number % 4).with_value(text(number)))
    });
    for outcome in sink.send_batch(records.collect::<Vec<_>>()).await.unwrap() {
        outcome.unwrap();
    }
    let to_dead = ServiceBuilder::new()
        .layer(DeadLetterLayer::default().topic(&*dead))
        .map_request(SinkMessage::from_record)
        .service(sink_of_bytes(kafka, &dead).await);
    let slow = service_fn(move |failed: FailedRecord| {
        let to_dead = to_dead.clone();
        async move {
            sleep(Duration::from_millis(300)).await;
            to_dead.oneshot(failed).await
        }
    });
    let handled: Arc<Mutex<BTreeSet<u32>>> = Arc::default();
    let read = config(kafka, &topic, Kind::Cooperative);
    let start = |lives: Duration| {
        let (read, slow, handled) = (read.clone(), slow.clone(), Arc::clone(&handled));
        tokio::spawn(async move {
            let policy = DecodePolicy::dead_letter(slow.clone());
            let source = KafkaSource::<u32>::builder(read).on_decode_error(policy).build().await.unwrap();
            let handle = service_fn(move |message: SourceMessage<u32>| {
                let number = *message.value().unwrap();
                if number % 3 == 2 {
                    return ready(Err(BoxError::from("planted")));
                }
                handled.lock().unwrap().insert(number);
                ready(Ok(()))
            });
            let serve = source.serve(handle).concurrency(8).on_failure(FailurePolicy::fail().then_dead_letter(slow));
            serve.until(sleep(lives)).await.unwrap_or_else(|error| panic!("{error:?}"))
        })
    };
    let first = start(Duration::from_secs(4));
    sleep(Duration::from_secs(1)).await;
    let killed = start(Duration::from_secs(60));
    sleep(Duration::from_secs(1)).await;
    killed.abort();
    let last = start(Duration::from_secs(20));
    let (first, last) = (first.await.unwrap(), last.await.unwrap());
    assert!(first.dead_lettered > 0 && last.dead_lettered > 0, "{first}; {last}");
    no_lag(kafka, &topic, &read.group_id).await;
    assert_eq!(*handled.lock().unwrap(), (0..600).filter(|number| number % 3 == 1).collect());

    let dead_config = KafkaSourceConfig { topics: vec![dead.clone()], ..config(kafka, &dead, Kind::Cooperative) };
    let builder = KafkaSource::<Bytes>::builder(dead_config).deserializer(Arc::new(BytesDeserializer));
    let mut letters = builder.build().await.unwrap();
    let mut found = BTreeSet::new();
    while found.len() < 400 {
        let letter = timeout(PATIENCE, letters.recv()).await.expect("a letter in time").unwrap();
        found.insert(letter.value().unwrap().clone());
        letter.ack();
    }
    let expected = (0..600).filter(|number| number % 3 != 1).map(|number| Bytes::from(text(number)));
    assert_eq!(found, expected.collect());
    assert!(letters.close().await.is_complete());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_dead_letter_topic_is_an_error_and_nothing_is_committed() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("poison", 1).await.unwrap();
    let sink = sink_of_bytes(kafka, &topic).await;
    sink.send(SinkMessage::from_record(Record::new(&*topic).with_value("poison"))).await.unwrap();
    let letters = ServiceBuilder::new()
        .layer(DeadLetterLayer::default().topic(format!("{topic}-missing")).timeout(Duration::from_secs(20)))
        .map_request(SinkMessage::from_record)
        .service(sink);
    let read = config(kafka, &topic, Kind::Cooperative);
    let builder = KafkaSource::<u32>::builder(read.clone()).on_decode_error(DecodePolicy::dead_letter(letters));
    let mut source = builder.build().await.unwrap();
    let error = timeout(PATIENCE, source.recv()).await.expect("in time").unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::DeadLetter, "{error:?}");
    assert_eq!(error.record().unwrap().value.as_deref(), Some(&b"poison"[..]));
    let report = source.close().await;
    assert_eq!((report.dead_lettered, report.unsettled.len()), (0, 1));
    assert_eq!(kafka.committed_offset(&read.group_id, &topic, 0).await.unwrap().unwrap_or(0), 0);
}
