//! Random runs of `serve`: members that start, stop, are dropped, expelled and lose commits, and handlers that fail, sleep, never
//! end, panic, take the value out or give the message back themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::memory::{CommitFault, MemoryKafka};
use kafka_tower::source::{FailurePolicy, Order, Serve, Settlement, SourceCloseReport, SourceErrorKind};
use kafka_tower::{BoxError, CommitStrategy, KafkaSourceConfig, SourceError, SourceMessage};
use kafka_tower_core::CommitAnswer;
use kafka_tower_test_suite::random::Random;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::service_fn;

use crate::support::{GROUP, TOPIC, append_aborted, append_keyed, committed, config, each_seed, finds, kafka, source};

const RETRIES: u32 = 2;

/// A defect of a handler, or of what is between it and the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    AcknowledgesWhatFails,
    AcknowledgesWhatIsDropped,
    ForgetsTheOrder,
    NeverAnswers,
}

type Key = (i32, Vec<u8>);

/// What is true, whatever `serve` says.
#[derive(Default)]
struct Journal {
    /// Offsets whose handlers have answered, or are skipped by the policy.
    settled: BTreeSet<(i32, i64)>,
    /// What each member handles at present, by key. Members count from 0.
    running: BTreeMap<(usize, Key), i64>,
    /// Number of messages that each member handles.
    handled: BTreeMap<usize, usize>,
    /// Offsets of each key, in order, as they are in the log.
    keys: BTreeMap<Key, Vec<i64>>,
    broken: Vec<String>,
    /// From now on, every handler answers.
    benign: bool,
}

impl Journal {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    fn settle(&mut self, key: &Key, offset: i64, order: Order) {
        if self.settled.insert((key.0, offset)) && order != Order::None && !key.1.is_empty() {
            let before: Vec<_> = self.keys[key].iter().take_while(|other| **other < offset).copied().collect();
            let missing = before.into_iter().find(|other| !self.settled.contains(&(key.0, *other)));
            self.check(missing.is_none(), || format!("{key:?}: {offset} was handled before {missing:?}"));
        }
    }
}

/// Ends what a handler has begun, also when it is dropped or panics.
struct Running {
    journal: Arc<Mutex<Journal>>,
    member: usize,
    key: Option<Key>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut journal = self.journal.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *journal.handled.get_mut(&self.member).unwrap() -= 1;
        self.key.take().map(|key| journal.running.remove(&(self.member, key)));
    }
}

/// Acknowledges a message that is dropped.
struct AckOnDrop(Option<SourceMessage<u32>>);

impl Drop for AckOnDrop {
    fn drop(&mut self) {
        self.0.take().map(|message| message.ack());
    }
}

/// How the handlers of a run behave.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    order: Order,
    concurrency: usize,
    skips: bool,
    defect: Option<Defect>,
}

