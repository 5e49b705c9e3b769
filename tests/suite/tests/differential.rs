//! The Kafka in memory against a real one: 200 scripted scenarios on both, the same answers and the same log.
#![allow(clippy::unwrap_used)] // a test may fail

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_tower_core::{Control, Delivery, ErrorKind, Persistence, Record, Recovery, Result, Transport};
use kafka_tower_memory::{MemoryKafka, TransactionCall};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_cluster::{Cluster, Isolation, Listener, proxy::Action, proxy::ApiKey};
use tower::ServiceExt;

const WITHIN: Duration = Duration::from_secs(20);
const LARGEST: usize = 2_000;

/// What goes wrong with a request: it or its answer gets lost with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Request,
    Answer,
}

/// xorshift64*: a scenario is its number.
struct Random(u64);

impl Random {
    fn new(scenario: u64) -> Self {
        Self(scenario.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    TooLarge,
    WithoutKey,
    NoPartition,
}

/// A record on its way through a fault.
#[derive(Clone, Copy, Debug)]
struct Send {
    number: usize,
    fault: Fault,
    kind: Kind,
}

impl Send {
    fn draw(random: &mut Random, number: usize) -> Self {
        let kind = match random.below(12) {
            0 => Kind::TooLarge,
            1 => Kind::WithoutKey,
            2 => Kind::NoPartition,
            _ => Kind::Good,
        };
        // What never gets to the wire would leave its fault to the next one.
        let fault = if kind == Kind::NoPartition { Fault::None } else { fault(random) };
        Self { number, fault, kind }
    }

    fn record(&self, topic: &str) -> Record {
        let size = if self.kind == Kind::TooLarge { 2 * LARGEST } else { 10 };
        let partition = if self.kind == Kind::NoPartition { 7 } else { 0 };
        let mut record = Record::new(topic).with_partition(partition).with_value(format!("{:0size$}", self.number));
        record.key = (self.kind != Kind::WithoutKey).then(|| Bytes::from(self.number.to_string()));
        record
    }
}

fn fault(random: &mut Random) -> Fault {
    match random.below(6) {
        0 => Fault::Request,
        1 => Fault::Answer,
        _ => Fault::None,
    }
}

/// What a caller learns, without words.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Offset(i64),
    Failed(ErrorKind, Persistence),
}

fn told(outcome: Result<Delivery>) -> Told {
    match outcome {
        Ok(delivery) => Told::Offset(delivery.offset.expect("the broker names it")),
        Err(error) => Told::Failed(error.kind(), error.persistence()),
    }
}

async fn send(transport: &mut impl Transport, record: Record) -> Told {
    let answer = transport.ready().await.unwrap().call(record);
    told(tokio::time::timeout(WITHIN, answer).await.expect("an answer"))
}

/// A Kafka behind the fault proxy; none where there is no way to one.
async fn real() -> Option<Cluster> {
    Cluster::builder().listener(Listener::Proxy).start().await.unwrap()
}

fn client(kafka: &Cluster) -> kafka_tower_rdkafka::Builder {
    RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap_of(Listener::Proxy).unwrap())
        .property("reconnect.backoff.ms", "1")
        .property("reconnect.backoff.max.ms", "10")
        .property("retry.backoff.ms", "1")
}

fn meet(kafka: &Cluster, key: ApiKey, fault: Fault) {
    match fault {
        Fault::None => {}
        Fault::Request => kafka.proxy().unwrap().next(key, Action::CutBefore),
        Fault::Answer => kafka.proxy().unwrap().next(key, Action::DropAnswer),
    }
}

