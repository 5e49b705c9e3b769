//! Out-of-order calls, and offsets of a consumer that is not a group member.

use std::sync::Arc;

use kafka_tower_core::{ConsumerGroup, Control, ErrorKind, Persistence, Record, Recovery, TopicOffset, Transport};
use kafka_tower_memory::MemoryKafka;

use crate::ends::group;
use crate::support::*;

/// The results of all calls, in order.
async fn script<T: Transport>(
    mut transport: T,
    control: Arc<dyn Control>,
    topic: &str,
) -> Vec<(String, Option<Facts>)> {
    let mut told = Vec::new();
    let transactions = control.transactions().unwrap();
    let offsets = |offset| vec![TopicOffset { topic: topic.into(), partition: 0, offset }];
    let nobody = ConsumerGroup { generation: 3, member_id: "nobody".into(), ..group(topic) };
    for line in [
        "begin", "commit", "abort", "offsets", "send", "init", "init", "commit", "abort", "offsets", "send", "begin",
        "begin", "send", "offsets", "offsets", "commit", "commit", "send", "begin", "abort", "abort", "begin", "send",
        "stranger", "commit", "abort", "begin", "commit",
    ] {
        let facts = match line {
            "init" => facts(transactions.init(WITHIN).await),
            "begin" => facts(transactions.begin(WITHIN).await),
            "commit" => facts(transactions.commit(WITHIN).await),
            "abort" => facts(transactions.abort(WITHIN).await),
            "offsets" => facts(transactions.send_offsets(offsets(5), group(topic), WITHIN).await),
            "stranger" => facts(transactions.send_offsets(offsets(7), nobody.clone(), WITHIN).await),
            _ => {
                let record = Record::new(topic).with_partition(0).with_value("r");
                facts(tower::ServiceExt::ready(&mut transport).await.unwrap().call(record).await)
            }
        };
        told.push((format!("{}: {line}", told.len()), facts));
    }
    told
}

#[tokio::test]
async fn out_of_order_calls_have_the_same_results() {
    let Some(kafka) = real().await else { return };
    let topic = kafka.topic("differential-misuse", 1).await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 1);
    let there = client(&kafka)
        .property("transactional.id", topic.as_str())
        .property("retry.backoff.ms", "100")
        .topic(topic.as_str())
        .connect()
        .await
        .unwrap();
    let here = memory.transactional_transport(topic.as_str());
    let (real_control, our_control) = (there.control(), here.control());
    let real = script(there, real_control, &topic).await;
    let ours = script(here, our_control, &topic).await;
    for (ours, real) in ours.iter().zip(&real) {
        assert_eq!(ours, real, "in memory, and on a real Kafka");
    }
    let rejected = (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted);
    assert!(real.iter().filter(|(_, told)| *told == Some(rejected)).count() > 10, "{real:?}");
    assert_alike(&kafka, &memory, &topic).await;
    let group = group(&topic).group_id;
    assert_eq!(memory.committed_offset(&group, &topic, 0), kafka.committed_offset(&group, &topic, 0).await.unwrap());
}
