//! Records that cannot be decoded go to a dead letter topic: what a user sees, laws with planted defects, and random runs.

mod laws;
mod random;
mod serve;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::layers::dead_letter::{DeadLetterLayer, DeadLetterStyle, FailedRecord};
use kafka_tower::layers::serialize::BytesSerializer;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::{Acked, DecodePolicy, SourceErrorKind, SourceRecovery};
use kafka_tower::{
    CommitStrategy, Error, ErrorKind, Headers, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Persistence,
    Record, Result, SinkMessage,
};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{
    GROUP, LONG, SECOND, TOPIC, append, append_text, committed, config, each_seed, kafka, next, other_member,
};

const DEAD: &str = "orders.dlq";

/// The dead letter layer over the in-memory Kafka.
fn letters(kafka: &MemoryKafka) -> impl Service<FailedRecord, Error = Error, Future: Send> + Clone + Send + 'static {
    ServiceBuilder::new().layer(DeadLetterLayer::default()).service(kafka.transport())
}

async fn source_with<S>(kafka: &MemoryKafka, letters: S) -> KafkaSource<u32>
where
    S: Service<FailedRecord, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
    builder.on_decode_error(DecodePolicy::dead_letter(letters)).build().await.unwrap()
}

/// Partition and offset of the originals of all dead letters, in the order of the log.
fn originals(kafka: &MemoryKafka) -> Vec<(i32, i64)> {
    let number =
        |headers: &Headers, name| -> i64 { std::str::from_utf8(headers.get(name).unwrap()).unwrap().parse().unwrap() };
    let of = |headers: &Headers| {
        (number(headers, "kafka-tower-dlq-partition") as i32, number(headers, "kafka-tower-dlq-offset"))
    };
    kafka.records(DEAD).iter().map(|letter| of(&letter.record.headers)).collect()
}

fn planted(persistence: Persistence) -> Error {
    Error::new(ErrorKind::Broker, "planted").with_persistence(persistence)
}