#[tokio::test]
async fn a_hundred_scripts_of_records_end_alike() {
    let Some(kafka) = real().await else { return };
    let limit = LARGEST.to_string();
    let config = [("max.message.bytes", limit.as_str()), ("cleanup.policy", "compact")];
    let topic = kafka.topic_with("differential", 1, &config).await.unwrap();
    let mut there = client(&kafka).topic(topic.as_str()).connect().await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 1).with_max_record_bytes(&topic, LARGEST);
    memory.set_compacted(&topic);
    let mut here = memory.producer().retries(1_000).transport();

    let mut number = 0;
    for scenario in 0..100 {
        let mut random = Random::new(scenario);
        for _ in 0..1 + random.below(5) {
            number += 1;
            let step = Send::draw(&mut random, number);
            meet(&kafka, ApiKey::PRODUCE, step.fault);
            match step.fault {
                Fault::None => {}
                Fault::Request => drop(memory.script().lose_request()),
                Fault::Answer => drop(memory.script().lose_answer()),
            }
            let (real, ours) =
                (send(&mut there, step.record(&topic)).await, send(&mut here, step.record(&topic)).await);
            assert_eq!(ours, real, "scenario {scenario}: {step:?}");
            // Where the script met nothing, it meets nothing later either.
            memory.clear_script();
            kafka.proxy().unwrap().clear_rules();
        }
    }
    let real: Vec<_> = kafka.read(&topic).await.unwrap().into_iter().map(|record| record.text()).collect();
    let text = |stored: &kafka_tower_memory::StoredRecord| String::from_utf8(stored.value().unwrap().to_vec()).unwrap();
    let ours: Vec<_> = memory.records(&topic).iter().map(text).collect();
    assert_eq!(ours, real, "in memory, and on a real Kafka");
}

async fn end(control: &dyn Control, commit: bool) -> Option<(ErrorKind, Recovery)> {
    let transactions = control.transactions().expect("transactional");
    let ended = if commit { transactions.commit(WITHIN).await } else { transactions.abort(WITHIN).await };
    ended.err().map(|error| (error.kind(), error.recovery()))
}

#[tokio::test]
async fn a_hundred_transactions_end_alike() {
    let Some(kafka) = real().await else { return };
    let topic = kafka.topic("differential-txn", 2).await.unwrap();
    let mut there =
        client(&kafka).property("transactional.id", topic.as_str()).topic(topic.as_str()).connect().await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 2);
    let mut here = memory.transactional_transport(topic.as_str());
    let controls: [Arc<dyn Control>; 2] = [there.control(), here.control()];
    for control in &controls {
        control.transactions().unwrap().init(WITHIN).await.unwrap();
    }
    let mut number = 0;
    for scenario in 0..100 {
        let mut random = Random::new(1_000 + scenario);
        for control in &controls {
            control.transactions().unwrap().begin().await.unwrap();
        }
        for _ in 0..1 + random.below(3) {
            number += 1;
            let partition = random.below(2) as i32;
            let record = Record::new(topic.as_str()).with_partition(partition).with_value(number.to_string());
            let real = send(&mut there, record.clone()).await;
            assert_eq!(send(&mut here, record).await, real, "scenario {scenario}: markers take offsets");
        }
        let (commit, fault) = (random.below(4) > 0, fault(&mut random));
        meet(&kafka, ApiKey::END_TXN, fault);
        let call = if commit { TransactionCall::Commit } else { TransactionCall::Abort };
        match fault {
            Fault::None => {}
            Fault::Request => drop(memory.script_transactions().on(call).lose_request()),
            Fault::Answer => drop(memory.script_transactions().on(call).lose_answer()),
        }
        let (real, ours) = (end(&*controls[0], commit).await, end(&*controls[1], commit).await);
        assert_eq!(ours, real, "scenario {scenario}: commit {commit}, {fault:?}");
    }
    for isolation in [Isolation::Committed, Isolation::Uncommitted] {
        let records = kafka.read_as(&topic, isolation).await.unwrap();
        let mut real: Vec<_> = records.iter().map(|r| (r.partition, r.offset, r.text())).collect();
        real.sort();
        let stored = if isolation == Isolation::Committed { memory.committed(&topic) } else { memory.records(&topic) };
        let text = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
        let ours: Vec<_> = stored.iter().map(|r| (r.partition, r.offset, text(r.value().unwrap()))).collect();
        assert_eq!(ours, real, "{isolation:?}: in memory, and on a real Kafka");
    }
}
