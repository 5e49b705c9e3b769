//! Random runs: members that join, leave, are killed and expelled, coordinators that lose, delay and refuse, and handlers that
//! take any time, fail and panic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::layers::dead_letter::DeadLetterLayer;
use kafka_tower::memory::{FaultKind, Faults, MemoryKafka, TransactionCall};
use kafka_tower::source::{FailurePolicy, Order, SourceErrorKind};
use kafka_tower::{Error, ErrorKind, KafkaSourceConfig, Persistence, Recovery, SourceMessage};
use kafka_tower_test_suite::random::Random;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::support::{BILLS, Ended, bill, bills, kafka, letters, offsets, settings, sink, until_idle};
use crate::support::{GROUP, TOPIC, append, append_aborted, append_keyed, append_text, committed, each_seed, source};

/// A key of a partition.
type Key = (i32, Bytes);

/// Of each key: the offsets of its messages, in order.
type Keys = Arc<BTreeMap<Key, Vec<i64>>>;

/// The handlers of one member, of each key: the offset of the last one that has begun, and whether it runs.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<BTreeMap<Key, (i64, bool)>>>);

/// A handler that runs, until it is dropped.
struct Handled {
    running: Running,
    key: Key,
}

impl Running {
    /// Handlers of a key run one after another, in the order of the messages: the last one was that of the message before, or
    /// of a later one whose partition is read again.
    fn begin(&self, order: &SourceMessage<u32>, keys: &Keys) -> Option<Handled> {
        let key = (order.partition(), order.key()?.clone());
        let before = keys[&key].iter().rev().find(|offset| **offset < order.offset());
        let last = self.0.lock().unwrap().insert(key.clone(), (order.offset(), true));
        if let Some((last, runs)) = last {
            assert!(!runs, "{key:?}: two handlers run");
            assert!(Some(last) >= before.copied(), "{key:?}: {} after {last}, before {before:?}", order.offset());
        }
        Some(Handled { running: self.clone(), key })
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        if let Some((_, runs)) = self.running.0.lock().unwrap().get_mut(&self.key) {
            *runs = false;
        }
    }
}

struct Input {
    offset: i64,
    /// `None`: it cannot be decoded.
    value: Option<u32>,
}

struct World {
    kafka: MemoryKafka,
    keys: Keys,
    config: KafkaSourceConfig,
    members: Vec<Option<JoinHandle<Ended>>>,
    /// Whether what fails is dead-lettered, and some records cannot be decoded.
    letters: bool,
    /// Sinks with the same transactional id fence each other, as a restarted process does.
    started: usize,
}

impl World {
    async fn start(&mut self, index: usize, random: &mut Random, fails: bool) {
        let seed = random.below(1 << 32);
        let mut of_handlers = Random::new(seed);
        let slowest = [1, 20, 300][random.below(3) as usize];
        let order = [Order::Key, Order::Key, Order::Partition, Order::None][random.below(4) as usize];
        let (running, keys) = (Running::default(), Arc::clone(&self.keys));
        let handler = move |message: SourceMessage<u32>| {
            let runs = if order == Order::None { None } else { running.begin(&message, &keys) };
            let time = Duration::from_millis(of_handlers.below(slowest));
            let bad = fails && of_handlers.below(150) == 0;
            let panics = of_handlers.below(2) == 0;
            async move {
                let _runs = runs;
                sleep(time).await;
                assert!(!(bad && panics), "planted");
                if bad { Err("planted") } else { Ok(vec![bill(&message)]) }
            }
        };
        self.started += 1;
        let (source, sink) = (
            source(&self.kafka, self.config.clone()).await,
            sink(&self.kafka, &format!("billing-{}", self.started)).await,
        );
        let run = source
            .transactional(sink, handler)
            .on_failure(
                FailurePolicy::retry(random.below(3) as u32).backoff(Duration::from_millis(20), Duration::from_secs(1)),
            )
            .max_records(1 + random.below(40) as usize)
            .max_age(Duration::from_millis(random.below(200)))
            .concurrency(1 + random.below(16) as usize)
            .order(order);
        let run = if self.letters { run.dead_letters(DeadLetterLayer::default()) } else { run };
        self.members[index] = Some(tokio::spawn(run.into_future()));
    }

    /// What is committed for a partition: the offsets of bills and of dead letters, and whether nothing hides more of them.
    fn made(&self, partition: i32, orders: &[Input]) -> (Vec<i64>, bool) {
        let offset = |value: u32| orders.iter().find(|order| order.value == Some(value)).unwrap().offset;
        let bills: Vec<_> = bills(&self.kafka, partition).into_iter().map(offset).collect();
        let letters = letters(&self.kafka, partition);
        for made in [&bills, &letters] {
            assert!(made.is_sorted_by(|one, next| one < next), "partition {partition}: {made:?}");
        }
        let mut made = [bills, letters].concat();
        made.sort_unstable();
        let stable =
            |topic| self.kafka.last_stable_offset(topic, partition) == self.kafka.high_watermark(topic, partition);
        (made, stable(BILLS) && stable("orders.dlq"))
    }

    /// Of each partition, what is committed are the bills or dead letters of a prefix of the orders, once and in order, and the
    /// offset is theirs.
    fn judge(&self, orders: &[Vec<Input>]) {
        for (partition, orders) in orders.iter().enumerate() {
            let (made, all) = self.made(partition as i32, orders);
            // Behind an open transaction, for example of a member that was killed, nobody sees what was committed.
            if all {
                let expected = orders.iter().map(|order| order.offset).take(made.len());
                assert!(expected.eq(made.iter().copied()), "partition {partition}: {made:?}");
            }
            let committed = committed(&self.kafka, partition as i32);
            let below = self.kafka.committed_partition(TOPIC, partition as i32);
            let below = below.iter().filter(|record| record.offset < committed).count();
            if all {
                let what = "the offset is not that of what was made";
                assert_eq!(below, made.len(), "partition {partition}, {committed}: {what}");
            } else {
                assert!(below >= made.len(), "partition {partition}: the offset {committed} is behind what was made");
            }
        }
    }
}

