//! Brokers are killed while a process sends, and while other processes copy a topic.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower::layers::transaction_batch::{TransactionBatch, TransactionBatchLayer};
use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
use kafka_tower_core::{Error, Persistence, Record, Recovery, Result};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_suite::random::Random;
use kafka_tower_test_suite::units::{judge, units, value};
use kafka_tower_testkit::kafka::{Cluster, ReadRecord};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, Service, ServiceExt};

use crate::pipelines::Pipeline;
use crate::setting;
use crate::team::{Protocol, pause, with_sessions};

/// Records of a unit.
const SIZE: usize = 100;
/// Time from the restart of a broker to the next kill.
const PERIOD: Duration = Duration::from_secs(5);
/// Least time of a unit.
const PACE: Duration = Duration::from_millis(400);
/// Least number of kills in a run.
const KILLS: u64 = 2;
const TIME: Duration = Duration::from_secs(60);

/// How a unit ended.
#[derive(Debug)]
enum Outcome {
    Committed,
    Aborted(Error),
    Unknown(Error),
}

impl Outcome {
    fn of(error: Error) -> Self {
        let is_certain = error.persistence() == Persistence::NotPersisted;
        if is_certain && error.recovery() != Recovery::Fatal { Self::Aborted(error) } else { Self::Unknown(error) }
    }
}

/// Sends units in transactions.
trait Sender {
    /// Creates a producer with the transactional id, which ends what an older one left open.
    async fn renew(&mut self);

    async fn send(&mut self, unit: u64) -> Outcome;
}

/// By guards of a sink.
struct Guard {
    config: KafkaSinkConfig,
    sink: Option<KafkaSink<String>>,
}

impl Guard {
    async fn try_send(&self, unit: u64) -> Result<()> {
        let sink = self.sink.as_ref().unwrap();
        let tx = sink.transaction().await?;
        let message = |index: usize| SinkMessage::new(value(unit, index)).with_partition((index % 3) as i32);
        let sent =
            tx.send_batch((0..SIZE).map(message)).await.and_then(|sent| sent.into_iter().collect::<Result<Vec<_>>>());
        if let Err(error) = sent {
            // An abort that fails goes on; the next begin waits for it.
            drop(tx.abort().await);
            let is_over = error.recovery() != Recovery::Fatal;
            return Err(if is_over { error.with_persistence(Persistence::NotPersisted) } else { error });
        }
        let mut committed = tx.commit().await;
        while committed.as_ref().is_err_and(|error| error.recovery() == Recovery::Retry) {
            committed = sink.commit_transaction().await;
        }
        committed
    }
}

impl Sender for Guard {
    async fn renew(&mut self) {
        if let Some(old) = self.sink.take() {
            drop(old.close().await);
        }
        while self.sink.is_none() {
            self.sink = KafkaSink::new(self.config.clone()).await.ok();
        }
    }

    async fn send(&mut self, unit: u64) -> Outcome {
        self.try_send(unit).await.map_or_else(Outcome::of, |()| Outcome::Committed)
    }
}

/// By the batching layer: the records of a unit are those of a batch.
struct Batching {
    brokers: String,
    topic: String,
    service: Option<TransactionBatch>,
}

impl Batching {
    async fn connect(&self) -> Result<TransactionBatch> {
        let builder = RdkafkaTransport::builder().property("bootstrap.servers", &self.brokers);
        let builder = builder.property("transactional.id", format!("{}-batching", self.topic));
        let transport = builder.topic(self.topic.as_str()).connect().await?;
        let layer = TransactionBatchLayer::new(transport.control()).records(SIZE).age(TIME);
        layer.init(TIME).await?;
        Ok(layer.layer(transport))
    }
}

impl Sender for Batching {
    async fn renew(&mut self) {
        if let Some(old) = self.service.take() {
            drop(old.control().close(TIME).await);
        }
        while self.service.is_none() {
            self.service = self.connect().await.ok();
        }
    }

    async fn send(&mut self, unit: u64) -> Outcome {
        let service = self.service.as_mut().unwrap();
        let mut sends = Vec::new();
        for index in 0..SIZE {
            let record = Record::new(self.topic.as_str()).with_value(value(unit, index));
            let record = record.with_partition((index % 3) as i32);
            match service.ready().await {
                Ok(ready) => sends.push(ready.call(record)),
                Err(error) => return Outcome::of(error),
            }
        }
        let outcomes = join_all(sends).await;
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert!(failed == 0 || failed == SIZE, "{failed} of the {SIZE} callers of a transaction got an error");
        outcomes.into_iter().collect::<Result<Vec<_>>>().map_or_else(Outcome::of, |_| Outcome::Committed)
    }
}

