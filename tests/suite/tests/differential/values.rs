//! Records of every shape, one by one: the in-memory Kafka accepts and refuses the same records as a real one.

use kafka_tower_core::{Headers, Persistence, Record, Timestamp, Transport};
use kafka_tower_memory::MemoryKafka;
use tower::ServiceExt;

use crate::support::*;

const HOUR_MS: i64 = 3_600_000;

fn records(topic: &str) -> Vec<(&'static str, Record)> {
    let base = || Record::new(topic).with_partition(0).with_value("v");
    let header = |name: &str| {
        let mut headers = Headers::new();
        headers.push(name.to_owned(), "value");
        headers.push_null(name.to_owned());
        base().with_headers(headers)
    };
    let now = Timestamp::now().as_millis();
    let at = |millis: i64| base().with_timestamp(Timestamp::from_millis(millis));
    let to = |name: &str| Record::new(name).with_value("v");
    vec![
        ("a header without a name", header("")),
        ("a header with a line break", header("a\r\nb")),
        ("a header with a control character", header("\u{1b}[31m")),
        ("a header with a NUL", header("a\0b")),
        ("a header beyond ASCII", header("größe")),
        ("a header with a long name", header(&"x".repeat(40_000))),
        ("an empty key", base().with_key("")),
        ("a key with a NUL", base().with_key("a\0b")),
        ("an empty value", base().with_value("")),
        ("before 1970", at(-1)),
        ("a far past", at(i64::MIN)),
        ("1970", at(0)),
        ("just after 1970", at(1)),
        ("ten years ago", at(now - 10 * 365 * 24 * HOUR_MS)),
        ("half an hour ahead", at(now + HOUR_MS / 2)),
        ("two hours ahead", at(now + 2 * HOUR_MS)),
        ("the end of time", at(i64::MAX)),
        ("a negative partition", base().with_partition(-1)),
        ("a partition that is none", base().with_partition(7)),
        ("the last partition of all", base().with_partition(i32::MAX)),
        ("no topic", to("")),
        ("a topic named .", to(".")),
        ("a topic with a space", to("a b")),
        ("a topic with a NUL", to("a\0b")),
        ("a topic with too long a name", to(&"x".repeat(250))),
    ]
}

async fn send<T: Transport>(mut transport: T, topic: &str) -> Vec<(&'static str, Option<Facts>)> {
    let mut told = Vec::new();
    for (what, record) in records(topic) {
        let answer = transport.ready().await.unwrap().call(record);
        told.push((what, facts(tokio::time::timeout(WITHIN, answer).await.expect(what))));
    }
    told
}

#[tokio::test]
async fn both_accept_and_refuse_the_same_records() {
    let Some(kafka) = real().await else { return };
    let topic = kafka.topic("differential-values", 1).await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 1);
    let there = client(&kafka).topic(topic.as_str()).connect().await.unwrap();
    let real = send(there, &topic).await;
    let ours = send(memory.transport(), &topic).await;
    for (ours, real) in ours.iter().zip(&real) {
        assert_eq!(ours, real, "in memory, and on a real Kafka");
    }
    let refused = |told: &str| real.iter().find(|(what, _)| *what == told).unwrap().1;
    for taken in records(&topic).iter().map(|(what, _)| *what).filter(|what| what.starts_with("a header")) {
        assert_eq!(refused(taken), None, "{taken}");
    }
    assert!(refused("two hours ahead").is_some_and(|(_, _, persistence)| persistence == Persistence::NotPersisted));
    let of = |log: Log| log.len();
    assert_eq!(
        of(read(&kafka, &topic, kafka_tower_testkit::kafka::Isolation::Uncommitted).await),
        memory.records(&topic).len()
    );
}