async fn handle(
    plan: Plan,
    member: usize,
    journal: Arc<Mutex<Journal>>,
    message: SourceMessage<u32>,
) -> Result<Settlement, BoxError> {
    let (offset, attempt) = (message.offset(), message.attempt());
    let key: Key = (message.partition(), message.key().map_or_else(Vec::new, |key| key.to_vec()));
    let draw =
        plan.seed ^ (offset as u64) << 8 ^ (u64::from(attempt)) << 32 ^ (key.0 as u64) << 40 ^ (member as u64) << 48;
    let mut random = Random::new(draw);
    let ordered = plan.order != Order::None && !key.1.is_empty();
    let mut running = Running { journal: Arc::clone(&journal), member, key: None };
    {
        let mut journal = journal.lock().unwrap();
        let handled = journal.handled.entry(member).or_default();
        *handled += 1;
        let handled = *handled;
        journal.check(handled <= plan.concurrency, || format!("{handled} at the same time"));
        if ordered {
            let other = journal.running.insert((member, key.clone()), offset);
            journal.check(other.is_none(), || format!("{key:?}: {offset} and {other:?} at the same time"));
            running.key = Some(key.clone());
        }
    }
    let below = |random: &mut Random, end: u64| random.below(end);
    sleep(Duration::from_millis(below(&mut random, 40))).await;
    if plan.defect == Some(Defect::NeverAnswers) && offset == 3 {
        pending::<()>().await;
    }
    let settle = || journal.lock().unwrap().settle(&key, offset, plan.order);
    // The policy skips it, if it fails or takes too long.
    let last = plan.skips && attempt > RETRIES;
    let kind = if journal.lock().unwrap().benign { 19 } else { below(&mut random, 20) };
    match kind {
        0..=2 => {
            if plan.defect == Some(Defect::AcknowledgesWhatFails) {
                message.ack();
            } else if last {
                settle();
            }
            // Some have dropped the message before they fail.
            if kind == 0 {
                drop(message);
                sleep(Duration::from_millis(10)).await;
            }
            Err("planted".into())
        }
        3 | 4 => {
            let _dropped = (plan.defect == Some(Defect::AcknowledgesWhatIsDropped)).then(|| AckOnDrop(Some(message)));
            if last {
                settle();
            }
            pending().await
        }
        5 => {
            if last {
                settle();
            }
            panic!("planted")
        }
        6 => {
            let (_, receipt) = message.into_parts();
            sleep(Duration::from_millis(20)).await;
            if last {
                settle();
            }
            drop(receipt);
            Err("planted, and without its value".into())
        }
        7 => {
            message.nack("planted");
            sleep(Duration::from_millis(below(&mut random, 200))).await;
            settle();
            Ok(Settlement::Ack)
        }
        8 if attempt < 5 => Ok(Settlement::Retry(Duration::from_millis(below(&mut random, 50)))),
        9 => {
            settle();
            Ok(Settlement::Skip("planted".into()))
        }
        10 => {
            sleep(Duration::from_millis(below(&mut random, 500))).await;
            settle();
            Ok(Settlement::Ack)
        }
        _ => {
            settle();
            Ok(Settlement::Ack)
        }
    }
}

struct Member {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<SourceCloseReport, SourceError>>,
}

struct World {
    kafka: MemoryKafka,
    partitions: i32,
    journal: Arc<Mutex<Journal>>,
    config: KafkaSourceConfig,
    plan: Plan,
    started: usize,
}

impl World {
    async fn start(&mut self) -> Member {
        let (member, plan, journal) = (self.started, self.plan, Arc::clone(&self.journal));
        self.started += 1;
        let service = service_fn(move |message| handle(plan, member, Arc::clone(&journal), message));
        let order = if plan.defect == Some(Defect::ForgetsTheOrder) { Order::None } else { plan.order };
        let policy = FailurePolicy::retry(RETRIES).backoff(Duration::from_millis(30), Duration::from_millis(100));
        let policy = if plan.skips { policy.then_skip() } else { policy };
        let source = source(&self.kafka, self.config.clone()).await;
        let serve: Serve<u32, _> = source.serve(service);
        let serve = serve.order(order).concurrency(plan.concurrency).on_failure(policy);
        let serve = serve.record_timeout(Duration::from_millis(600)).cancel_on_revoke(plan.seed % 2 == 0);
        let (stop, stopped) = oneshot::channel();
        Member { stop, task: tokio::spawn(serve.until(stopped)) }
    }

    /// No group offset is beyond a record that nobody has handled.
    fn judge(&self) {
        let mut journal = self.journal.lock().unwrap();
        for partition in 0..self.partitions {
            let offset = committed(&self.kafka, partition);
            let below = self.kafka.committed_partition(TOPIC, partition);
            let open = below.iter().map(|record| record.offset);
            let open = open.filter(|offset| !journal.settled.contains(&(partition, *offset))).min();
            let holds = open.is_none_or(|open| offset <= open);
            journal.check(holds, || format!("[{partition}]: committed {offset}, not handled {open:?}"));
        }
        assert_eq!(journal.broken, [""; 0]);
    }

    /// Everything was handled, and the group has no lag.
    fn judge_end(&self) {
        let journal = self.journal.lock().unwrap();
        for partition in 0..self.partitions {
            let records = self.kafka.committed_partition(TOPIC, partition);
            let left = records.iter().find(|record| !journal.settled.contains(&(partition, record.offset)));
            assert!(left.is_none(), "[{partition}]: {} is lost", left.unwrap().offset);
            assert_eq!(Some(committed(&self.kafka, partition)), self.kafka.high_watermark(TOPIC, partition), "lag");
        }
    }
}

