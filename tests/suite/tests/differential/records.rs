//! Bursts of records: up to five in flight at once, each in its own request.

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_tower_core::{Delivery, Record, Result, Transport};
use kafka_tower_memory::sim::{Guarantee, History};
use kafka_tower_memory::{MemoryKafka, Outage};
use kafka_tower_testkit::kafka::{Cluster, Isolation, proxy::ApiKey};
use tower::ServiceExt;

use crate::support::*;

const LARGEST: usize = 2_000;
const SCENARIOS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    TooLarge,
    WithoutKey,
    NoPartition,
}

#[derive(Clone, Copy, Debug)]
struct Send {
    number: u32,
    kind: Kind,
}

impl Send {
    fn draw(random: &mut Random, number: u32) -> Self {
        let kind = match random.below(12) {
            0 => Kind::TooLarge,
            1 => Kind::WithoutKey,
            2 => Kind::NoPartition,
            _ => Kind::Good,
        };
        Self { number, kind }
    }

    fn key(&self) -> Option<u32> {
        (self.kind != Kind::WithoutKey).then_some(self.number % 3)
    }

    fn record(&self, topic: &str) -> Record {
        let size = if self.kind == Kind::TooLarge { 2 * LARGEST } else { 10 };
        let partition = if self.kind == Kind::NoPartition { 7 } else { 0 };
        let mut record = Record::new(topic).with_partition(partition).with_value(format!("{:0size$}", self.number));
        record.key = self.key().map(|key| Bytes::from(key.to_string()));
        record
    }
}

/// A fault of the broker while a burst is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// The first request has this fault.
    Fair(Fault),
    /// The broker accepts no connections.
    Away,
    /// The broker is paused, and its connections stay open.
    Frozen,
    /// The broker is killed and started again.
    Killed,
}

impl Weather {
    fn draw(random: &mut Random, scenario: u64) -> Self {
        match (scenario, random.below(15)) {
            (50, _) => Self::Killed,
            (_, 0) => Self::Away,
            (_, 1) => Self::Frozen,
            _ => Self::Fair(Fault::draw(random)),
        }
    }

    async fn begin(self, kafka: &Cluster, memory: &MemoryKafka) -> Option<Outage> {
        match self {
            Self::Fair(fault) => {
                fault.meet(kafka, ApiKey::PRODUCE);
                fault.script(memory);
                return None;
            }
            Self::Away => kafka.proxy().unwrap().down().await.unwrap(),
            Self::Frozen => kafka.stop(1).unwrap(),
            Self::Killed => kafka.kill(1).unwrap(),
        }
        Some(memory.outage())
    }

    async fn end(self, kafka: &Cluster) {
        match self {
            Self::Fair(_) => {}
            Self::Away => kafka.proxy().unwrap().up().await.unwrap(),
            Self::Frozen => kafka.cont(1).unwrap(),
            Self::Killed => kafka.restart(1).await.unwrap(),
        }
    }
}

/// Calls all records of a burst before it awaits the first.
async fn send<T: Transport>(transport: &mut T, topic: &str, burst: &[Send], history: &mut History) -> Vec<T::Future> {
    let mut answers = Vec::new();
    for step in burst {
        history.called(step.number, step.key());
        answers.push(transport.ready().await.unwrap().call(step.record(topic)));
    }
    answers
}

async fn told(
    answers: Vec<impl Future<Output = Result<Delivery>>>,
    burst: &[Send],
    history: &mut History,
) -> Vec<Told> {
    let outcomes = tokio::time::timeout(WITHIN, join_all(answers)).await.expect("answers");
    let told = outcomes.iter().map(Told::of).collect();
    burst.iter().zip(outcomes).for_each(|(step, outcome)| history.answered(step.number, outcome));
    told
}

#[tokio::test]
async fn a_hundred_scripts_of_records_end_alike() {
    let Some(kafka) = real().await else { return };
    let limit = LARGEST.to_string();
    let config = [("max.message.bytes", limit.as_str()), ("cleanup.policy", "compact")];
    let topic = kafka.topic_with("differential", 1, &config).await.unwrap();
    let mut there = client(&kafka).property("batch.num.messages", "1").topic(topic.as_str()).connect().await.unwrap();
    let memory = MemoryKafka::new().with_topic(&topic, 1).with_max_record_bytes(&topic, LARGEST);
    memory.set_compacted(&topic);
    let mut here = memory.producer().retries(1_000).transport();
    let (mut real_history, mut our_history) = (History::new(), History::new());

    let (mut number, mut at_once, mut outages) = (0, 0, 0);
    for scenario in 0..SCENARIOS {
        let mut random = Random::new(scenario);
        for _ in 0..1 + random.below(2) {
            let weather = Weather::draw(&mut random, scenario);
            let mut burst = Vec::new();
            for _ in 0..1 + random.below(5) {
                burst.push(Send::draw(&mut random, number));
                number += 1;
            }
            let outage = weather.begin(&kafka, &memory).await;
            let real = send(&mut there, &topic, &burst, &mut real_history).await;
            let ours = send(&mut here, &topic, &burst, &mut our_history).await;
            (at_once, outages) = (at_once.max(burst.len()), outages + usize::from(outage.is_some()));
            drop(outage);
            weather.end(&kafka).await;
            let real = told(real, &burst, &mut real_history).await;
            let ours = told(ours, &burst, &mut our_history).await;
            let is_exact = burst.len() == 1 || weather == Weather::Fair(Fault::None);
            let exact = |told: Vec<Told>| {
                let each = told.into_iter().map(|told| if is_exact { told } else { told.without_fate() });
                each.collect::<Vec<_>>()
            };
            let (real, ours) = (exact(real), exact(ours));
            assert_eq!(ours, real, "scenario {scenario}: {weather:?} {burst:?}");
            // A fault that hit no request must not hit a later one.
            memory.clear_script();
            kafka.proxy().unwrap().clear_rules();
        }
    }
    assert!(at_once == 5 && outages >= 10, "the scripts prove too little: {at_once} at once, {outages} outages");
    assert_alike(&kafka, &memory, &topic).await;
    for (history, log) in [
        (&mut real_history, read(&kafka, &topic, Isolation::Uncommitted).await),
        (&mut our_history, look(&memory, &topic, Isolation::Uncommitted)),
    ] {
        log.into_iter().for_each(|(partition, offset, value)| history.read(value.parse().unwrap(), partition, offset));
        assert_eq!(history.judge(Guarantee::AtMostOnce), []);
    }
}