/// Reads until it works: a partition may have no leader.
async fn read(kafka: &Cluster, topic: &str) -> Vec<ReadRecord> {
    let mut read = kafka.read_committed(topic).await;
    for _ in 0..5 {
        if read.is_ok() {
            break;
        }
        read = kafka.read_committed(topic).await;
    }
    read.unwrap()
}

#[derive(Debug, Default)]
struct Work {
    units: u64,
    acknowledged: BTreeSet<u64>,
    aborted: u64,
    unknown: u64,
    /// Units of unknown ends that were committed.
    visible: u64,
}

/// Kills of brokers in a run.
#[derive(Default)]
struct Kills {
    /// Those whose victim is back.
    ended: AtomicU64,
    is_over: AtomicBool,
}

/// Sends so many units, or more until the brokers were killed often enough, and each one until it is committed.
async fn work(kafka: &Cluster, topic: &str, sender: &mut impl Sender, count: u64, kills: &Kills) -> Work {
    let mut work = Work::default();
    sender.renew().await;
    while work.units < count || kills.ended.load(Ordering::Relaxed) < KILLS {
        let unit = work.units;
        work.units += 1;
        let next = Instant::now() + PACE;
        loop {
            match sender.send(unit).await {
                Outcome::Committed => {
                    work.acknowledged.insert(unit);
                    break;
                }
                Outcome::Aborted(error) => {
                    work.aborted += 1;
                    println!("unit {unit} was aborted: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
                Outcome::Unknown(error) => {
                    work.unknown += 1;
                    println!("unit {unit}: {error}");
                    sender.renew().await;
                    if units(&read(kafka, topic).await).contains(&unit) {
                        work.visible += 1;
                        break;
                    }
                }
            }
        }
        sleep_until(next).await;
    }
    work
}

/// Kills a leader or a coordinator five seconds after the one before is back, and restarts it.
async fn kill(kafka: &Cluster, topics: &[&str], random: &mut Random, kills: &Kills) {
    loop {
        let next = Instant::now() + PERIOD;
        while Instant::now() < next {
            if kills.is_over.load(Ordering::Relaxed) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let (topic, partition) = match random.below(3) {
            0 => ("__transaction_state", 0),
            1 => ("__consumer_offsets", 0),
            _ => (topics[random.below(topics.len() as u64) as usize], random.below(3) as i32),
        };
        let victim = kafka.leader(topic, partition).await.unwrap();
        kafka.kill(victim).unwrap();
        println!("node {victim} is killed, the leader of {topic} {partition}");
        kafka.leader_after(topic, partition, victim).await.unwrap();
        kafka.restart(victim).await.unwrap();
        kills.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_transaction_is_lost_doubled_or_torn_while_brokers_are_killed() {
    let Some(kafka) = with_sessions(Cluster::builder().brokers(3)).start().await.unwrap() else { return };
    let mut random = Random::of_environment();
    let records = setting("KAFKA_TOWER_RECORDS", 10_000);
    let units = records / SIZE as u64 / 2;
    let (by_guard, by_layer) = (kafka.topic("guard", 3).await.unwrap(), kafka.topic("batching", 3).await.unwrap());
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), &*by_guard, &*by_guard);
    let mut guard = Guard { config, sink: None };
    let mut batching = Batching { brokers: kafka.bootstrap().to_owned(), topic: by_layer.clone(), service: None };
    let pipeline = Pipeline::new(&kafka, Protocol::Classic).await;
    let killed_members = (PACE * units as u32).div_duration_f64(pause()) as u64;
    let mut of_members = Random::new(random.below(1 << 32));
    let kills = Kills::default();
    let working = async {
        let worked = tokio::join!(
            work(&kafka, &by_guard, &mut guard, units, &kills),
            work(&kafka, &by_layer, &mut batching, units, &kills),
            pipeline.run(&mut of_members, records, killed_members),
        );
        kills.is_over.store(true, Ordering::Relaxed);
        worked
    };
    let topics = [&*by_guard, &*by_layer, &*pipeline.group.topic];
    let ((guard, batching, ended), ()) = tokio::join!(working, kill(&kafka, &topics, &mut random, &kills));
    let kills = kills.ended.into_inner();
    for (topic, work) in [(&by_guard, &guard), (&by_layer, &batching)] {
        let read = read(&kafka, topic).await;
        println!(
            "{topic}: {} units of {SIZE} records, {kills} kills; {} aborted and sent again, {} unknown, {} of them committed",
            work.units, work.aborted, work.unknown, work.visible
        );
        assert_eq!(judge(SIZE, &work.acknowledged, &read), []);
        assert_eq!(read.len(), work.units as usize * SIZE);
    }
    println!(
        "{records} records were copied, {kills} kills of brokers, {killed_members} of the members that copied; {ended} members \
         ended by themselves"
    );
    assert_eq!(pipeline.faults(records).await, []);
}
