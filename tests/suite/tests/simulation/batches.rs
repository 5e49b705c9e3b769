//! Checks the transactional batching layer: concurrent callers, faults of records and of transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka_tower::layers::ServiceBuilderExt;
use kafka_tower::layers::transaction_batch::{TransactionBatch, TransactionBatchLayer};
use kafka_tower::memory::sim::{Guarantee, History, Verdict};
use kafka_tower::memory::{FaultKind, Faults, MemoryKafka, MemoryTransport};
use kafka_tower::{
    CloseReport, ConsumerGroup, Control, ControlFuture, Error, InFlight, Persistence, Record, Recovery, TopicOffset,
    TransactionControl,
};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

const TOPIC: &str = "orders";
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// About 35 % of the requests that end a transaction fail or are late.
fn faults() -> Faults {
    Faults::default()
}

/// Numbers from a seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// How the transport's transactions are changed before the layer gets them.
type Plant = fn(Arc<dyn TransactionControl>) -> Arc<dyn TransactionControl>;

#[derive(Debug)]
struct Planted(Arc<dyn Control>, Plant);

impl Control for Planted {
    fn flush(&self) -> ControlFuture<'_, ()> {
        self.0.flush()
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        self.0.close(within)
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.0.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.0.in_flight()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        self.0.transactions().map(self.1)
    }
}

/// Changes the answers of commits.
#[derive(Debug)]
struct Commits(Arc<dyn TransactionControl>, fn(Error) -> Result<(), Error>);

impl TransactionControl for Commits {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.begin(within)
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        let commit = self.0.commit(within);
        Box::pin(async move { commit.await.or_else(self.1) })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move { self.0.abort(within).await.or(Ok(())) })
    }

    fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.0.send_offsets(o, group, within)
    }
}

/// What the seeds have seen.
#[derive(Debug, Default)]
struct Seen {
    delivered: u64,
    aborted: u64,
    unknown: u64,
    transactions: usize,
    aborts: usize,
}

/// Runs a seed. Returns the verdicts.
async fn run(seed: u64, lanes: usize, faults: Faults, plant: Plant, seen: &mut Seen) -> Vec<Verdict> {
    let mut random = Random(seed);
    let kafka = MemoryKafka::new().with_topic(TOPIC, 4);
    kafka.seed_faults(seed, faults);
    let history = Arc::new(std::sync::Mutex::new(History::new()));
    let (ids, mut callers) = (Arc::new(AtomicU32::new(0)), tokio::task::JoinSet::new());
    // A layer whose producer has ended is replaced, as an application would do.
    for _ in 0..3 {
        let service = connect(&kafka, lanes, plant, &mut random).await;
        for _ in 0..4 {
            let (mut handle, history, ids) = (service.clone(), Arc::clone(&history), Arc::clone(&ids));
            let mut random = Random(random.below(u64::MAX));
            callers.spawn(async move {
                let mut open = Vec::new();
                for _ in 0..15 {
                    sleep(MS * random.below(30) as u32).await;
                    let handle = handle.ready().await.unwrap();
                    let (id, key) = (ids.fetch_add(1, Ordering::Relaxed), random.below(6) as u32);
                    let mut record = Record::new(TOPIC).with_key(key.to_string()).with_value(id.to_string());
                    if random.below(8) == 0 {
                        record = record.with_expires_at(Instant::now() + MS * random.below(3_000) as u32);
                    }
                    history.lock().unwrap().called(id, Some(key));
                    let future = handle.call(record);
                    match random.below(5) {
                        0 => drop(future),
                        1 => {
                            let outcome = future.await;
                            history.lock().unwrap().answered(id, outcome);
                        }
                        _ => open.push((id, future)),
                    }
                }
                let mut outcomes = Vec::new();
                for (id, future) in open {
                    let outcome = future.await;
                    outcomes.push(outcome.clone());
                    history.lock().unwrap().answered(id, outcome);
                }
                outcomes
            });
        }
        while let Some(outcomes) = callers.join_next().await {
            for outcome in outcomes.unwrap() {
                match outcome.map_err(|error| error.persistence()) {
                    Ok(_) => seen.delivered += 1,
                    Err(Persistence::NotPersisted) => seen.aborted += 1,
                    Err(_) => seen.unknown += 1,
                }
            }
        }
        let _report = service.control().close(10 * SECOND).await;
    }
    kafka.stop_faults();
    // A transaction that is left open times out.
    sleep(200 * SECOND).await;
    for partition in 0..4 {
        let markers = kafka.markers(TOPIC, partition);
        seen.transactions += markers.iter().filter(|marker| marker.committed).count();
        seen.aborts += markers.iter().filter(|marker| !marker.committed).count();
    }
    let mut history = history.lock().unwrap();
    let mut copies = BTreeMap::new();
    for stored in kafka.committed(TOPIC) {
        let id = String::from_utf8(stored.value().unwrap().to_vec()).unwrap().parse().unwrap();
        *copies.entry(id).or_insert(0) += 1;
        history.read(id, stored.partition, stored.offset);
    }
    history.judge(Guarantee::ExactlyOnce).into_iter().map(|violation| violation.verdict).collect()
}

