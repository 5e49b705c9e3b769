//! How transactions end: with the records of a caller and the offsets of a consumer in them, through lost requests and
//! answers, and through ends that reach the broker late.

use std::sync::Arc;

use futures_util::future::join_all;
use kafka_tower_core::{ConsumerGroup, Control, Persistence, Record, Recovery, Result, TopicOffset, Transport};
use kafka_tower_memory::{MemoryKafka, MemoryTransport, TransactionCall};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_cluster::{Cluster, proxy::Action, proxy::ApiKey};
use tower::ServiceExt;

use crate::support::*;

/// One transactional id on both.
pub(crate) struct Pair {
    there: RdkafkaTransport,
    here: MemoryTransport,
    controls: [Arc<dyn Control>; 2],
    topic: String,
}

impl Pair {
    pub(crate) async fn new(kafka: &Cluster, memory: &MemoryKafka, topic: &str, id: &str) -> Self {
        let there = client(kafka)
            .property("transactional.id", id)
            // The first offsets of a new group wait for its coordinator: with 1 ms librdkafka asks without an end.
            .property("retry.backoff.ms", "100")
            .property("batch.num.messages", "1")
            .topic(topic)
            .connect()
            .await
            .unwrap();
        let here = memory.transactional_transport(id);
        let controls: [Arc<dyn Control>; 2] = [there.control(), here.control()];
        for control in &controls {
            control.transactions().unwrap().init(WITHIN).await.unwrap();
        }
        Self { there, here, controls, topic: topic.to_owned() }
    }

    pub(crate) async fn begin(&self) {
        for control in &self.controls {
            control.transactions().unwrap().begin().await.unwrap();
        }
    }

    /// Sends all at once and awaits the answers, which are the same on both.
    pub(crate) async fn send(&mut self, records: &[(i32, String)], what: &str) -> Vec<Told> {
        let real = burst(&mut self.there, &self.topic, records).await;
        assert_eq!(burst(&mut self.here, &self.topic, records).await, real, "{what}");
        real
    }

    /// Ends the transaction: the same answer from both, but that the real one may not know what memory knows.
    pub(crate) async fn end(&self, commit: bool, what: &str) -> Option<Facts> {
        let mut told = Vec::new();
        for control in &self.controls {
            let transactions = control.transactions().unwrap();
            let ended: Result<()> =
                if commit { transactions.commit(WITHIN).await } else { transactions.abort(WITHIN).await };
            told.push(facts(ended));
        }
        let (real, ours) = (told.remove(0), told.remove(0));
        match (real, ours) {
            // librdkafka asks again by itself, and does not say whether it did.
            (Some((kind, recovery, Persistence::PossiblyPersisted)), Some((our_kind, our_recovery, _))) => {
                assert_eq!((our_kind, our_recovery), (kind, recovery), "{what}: commit {commit}");
            }
            _ => assert_eq!(ours, real, "{what}: commit {commit}, in memory and on a real Kafka"),
        }
        real
    }

    /// Puts a consumer's offset into the transaction: the same answer from both.
    pub(crate) async fn offsets(&self, group: &ConsumerGroup, offset: i64, what: &str) -> Option<Facts> {
        let offsets = vec![TopicOffset { topic: self.topic.as_str().into(), partition: 0, offset }];
        let mut told = Vec::new();
        for control in &self.controls {
            let transactions = control.transactions().unwrap();
            told.push(facts(transactions.send_offsets(offsets.clone(), group.clone(), WITHIN).await));
        }
        assert_eq!(told[1], told[0], "{what}: offsets, in memory and on a real Kafka");
        told.remove(0)
    }
}

async fn burst<T: Transport>(transport: &mut T, topic: &str, records: &[(i32, String)]) -> Vec<Told> {
    let mut answers = Vec::new();
    for (partition, value) in records {
        let record = Record::new(topic).with_partition(*partition).with_value(value.clone());
        answers.push(transport.ready().await.unwrap().call(record));
    }
    let outcomes = tokio::time::timeout(WITHIN, join_all(answers)).await.expect("answers");
    outcomes.iter().map(Told::of).collect()
}

/// A consumer that takes no part in a group's protocol.
pub(crate) fn group(topic: &str) -> ConsumerGroup {
    ConsumerGroup {
        group_id: format!("{topic}-group"),
        generation: -1,
        member_id: String::new(),
        group_instance_id: None,
    }
}

#[tokio::test]
async fn eighty_transactions_end_alike() {
    let Some(kafka) = real().await else { return };
    let topic = kafka.topic("differential-txn", 2).await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 2);
    let mut pair = Pair::new(&kafka, &memory, &topic, &topic).await;
    let group = group(&topic);
    let mut number = 0;
    for scenario in 0..80 {
        let what = format!("scenario {scenario}");
        let mut random = Random::new(1_000 + scenario);
        pair.begin().await;
        let mut records = Vec::new();
        for _ in 0..1 + random.below(5) {
            number += 1;
            records.push((random.below(2) as i32, number.to_string()));
        }
        // Markers take offsets: the answers show where they are.
        pair.send(&records, &what).await;
        if random.below(3) == 0 {
            let told = pair.offsets(&group, number, &what).await;
            assert!(told.is_none(), "{what}: {told:?}");
        }
        let (commit, fault) = (random.below(4) > 0, Fault::draw(&mut random));
        fault.meet(&kafka, ApiKey::END_TXN);
        fault.script_end(&memory, if commit { TransactionCall::Commit } else { TransactionCall::Abort });
        assert_eq!(pair.end(commit, &format!("{what}: {fault:?}")).await, None);
    }
    assert_alike(&kafka, &memory, &topic).await;
    let real = kafka.committed_offset(&group.group_id, &topic, 0).await.unwrap();
    assert!(real.is_some());
    assert_eq!(memory.committed_offset(&group.group_id, &topic, 0), real);
}

/// KAFKA-17754: the end of a transaction that was retried ends the next one too, when it arrives late.
#[tokio::test]
async fn ten_late_ends_do_the_same_harm() {
    let Some(kafka) = real().await else { return };
    let topic = kafka.topic("differential-late", 2).await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 2);
    for scenario in 0..10 {
        let (what, late_commit) = (format!("late end {scenario}"), scenario % 2 == 0);
        let value = |n: i32| (n % 2, format!("{scenario}.{n}"));
        // A new owner each time: after a late end the old one is finished.
        let mut pair = Pair::new(&kafka, &memory, &topic, &topic).await;
        pair.begin().await;
        pair.send(&[value(0), value(1)], &what).await;
        kafka.proxy().unwrap().next(ApiKey::END_TXN, Action::HoldAndCut);
        let call = if late_commit { TransactionCall::Commit } else { TransactionCall::Abort };
        let held = memory.script_transactions().on(call).hold();
        assert_eq!(pair.end(late_commit, &what).await, None, "{what}: the second request is answered");
        kafka.proxy().unwrap().wait_for_held(1).await.unwrap();
        assert_eq!(held.held(), 1);

        pair.begin().await;
        pair.send(&[value(2), value(3), value(4)], &what).await;
        kafka.proxy().unwrap().release().await.unwrap();
        held.release();
        // The caller wants the other end.
        let (_, recovery, persistence) = pair.end(!late_commit, &what).await.expect("there is no such transaction");
        assert_eq!((recovery, persistence), (Recovery::Fatal, Persistence::PossiblyPersisted), "{what}");
        assert_alike(&kafka, &memory, &topic).await;
    }
}
