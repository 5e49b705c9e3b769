//! The connection to the coordinator of a consumer's group is slow, and not silent.

use std::time::Duration;

use kafka_tower_core::{ConsumerGroup, ErrorKind, Persistence, Recovery, TopicOffset};
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey, Direction};
use kafka_tower_testkit::kafka::{Cluster, Listener};
use tokio::time::Instant;

use crate::support::*;

const GROUP: &str = "slow-group";
const TOPIC: &str = "slow";
/// Of one way: a request and its answer take longer than the 3 s after which offsets count as lost without either.
const DELAY: Duration = Duration::from_secs(2);
const LOST_AFTER: Duration = Duration::from_secs(3);

fn group() -> ConsumerGroup {
    ConsumerGroup { group_id: GROUP.into(), generation: -1, member_id: String::new(), group_instance_id: None }
}

fn offsets(topic: &str) -> Vec<TopicOffset> {
    vec![TopicOffset { topic: topic.into(), partition: 0, offset: 7 }]
}

/// The producer may have to connect to the coordinator of the group, or has a connection already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_get_into_their_transaction_although_the_connection_to_the_coordinator_is_slow() {
    let started = Cluster::builder().brokers(2).listener(Listener::Proxy).start().await.unwrap();
    let Some(kafka) = started else { return };
    let proxy = kafka.proxy().unwrap();
    kafka.committed_offset(GROUP, TOPIC, 0).await.unwrap(); // so that the group has a coordinator
    let other = if kafka.leader("__consumer_offsets", 0).await.unwrap() == 1 { 2 } else { 1 };
    kafka.create_topic_on(TOPIC, &[other]).await.unwrap();
    let addresses = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let address = addresses.split(',').nth(usize::try_from(other - 1).unwrap()).unwrap();
    let mut producer = Producer::new(address, "slow-id", TOPIC, &[]).await;
    producer.transaction("before").await;

    producer.begin().await;
    producer.send("record").await.unwrap();
    let generation = producer.control.generation();
    let ends = proxy.requests(ApiKey::END_TXN);
    let both = [Direction::ToBroker, Direction::ToClient];
    both.into_iter().for_each(|direction| proxy.delay(direction, DELAY));
    let begun = Instant::now();
    checked(producer.transactions().send_offsets(offsets(TOPIC), group(), TIME).await).unwrap();
    assert!(begun.elapsed() > DELAY + DELAY + LOST_AFTER, "{:?}", begun.elapsed());
    producer.commit().await.unwrap();
    both.into_iter().for_each(|direction| proxy.delay(direction, Duration::ZERO));

    assert_eq!(proxy.requests(ApiKey::END_TXN) - ends, 1, "committed once");
    assert_eq!(proxy.requests(ApiKey::TXN_OFFSET_COMMIT), 1);
    assert_eq!(kafka.committed_offset(GROUP, TOPIC, 0).await.unwrap(), Some(7));
    assert_eq!(committed(&kafka, TOPIC).await, ["before", "record"]);
    assert_eq!(producer.control.generation(), generation, "the producer was not replaced");
    producer.transaction("after").await;
    assert_eq!(committed(&kafka, TOPIC).await, ["before", "record", "after"]);
}

/// librdkafka refuses every other call while offsets wait for an answer. An abort does not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_were_given_up_hold_no_abort_up() {
    let Some(kafka) = shared().await else { return };
    let _alone = ALONE.lock().await;
    let (topic, proxy) = (kafka.topic("given-up", 1).await.unwrap(), kafka.proxy().unwrap());
    let mut producer = Producer::new(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic, &topic, &[]).await;
    producer.transaction("before").await;
    producer.begin().await;
    producer.send("never").await.unwrap();
    proxy.next_of(ApiKey::TXN_OFFSET_COMMIT, &topic, Action::Hold);
    let transactions = producer.transactions();
    tokio::select! {
        biased;
        held = proxy.wait_for_held_of(&topic, 1) => held.unwrap(),
        answer = transactions.send_offsets(offsets(&topic), group(), TIME) => panic!("{answer:?}"),
    }
    let error = checked(producer.transactions().commit(TIME / 30).await).unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Transaction, Recovery::Retry, Persistence::NotPersisted), "{error:#}");
    checked(producer.transactions().abort(TIME / 2).await).unwrap();
    producer.transaction("after").await;
    proxy.release_of(&topic).await.unwrap();
    proxy.clear_rules();
    assert_eq!(committed(kafka, &topic).await, ["before", "after"]);
    assert_eq!(kafka.committed_offset(GROUP, &topic, 0).await.unwrap(), None);
}