async fn connect(kafka: &MemoryKafka, lanes: usize, plant: Plant, random: &mut Random) -> TransactionBatch {
    let transports: Vec<_> = (0..lanes).map(|lane| kafka.transactional_transport(format!("id-{lane}"))).collect();
    let control = |transport: &MemoryTransport| Arc::new(Planted(transport.control(), plant)) as Arc<dyn Control>;
    let layer = TransactionBatchLayer::lanes(transports.iter().map(control).collect())
        .records(1 + random.below(8) as usize)
        .age(MS * random.below(40) as u32)
        .room(4 + random.below(20) as usize, 1_000)
        .timeout(2 * SECOND);
    layer.init(60 * SECOND).await.unwrap();
    match lanes {
        1 => ServiceBuilder::new().transaction_batch(layer).service(transports.into_iter().next().unwrap()),
        _ => layer.layer_lanes(transports),
    }
}

/// Runs seeds until one shows a violation.
fn check(lanes: usize, seeds: u64, faults: &Faults, plant: Plant) -> (Vec<Verdict>, Seen) {
    let mut seen = Seen::default();
    for seed in 0..seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let verdicts = runtime.block_on(run(seed, lanes, faults.clone(), plant, &mut seen));
        if !verdicts.is_empty() {
            println!("seed {seed}: {verdicts:?}");
            return (verdicts, seen);
        }
    }
    (Vec::new(), seen)
}

#[test]
fn the_batching_layer_keeps_exactly_once() {
    for lanes in [1, 3] {
        let (verdicts, seen) = check(lanes, 200, &faults(), |transactions| transactions);
        println!("{lanes} lanes: {seen:?}");
        assert_eq!(verdicts, []);
        assert!(seen.delivered > 0 && seen.aborted > 0 && seen.unknown > 0 && seen.aborts > 0, "{seen:?}");
    }
}

/// A commit whose outcome is unknown is taken for an abort, and the batch is replayed.
#[test]
fn the_checker_finds_a_replay_after_an_unknown_commit() {
    let plant: Plant = |transactions| {
        Arc::new(Commits(transactions, |error| {
            Err(error.with_recovery(Recovery::AbortTransaction).with_persistence(Persistence::NotPersisted))
        }))
    };
    let faults = Faults::none().with(FaultKind::LoseTransactionAnswer, 0.9);
    let (verdicts, _) = check(1, 200, &faults, plant);
    assert!(!verdicts.is_empty());
}

/// Callers get `Ok` for a commit that has failed.
#[test]
fn the_checker_finds_an_answer_before_the_commit() {
    let (verdicts, _) = check(1, 200, &faults(), |transactions| Arc::new(Commits(transactions, |_| Ok(()))));
    assert!(verdicts.contains(&Verdict::LostAcknowledged), "{verdicts:?}");
}
