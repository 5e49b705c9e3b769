//! Ends of transactions with records and a consumer's offsets: with lost requests and answers, and with ends that reach
//! the broker late.

use std::sync::Arc;

use futures_util::future::join_all;
use kafka_tower_core::{ConsumerGroup, Control, Persistence, Record, Recovery, Result, TopicOffset, Transport};
use kafka_tower_memory::{MemoryKafka, MemoryTransport, TransactionCall};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_testkit::kafka::{Cluster, proxy::Action, proxy::ApiKey};
use tower::ServiceExt;

use crate::support::*;

/// A producer with the same transactional id on each Kafka.
pub(crate) struct Pair {
    there: RdkafkaTransport,
    here: MemoryTransport,
    controls: [Arc<dyn Control>; 2],
    topic: String,
}

impl Pair {
    pub(crate) async fn new(kafka: &Cluster, memory: &MemoryKafka, topic: &str, id: &str) -> Self {
        Self::with_replacements(true, kafka, memory, topic, id).await
    }

    /// `replaces`: whether the real client replaces its producer after an end without a clean answer.
    async fn with_replacements(replaces: bool, kafka: &Cluster, memory: &MemoryKafka, topic: &str, id: &str) -> Self {
        let there = client(kafka)
            .property("transactional.id", id)
            // The first offsets of a new group wait for its coordinator. With a back-off of 1 ms librdkafka would ask
            // forever.
            .property("retry.backoff.ms", "100")
            .property("batch.num.messages", "1")
            .replace_after_unclean_end(replaces)
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
            control.transactions().unwrap().begin(WITHIN).await.unwrap();
        }
    }

    /// Sends all records at once and asserts that both give the same answers.
    pub(crate) async fn send(&mut self, records: &[(i32, String)], what: &str) -> Vec<Told> {
        let real = burst(&mut self.there, &self.topic, records).await;
        assert_eq!(burst(&mut self.here, &self.topic, records).await, real, "{what}");
        real
    }

    /// Ends the transaction and asserts that both give the same answer, except that the real one may not know the
    /// result.
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
            // librdkafka retries by itself, and does not report whether it did.
            (Some((kind, recovery, Persistence::PossiblyPersisted)), Some((our_kind, our_recovery, _))) => {
                assert_eq!((our_kind, our_recovery), (kind, recovery), "{what}: commit {commit}");
            }
            _ => assert_eq!(ours, real, "{what}: commit {commit}, in memory and on a real Kafka"),
        }
        real
    }

    /// Puts a consumer's offset into the transaction and asserts that both give the same answer.
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

/// A consumer that does not take part in the group protocol.
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
        // Markers occupy offsets, so the answers show where they are.
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

/// KAFKA-17754: if the end of a transaction was retried and arrives late, it also ends the next transaction.
#[tokio::test]
async fn ten_late_ends_have_the_same_effect() {
    let Some(kafka) = real().await else { return };
    let topic = kafka.topic("differential-late", 2).await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 2);
    for scenario in 0..10 {
        let (what, late_commit) = (format!("late end {scenario}"), scenario % 2 == 0);
        let value = |n: i32| (n % 2, format!("{scenario}.{n}"));
        // A new owner each time, because a late end makes the old one unusable. It is used further, as in memory.
        let mut pair = Pair::with_replacements(false, &kafka, &memory, &topic, &topic).await;
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
        // The caller ends the transaction in the other way.
        let (_, recovery, persistence) = pair.end(!late_commit, &what).await.expect("there is no such transaction");
        assert_eq!((recovery, persistence), (Recovery::Fatal, Persistence::PossiblyPersisted), "{what}");
        assert_alike(&kafka, &memory, &topic).await;
    }
}