fn error(recovery: Recovery, persistence: Persistence) -> Error {
    Error::new(ErrorKind::Fatal, "planted").with_recovery(recovery).with_persistence(persistence)
}

async fn run(seed: u64) {
    let random = &mut Random::new(seed);
    let partitions = 1 + random.below(4) as i32;
    let kafka = kafka(partitions as u32).with_topic("orders.dlq", partitions as u32);
    let letters = random.below(2) == 0;
    let (mut orders, mut keys) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    let names = 1 + random.below(8);
    for partition in 0..partitions {
        let count = 20 + random.below(100) as u32;
        let mut of_partition = Vec::new();
        for value in 0..count {
            let mut order = |value| {
                let offset = kafka.high_watermark(TOPIC, partition).unwrap() - 1;
                of_partition.push(Input { offset, value });
                offset
            };
            if value == count / 2 {
                append_aborted(&kafka, partition, random.below(3) as u32).await;
            }
            if letters && random.below(20) == 0 {
                append_text(&kafka, partition, "no number").await;
                order(None);
                continue;
            }
            // Some have no key.
            let Some(key) = random.below(names + 1).checked_sub(1).map(|key| format!("key-{key}")) else {
                append(&kafka, partition, [value]).await;
                order(Some(value));
                continue;
            };
            append_keyed(&kafka, partition, [(&*key, value)]).await;
            keys.entry((partition, Bytes::from(key))).or_default().push(order(Some(value)));
        }
        orders.push(of_partition);
    }
    let config =
        KafkaSourceConfig { drain_timeout_ms: 500, max_unsettled: 1 + random.below(100) as usize, ..settings() };
    let mut world = World { kafka, letters, keys: Arc::new(keys), config, members: vec![None, None, None], started: 0 };
    if random.below(2) == 0 {
        let faults = Faults::none()
            .with(FaultKind::DelayTransaction, 0.05)
            .with(FaultKind::LoseTransactionAnswer, 0.05)
            .with(FaultKind::LoseTransactionRequest, 0.05)
            .with(FaultKind::FailTransaction, 0.03)
            .with(FaultKind::DelayAnswer, 0.02)
            .with(FaultKind::Refuse, 0.01);
        world.kafka.seed_faults(seed, faults);
    }
    let fails = random.below(2) == 0;
    world.start(0, random, fails).await;
    for _ in 0..60 {
        let index = random.below(3) as usize;
        let call = [TransactionCall::SendOffsets, TransactionCall::Commit][random.below(2) as usize];
        let rule = world.kafka.script_transactions().on(call).after(random.below(3));
        match random.below(16) {
            0 => drop(world.kafka.start_rebalance(GROUP)),
            1 => drop(world.kafka.expel_members(GROUP)),
            2..5 if world.members[index].is_none() => world.start(index, random, fails).await,
            // Killed: its transaction stays open until it is aborted in the background or times out.
            5 => {
                if let Some(member) = world.members[index].take() {
                    member.abort();
                }
            }
            6 => drop(rule.times(random.below(30)).lose_request()),
            7 => drop(rule.times(random.below(30)).lose_answer()),
            8 => drop(rule.fail(error(Recovery::AbortTransaction, Persistence::NotPersisted))),
            9 if call == TransactionCall::Commit => {
                drop(rule.fail(error(Recovery::Fatal, Persistence::PossiblyPersisted)));
            }
            10 if call == TransactionCall::Commit => {
                drop(rule.lose_answer_with(error(Recovery::Fatal, Persistence::PossiblyPersisted)));
            }
            11 => drop(rule.delay(Duration::from_millis(random.below(3_000)))),
            _ => {}
        }
        sleep(Duration::from_millis(random.below(400))).await;
        world.judge(&orders);
        for member in &mut world.members {
            if member.as_ref().is_some_and(JoinHandle::is_finished) {
                // Only a planted failure of a handler ends a member.
                let error = member.take().unwrap().await.unwrap().unwrap_err();
                assert_eq!(error.kind(), SourceErrorKind::Handler, "{error:?}");
            }
        }
    }
    finish(world, &orders, random).await;
}

/// All faults end, and one member handles what is left.
async fn finish(mut world: World, orders: &[Vec<Input>], random: &mut Random) {
    world.kafka.stop_faults();
    world.kafka.clear_script();
    for member in world.members.iter_mut().filter_map(Option::take) {
        member.abort();
    }
    sleep(Duration::from_secs(90)).await;
    while world.kafka.expel_members(GROUP) > 0 {}
    world.start(0, random, false).await;
    until_idle(&world.kafka).await;
    world.judge(orders);
    for (partition, orders) in orders.iter().enumerate() {
        let (made, all) = world.made(partition as i32, orders);
        assert_eq!((made.len(), all), (orders.len(), true), "partition {partition}: {:?}", offsets(&world.kafka));
        let end = world.kafka.high_watermark(TOPIC, partition as i32);
        assert_eq!(Some(committed(&world.kafka, partition as i32)), end, "no lag");
    }
}

#[test]
fn each_message_has_its_output_exactly_once_and_in_order() {
    each_seed(256, run);
}
