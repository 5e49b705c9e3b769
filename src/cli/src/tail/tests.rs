use kafka_tower::memory::MemoryKafka;
use kafka_tower::{KafkaSink, KafkaSinkConfig, TopicPartition};

use super::*;

/// A topic with so many messages that the source always has one.
const MESSAGES: i64 = 5_000;

async fn tail(is_member: bool, until: i64) -> Tail<Vec<u8>> {
    let kafka = MemoryKafka::new().with_topic("t", 1);
    let config = KafkaSinkConfig { topic: "t".into(), ..Default::default() };
    let sink = KafkaSink::<i64>::builder(config).transport(kafka.transport()).build().await.unwrap();
    assert!(sink.send_batch(0..MESSAGES).await.unwrap().iter().all(Result::is_ok));
    let config = KafkaSourceConfig { group_id: "g".into(), topics: vec!["t".into()], ..Default::default() };
    let span = Span { begin: None, end: until };
    Tail {
        source: fixed::of_bytes(config).transport(kafka).build().await.unwrap(),
        limits: Limits { count: None, until: Some([(TopicPartition::new("t", 0), span)].into()) },
        is_member,
        json: false,
        terminal: false,
        output: BufWriter::new(Vec::new()),
        written: Vec::new(),
        failed: 0,
    }
}

#[tokio::test]
async fn it_ends_while_there_is_always_another_message() {
    for is_member in [false, true] {
        let mut tail = tail(is_member, 3).await;
        tail.read().await.unwrap();
        assert_eq!(tail.output.get_ref(), b"0\n1\n2\n");
        assert_eq!(tail.source.checkpoint().get("t", 0), Some(3), "nothing more is acknowledged");
    }
}

#[tokio::test]
async fn what_was_printed_is_acknowledged_at_the_end() {
    let mut tail = tail(true, i64::MAX).await;
    tail.limits.count = Some(2_500);
    tail.read().await.unwrap();
    assert_eq!(tail.source.checkpoint().get("t", 0), Some(2_500));
    assert_eq!((tail.output.get_ref().iter().filter(|byte| **byte == b'\n').count(), tail.written.len()), (2_500, 0));
}