/// Whether it ended as it may.
fn ended(result: Result<SourceCloseReport, SourceError>) {
    if let Err(error) = result {
        assert!(matches!(error.kind(), SourceErrorKind::Handler | SourceErrorKind::Timeout), "{error}");
    }
}

async fn run(seed: u64, defect: Option<Defect>) {
    let mut random = Random::new(seed);
    let mut below = |end: usize| random.below(end as u64) as usize;
    let partitions = 1 + below(3) as i32;
    let kafka = kafka(partitions as u32);
    let journal = Arc::new(Mutex::new(Journal::default()));
    for partition in 0..partitions {
        for value in 0..20 + below(40) as u32 {
            let key = ["", "a", "b", "c"][below(4)];
            let offset = kafka.high_watermark(TOPIC, partition).unwrap_or(0);
            journal.lock().unwrap().keys.entry((partition, key.into())).or_default().push(offset);
            append_keyed(&kafka, partition, [(key, value)]).await;
            if below(20) == 0 {
                append_aborted(&kafka, partition, 2).await;
            }
        }
    }
    let strategy = [CommitStrategy::Automatic, CommitStrategy::Periodic, CommitStrategy::Each];
    let config = KafkaSourceConfig {
        commit_interval_ms: 200,
        commit_timeout_ms: 300,
        drain_timeout_ms: 300,
        redelivery_backoff_ms: 50,
        max_unsettled: if below(2) == 0 { 1 + below(20) } else { 10_000 },
        ..config(strategy[below(3)])
    };
    let plan = Plan {
        seed,
        order: [Order::Key, Order::Partition, Order::None][below(3)],
        concurrency: 1 + below(8),
        skips: below(2) == 0,
        defect,
    };
    let mut world = World { kafka, partitions, journal, config, plan, started: 0 };
    let mut members: [Option<Member>; 3] = [None, None, None];
    for _ in 0..100 {
        let index = below(3);
        match (below(20), members[index].take()) {
            (0, Some(member)) => {
                drop(member.stop);
                ended(member.task.await.unwrap());
            }
            // Dropped with everything that it handles.
            (1, Some(member)) => member.task.abort(),
            (2, member) => {
                members[index] = member;
                world.kafka.start_rebalance(GROUP);
            }
            (3, member) => {
                members[index] = member;
                world.kafka.expel_members(GROUP);
            }
            (4, member) => {
                members[index] = member;
                let refused = CommitFault::Refuse(CommitAnswer::of_code([27, 14, 22][below(3)], TOPIC));
                world.kafka.next_commit([CommitFault::Lose, CommitFault::LoseAnswer, refused][below(3)].clone());
            }
            (_, Some(member)) if member.task.is_finished() => ended(member.task.await.unwrap()),
            (5.., None) => members[index] = Some(world.start().await),
            (_, member) => members[index] = member,
        }
        sleep(Duration::from_millis(below(300) as u64)).await;
        world.judge();
    }
    // Whoever is left handles what is left.
    sleep(Duration::from_secs(1)).await;
    world.journal.lock().unwrap().benign = true;
    sleep(Duration::from_secs(120)).await;
    world.judge();
    if members.iter().flatten().any(|member| !member.task.is_finished()) {
        world.judge_end();
    }
    for member in members.into_iter().flatten() {
        drop(member.stop);
        ended(member.task.await.unwrap());
    }
    finish(world).await;
}

/// A new member finds nothing that is lost.
async fn finish(mut world: World) {
    sleep(Duration::from_secs(10)).await;
    while world.kafka.expel_members(GROUP) > 0 {}
    let last = world.start().await;
    sleep(Duration::from_secs(120)).await;
    world.judge();
    drop(last.stop);
    let report = last.task.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    world.judge();
    assert!(report.is_complete(), "{report}");
    world.judge_end();
}

#[test]
fn serve_loses_nothing_and_keeps_the_order_of_keys() {
    each_seed(150, async |seed| run(seed, None).await);
}

#[test]
fn each_defect_of_a_handler_is_found() {
    use Defect::*;
    for defect in [AcknowledgesWhatFails, AcknowledgesWhatIsDropped, ForgetsTheOrder, NeverAnswers] {
        finds(&defect, async |seed| run(seed, Some(defect)).await);
    }
}