/// Waits for a permit for each dead letter, and then sends it.
fn gated(
    kafka: &MemoryKafka,
) -> (Arc<Semaphore>, impl Service<FailedRecord, Response = (), Error = Error, Future: Send> + Clone + Send + 'static) {
    let gate = Arc::new(Semaphore::new(0));
    let (opens, letters) = (Arc::clone(&gate), letters(kafka));
    let service = service_fn(move |failed| {
        let (gate, letters) = (Arc::clone(&gate), letters.clone());
        async move {
            gate.acquire().await.unwrap().forget();
            letters.oneshot(failed).await.map(drop)
        }
    });
    (opens, service)
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_the_original_with_its_provenance() {
    let kafka = kafka(2).with_topic(DEAD, 2);
    append(&kafka, 1, 0..1).await;
    let mut headers = Headers::new();
    headers.push("region", "eu");
    let value = Bytes::from_static(&[0, 159, 146, 150]);
    let poison = Record::new(TOPIC).with_partition(1).with_key("k").with_value(value.clone()).with_headers(headers);
    kafka.transport().call(poison).await.unwrap();
    append(&kafka, 1, 1..2).await;
    let mut source = source_with(&kafka, letters(&kafka)).await;
    for value in 0..2 {
        let message = next(&mut source).await;
        assert_eq!(message.value(), Some(&value));
        message.ack();
    }
    let report = source.close().await;
    assert_eq!((report.settled, report.skipped, report.dead_lettered, report.is_complete()), (2, 0, 1, true));
    assert_eq!(report.to_string(), "2 acknowledged, 0 skipped, 1 dead-lettered");
    assert_eq!(committed(&kafka, 1), 3);
    let letter = &kafka.records(DEAD)[0];
    assert_eq!((letter.partition, letter.key().unwrap(), letter.value().unwrap()), (1, &"k".into(), &value));
    let names = ["topic", "partition", "offset", "group", "attempts", "error", "reason"];
    let header = |name: &str| letter.record.headers.get(&format!("kafka-tower-dlq-{name}")).unwrap().clone();
    let expected = [TOPIC, "1", "1", GROUP, "1", "Decode", "the record could not be decoded"];
    assert_eq!(names.map(header), expected.map(Bytes::from));
    assert_eq!(letter.record.headers.get("region").unwrap(), "eu");
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_bytes_is_a_target() {
    let kafka = kafka(1).with_topic("dead", 1);
    append_text(&kafka, 0, "bad").await;
    let config = KafkaSinkConfig { topic: "unused".into(), ..Default::default() };
    let sink = KafkaSink::<Bytes>::builder(config).serializer(Arc::new(BytesSerializer));
    let sink = sink.transport(kafka.transport()).build().await.unwrap();
    let letters = ServiceBuilder::new()
        .layer(DeadLetterLayer::new(DeadLetterStyle::Spring).topic("dead"))
        .map_request(SinkMessage::from_record)
        .service(sink.clone());
    let mut source = source_with(&kafka, letters).await;
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!((source.close().await.dead_lettered, committed(&kafka, 0)), (1, 1));
    let letter = &kafka.records("dead")[0];
    assert_eq!(letter.value().unwrap(), "bad");
    assert_eq!(letter.record.headers.get("kafka_dlt-original-offset").unwrap().as_ref(), [0; 8]);
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_letter_is_an_error_and_its_partition_waits() {
    for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
        let kafka = kafka(2).with_topic(DEAD, 2);
        append_text(&kafka, 0, "bad").await;
        append(&kafka, 0, 1..2).await;
        kafka.script().times(2).fail(planted(persistence));
        let mut source = source_with(&kafka, letters(&kafka)).await;
        let mut errors = 0;
        // What was read behind it may come first. It comes again.
        let error = loop {
            match timeout(LONG, source.recv()).await.unwrap() {
                Ok(message) => assert_eq!(message.ack(), Acked::Counted),
                Err(error) => {
                    errors += 1;
                    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::DeadLetter, SourceRecovery::Settle));
                    assert_eq!((error.place().unwrap().1, error.record().unwrap().offset), (0, 0));
                    let shown = format!("{error}");
                    assert_eq!(shown.contains("may not have been"), persistence == Persistence::PossiblyPersisted);
                    assert!(!shown.contains("bad"), "{shown}");
                    if errors == 2 {
                        break error;
                    }
                }
            }
            assert_eq!(committed(&kafka, 0), 0);
        };
        append(&kafka, 0, 2..3).await;
        append(&kafka, 1, 7..8).await;
        let other = next(&mut source).await;
        assert_eq!((other.partition(), other.value()), (1, Some(&7)), "others go on");
        other.ack();
        assert!(timeout(LONG, source.recv()).await.is_err(), "its partition waits");
        drop(error);
        let mut last = 0;
        while let Ok(message) = timeout(LONG, source.recv()).await {
            let message = message.unwrap();
            last = message.offset();
            message.ack();
        }
        assert_eq!((last, committed(&kafka, 0), originals(&kafka)), (2, 3, vec![(0, 0)]));
        assert_eq!(source.close().await.dead_lettered, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn by_hand() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_text(&kafka, 0, "bad").await;
    let mut source =
        KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone()).build().await.unwrap();
    let error = source.recv().await.unwrap_err();
    kafka.script().fail(planted(Persistence::PossiblyPersisted));
    let error = error.dead_letter(letters(&kafka)).await.unwrap_err();
    assert_eq!((error.kind(), committed(&kafka, 0)), (SourceErrorKind::DeadLetter, 0));
    assert!(timeout(LONG, source.recv()).await.is_err(), "it is still in our hands");
    assert_eq!(error.dead_letter(letters(&kafka)).await.unwrap(), Acked::Counted);
    assert_eq!(originals(&kafka), [(0, 0)]);
    let report = source.close().await;
    assert_eq!((report.dead_lettered, report.skipped, committed(&kafka, 0)), (1, 0, 1));
    let closed = source.recv().await.unwrap_err();
    assert_eq!(closed.dead_letter(letters(&kafka)).await.unwrap_err().kind(), SourceErrorKind::Closed, "no record");
}

#[tokio::test(start_paused = true)]
async fn a_record_of_the_dead_letter_topic_is_not_dead_lettered() {
    let kafka = MemoryKafka::new().with_topic(DEAD, 1);
    kafka.transport().call(Record::new(DEAD).with_value("bad")).await.unwrap();
    let config = KafkaSourceConfig { topics: vec![DEAD.into()], ..config(CommitStrategy::Each) };
    let builder = KafkaSource::<u32>::builder(config).transport(kafka.clone());
    let mut source = builder.on_decode_error(DecodePolicy::dead_letter(letters(&kafka))).build().await.unwrap();
    let error = source.recv().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::DeadLetter);
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Refused);
    error.skip();
    assert_eq!((source.close().await.skipped, kafka.len(DEAD)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_waits_for_a_letter_and_nobody_needs_to_receive() {
    for (delay, letters_sent) in [(3, 1), (30, 2)] {
        let kafka = kafka(1).with_topic(DEAD, 1);
        append_text(&kafka, 0, "bad").await;
        let (gate, service) = gated(&kafka);
        let mut first = source_with(&kafka, service.clone()).await;
        assert!(timeout(SECOND, first.recv()).await.is_err());
        let start = tokio::time::Instant::now();
        let opens = tokio::spawn(async move {
            sleep(Duration::from_secs(delay)).await;
            gate.add_permits(10);
        });
        let other = other_member(&kafka).await;
        assert_eq!(start.elapsed().as_secs(), delay.min(10));
        assert_eq!(committed(&kafka, 0), i64::from(delay < 10));
        opens.await.unwrap();
        drop(other);
        assert!(timeout(LONG, first.recv()).await.is_err());
        assert_eq!(committed(&kafka, 0), 1);
        assert_eq!(originals(&kafka), vec![(0, 0); letters_sent], "it may double, and is not lost");
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_fails_in_a_drain_does_not_hold_it_up() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_text(&kafka, 0, "bad").await;
    let fails = service_fn(|_: FailedRecord| async {
        sleep(3 * SECOND).await;
        Err::<(), _>(planted(Persistence::NotPersisted))
    });
    let mut source = source_with(&kafka, fails).await;
    assert!(timeout(SECOND, source.recv()).await.is_err());
    let start = tokio::time::Instant::now();
    let report = source.close().await;
    assert_eq!(start.elapsed(), 2 * SECOND);
    assert_eq!((report.dead_lettered, report.unsettled[0].records, committed(&kafka, 0)), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_close_waits_for_letters() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_text(&kafka, 0, "bad").await;
    kafka.script().delay(5 * SECOND);
    let mut source = source_with(&kafka, letters(&kafka)).await;
    assert!(timeout(SECOND, source.recv()).await.is_err());
    let report = source.close().await;
    assert_eq!((report.dead_lettered, report.is_complete(), committed(&kafka, 0)), (1, true, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn an_expelled_member_loses_no_letter() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_text(&kafka, 0, "bad").await;
    let (gate, service) = gated(&kafka);
    let mut source = source_with(&kafka, service).await;
    assert!(timeout(SECOND, source.recv()).await.is_err());
    assert_eq!(kafka.expel_members(GROUP), 1);
    gate.add_permits(10);
    loop {
        match timeout(LONG, source.recv()).await {
            Ok(Err(error)) => assert_eq!(error.kind(), SourceErrorKind::PartitionsLost),
            Ok(Ok(_)) => panic!("there is no message"),
            Err(_) => break,
        }
    }
    assert_eq!((originals(&kafka), committed(&kafka, 0)), (vec![(0, 0); 2], 1));
}

/// The target is down: memory is bounded, and everything is sent when it is up.
#[tokio::test(start_paused = true)]
async fn at_most_64_letters_are_under_way() {
    let kafka = kafka(2).with_topic(DEAD, 2);
    for at in 0..300 {
        append_text(&kafka, at % 2, "bad").await;
    }
    append(&kafka, 0, 7..8).await;
    let (gate, service) = gated(&kafka);
    let waiting = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&waiting);
    let service = service_fn(move |failed| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        service.clone().oneshot(failed)
    });
    let mut source = source_with(&kafka, service).await;
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(waiting.load(std::sync::atomic::Ordering::Relaxed), 64);
    gate.add_permits(300);
    let message = next(&mut source).await;
    assert_eq!(message.value(), Some(&7));
    message.ack();
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(source.close().await.dead_lettered, 300);
    assert_eq!(originals(&kafka).len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_loses_nothing() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_text(&kafka, 0, "bad").await;
    let inner = letters(&kafka);
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let service = service_fn(move |failed| {
        let (call, letters) = (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed), inner.clone());
        async move {
            assert!(call > 0, "planted");
            letters.oneshot(failed).await
        }
    });
    let mut source = source_with(&kafka, service).await;
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!((originals(&kafka), committed(&kafka, 0)), (vec![(0, 0)], 1));
}

#[tokio::test(start_paused = true)]
async fn messages_keep_their_bytes_only_if_they_are_asked_to() {
    for keep in [false, true] {
        let kafka = kafka(1);
        append_text(&kafka, 0, " 7 ").await;
        kafka.transport().call(Record::new(TOPIC).with_key("k")).await.unwrap();
        let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
        let mut source = builder.keep_raw(keep).build().await.unwrap();
        let (first, second) = (next(&mut source).await, next(&mut source).await);
        assert_eq!(first.value(), Some(&7));
        assert_eq!(first.raw().map(|raw| raw.value.unwrap()), keep.then(|| " 7 ".into()));
        let tombstone = second.raw().map(|raw| (raw.key, raw.value, raw.offset));
        assert_eq!(tombstone, keep.then(|| (Some("k".into()), None, 1)));
    }
}

/// Fails with an error for each call.
#[derive(Clone)]
struct NeverReady;

impl Service<FailedRecord> for NeverReady {
    type Response = ();
    type Error = Error;
    type Future = std::future::Ready<Result<()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Err(planted(Persistence::NotPersisted)))
    }

    fn call(&mut self, _: FailedRecord) -> Self::Future {
        panic!("it is not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_is_a_failure() {
    let kafka = kafka(1);
    append_text(&kafka, 0, "bad").await;
    let mut source = source_with(&kafka, NeverReady).await;
    assert_eq!(source.recv().await.unwrap_err().kind(), SourceErrorKind::DeadLetter);
}
