//! Dead letters that are in the transaction.

use std::time::Duration;

use kafka_tower::layers::dead_letter::{DeadLetterLayer, DeadLetterStyle};
use kafka_tower::layers::serialize::SerializeLayer;
use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::source::{FailurePolicy, SourceErrorKind};
use kafka_tower::{Error, ErrorKind, KafkaSink, Persistence, Recovery, SinkMessage, SourceMessage};
use tower::ServiceBuilder;

use super::support::{Ended, bill, bills, ended, kafka, letters, members, offsets, sink, until_idle};
use crate::support::{append_text, committed};

/// Of each partition 20 records: the third cannot be decoded, and the handler fails for the sixth.
async fn filled() -> MemoryKafka {
    let kafka = kafka(2);
    for partition in 0..2 {
        for value in 0..20 {
            append_text(&kafka, partition, &if value == 3 { "no number".to_owned() } else { value.to_string() }).await;
        }
    }
    kafka
}

async fn fails(order: SourceMessage<u32>) -> Result<Vec<SinkMessage<u32>>, &'static str> {
    if order.offset() == 6 { Err("planted") } else { Ok(vec![bill(&order)]) }
}

async fn run(kafka: &MemoryKafka, layer: DeadLetterLayer) -> Ended {
    let policy = FailurePolicy::retry(1).backoff(Duration::from_millis(10), Duration::from_millis(10));
    let run = members(kafka).await.transactional(sink(kafka, "billing-1").await, fails).on_failure(policy);
    ended(run.dead_letters(layer).max_records(7).until(until_idle(kafka)).into_future()).await
}

/// The rest has its bills, and each of the two its letter.
fn assert_dead_lettered(kafka: &MemoryKafka, ended: Ended) {
    let report = ended.unwrap();
    assert_eq!((report.settled, report.dead_lettered, report.is_complete()), (36, 4, true), "{report}");
    let expected: Vec<_> = (0..20).filter(|value| *value != 3 && *value != 6).collect();
    for partition in 0..2 {
        assert_eq!((bills(kafka, partition), letters(kafka, partition)), (expected.clone(), vec![3, 6]));
        assert_eq!(committed(kafka, partition), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_handled_is_dead_lettered_and_the_rest_goes_on() {
    let kafka = filled().await.with_topic("orders.dlq", 2);
    assert_dead_lettered(&kafka, run(&kafka, DeadLetterLayer::default()).await);
    let letters = kafka.committed("orders.dlq");
    let header = |index: usize, name| letters[index].record.headers.get(name).cloned();
    assert_eq!((letters[0].value().unwrap(), letters[1].value().unwrap()), (&"no number".into(), &"6".into()));
    let [error, attempts, group] = ["error", "attempts", "group"].map(|name| format!("kafka-tower-dlq-{name}"));
    assert_eq!((header(0, &error), header(0, &attempts)), (Some("Decode".into()), Some("1".into())));
    assert_eq!((header(1, &error), header(1, &attempts)), (Some("Handler".into()), Some("2".into())));
    assert_eq!((header(1, &group), letters[1].record.headers.get("content-type")), (Some("billing".into()), None));
}

/// With the transaction, and so once for those who read what is committed.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_aborted_with_its_transaction() {
    let kafka = filled().await.with_topic("orders.dlq", 2);
    let abort = Error::new(ErrorKind::Transaction, "planted").with_recovery(Recovery::AbortTransaction);
    let abort = abort.with_persistence(Persistence::NotPersisted);
    let rule = kafka.script_transactions().on(TransactionCall::Commit).times(3).fail(abort);
    assert_dead_lettered(&kafka, run(&kafka, DeadLetterLayer::default()).await);
    assert_eq!(rule.used(), 3);
    assert!(kafka.records("orders.dlq").len() > 4, "the first ones were aborted");
}

#[tokio::test(start_paused = true)]
async fn letters_go_where_their_key_belongs_if_their_topic_has_fewer_partitions() {
    let kafka = filled().await.with_topic("dead", 1);
    assert_dead_lettered(&kafka, run(&kafka, DeadLetterLayer::new(DeadLetterStyle::Own).topic("dead")).await);
    assert_eq!(kafka.committed("dead").len(), 4);
}

/// Nothing is settled without its letter.
#[tokio::test(start_paused = true)]
async fn a_letter_that_is_not_delivered_ends_it_at_last() {
    let kafka = filled().await;
    let error = run(&kafka, DeadLetterLayer::default()).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transaction, "{error}");
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>()).unwrap();
    assert_eq!(cause.kind(), ErrorKind::UnknownTopicOrPartition);
    assert_eq!((bills(&kafka, 0).len(), offsets(&kafka)), (0, vec![0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_refused_ends_it_after_what_comes_before() {
    let kafka = filled().await.with_topic("orders.dlq", 2);
    let error = run(&kafka, DeadLetterLayer::default().max_hops(0)).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::DeadLetter, "{error}");
    let (at, offset) = error.place().unwrap();
    assert_eq!((offset, bills(&kafka, at.partition)), (3, vec![0, 1, 2]));
    assert_eq!((committed(&kafka, at.partition), kafka.records("orders.dlq").len()), (3, 0));
    assert!(!error.close_report().unwrap().is_complete());
}

/// A dead letter that is the last of its partition, and one that is alone in its transaction.
#[tokio::test(start_paused = true)]
async fn a_letter_is_enough_for_a_transaction() {
    let kafka = kafka(1).with_topic("orders.dlq", 1);
    for _ in 0..3 {
        append_text(&kafka, 0, "no number").await;
    }
    let run = members(&kafka).await.transactional(sink(&kafka, "billing-1").await, fails);
    let run = run.dead_letters(DeadLetterLayer::default()).max_records(2).until(until_idle(&kafka));
    let report = ended(run.into_future()).await.unwrap();
    assert_eq!((report.settled, report.dead_lettered), (0, 3), "{report}");
    assert_eq!((letters(&kafka, 0), committed(&kafka, 0)), (vec![0, 1, 2], 3));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_outside_of_the_transaction_are_refused() {
    let kafka = filled().await.with_topic("orders.dlq", 2);
    let service = ServiceBuilder::new().layer(DeadLetterLayer::default()).service(kafka.transport());
    let run = members(&kafka).await.transactional(sink(&kafka, "billing-1").await, fails);
    let run = run.on_failure(FailurePolicy::retry(1).then_dead_letter(service));
    assert_eq!(ended(run.into_future()).await.unwrap_err().kind(), SourceErrorKind::Config);

    let transport = kafka.transactional_transport("billing-2");
    let control = transport.control();
    let stack = ServiceBuilder::new().layer(SerializeLayer::json("bills")).service(transport);
    let sink = KafkaSink::<u32>::from_service(stack, control, Duration::from_secs(5));
    let run = members(&kafka).await.transactional(sink, fails).dead_letters(DeadLetterLayer::default());
    let error = ended(run.into_future()).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Config, "{error}");
}
