//! Strategies other than at least once: offsets that the application keeps, and at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::memory::{CommitFault, MemoryKafka};
use kafka_tower::source::{Acked, Checkpoint, SourceErrorKind};
use kafka_tower::{CommitStrategy, KafkaSource, KafkaSourceConfig, SourceMessage, TopicPartition};
use kafka_tower_core::CommitAnswer;
use kafka_tower_test_suite::random::Random;
use tokio::time::{sleep, timeout};

use crate::support::{
    GROUP, LONG, TOPIC, append, append_aborted, committed, config, each_seed, filled, kafka, next, source, take,
};

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// What a database has: results, and in the same transaction the offset.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Rows>>);

/// The offsets, and the places of the results.
type Rows = (Checkpoint, Vec<(i32, i64)>);

impl Store {
    /// Stores the result of a message with the checkpoint, unless another source has stored it already.
    fn store(&self, message: &SourceMessage<u32>, checkpoint: &Checkpoint) -> bool {
        let (stored, results) = &mut *self.0.lock().unwrap();
        if stored.get(TOPIC, message.partition()).is_some_and(|stored| stored > message.offset()) {
            return false;
        }
        let mine = checkpoint.get(TOPIC, message.partition()).unwrap();
        assert_eq!(mine, message.offset() + 1, "in order, one in hand");
        stored.insert(message.at(), mine);
        results.push((message.partition(), message.offset()));
        true
    }

    async fn source(&self, kafka: &MemoryKafka, config: KafkaSourceConfig) -> KafkaSource<u32> {
        let store = self.clone();
        let look_up = move |at: TopicPartition| {
            let stored = store.0.lock().unwrap().0.get(&at.topic, at.partition);
            async move { Ok::<_, std::io::Error>(stored) }
        };
        KafkaSource::builder(config).transport(kafka.clone()).start_at(look_up).build().await.unwrap()
    }

    /// Handles the next message as the documentation of `checkpoint` says. `None` if there is none; otherwise whether it was
    /// stored.
    async fn handle(&self, source: &mut KafkaSource<u32>) -> Option<bool> {
        let received = timeout(Duration::from_millis(20), source.recv()).await;
        let Ok(Ok(message)) = received else { return None };
        let mut checkpoint = source.checkpoint();
        checkpoint.insert(message.at(), message.offset() + 1);
        let stored = self.store(&message, &checkpoint);
        message.ack();
        Some(stored)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_offset_comes_before_the_committed_one() {
    let kafka = filled(1, 5).await;
    let (store, config) = (Store::default(), config(CommitStrategy::Checkpoint));
    let mut first = store.source(&kafka, config.clone()).await;
    for _ in 0..3 {
        assert_eq!(store.handle(&mut first).await, Some(true));
    }
    sleep(LONG).await;
    assert_eq!(kafka.committed_offset(GROUP, TOPIC, 0), None, "nothing is committed by itself");
    let early: Checkpoint = [(at(0), 1)].into_iter().collect();
    first.commit_checkpoint(&early).await.unwrap();
    assert_eq!(committed(&kafka, 0), 1);
    let error = first.commit().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Config);
    let message = next(&mut first).await;
    assert_eq!(message.commit().await.unwrap_err().kind(), SourceErrorKind::Config);
    assert!(first.close().await.is_complete(), "what is not committed is the application's");
    let mut second = store.source(&kafka, config).await;
    assert_eq!(next(&mut second).await.offset(), 3, "stored, neither the first nor the committed one");
    let gone: Checkpoint = [(at(7), 1)].into_iter().collect();
    assert_eq!(second.commit_checkpoint(&gone).await.unwrap_err().kind(), SourceErrorKind::PartitionsLost);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_or_panics_is_repeated() {
    let kafka = filled(1, 3).await;
    let calls = Arc::new(Mutex::new(0));
    let look_up = move |_| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        let call = *calls;
        async move {
            match call {
                1 => Err(std::io::Error::other("planted")),
                2 => panic!("planted"),
                3 => Ok(Some(-1)),
                _ => Ok(Some(2)),
            }
        }
    };
    let config = config(CommitStrategy::Checkpoint);
    let mut source = KafkaSource::<u32>::builder(config).transport(kafka).start_at(look_up).build().await.unwrap();
    for _ in 0..3 {
        let error = timeout(LONG, source.recv()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.partitions()), (SourceErrorKind::Seek, &[at(0)][..]));
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(next(&mut source).await.offset(), 2, "and none from another place before");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_committed_when_its_commit_is_ok() {
    let kafka = filled(1, 3).await;
    let manual = KafkaSourceConfig { commit_on_revoke: false, ..config(CommitStrategy::Manual) };
    let mut source = source(&kafka, manual).await;
    let messages = take(&mut source, 3).await;
    messages[0].commit().await.unwrap();
    assert_eq!(committed(&kafka, 0), 1);
    let third = messages[2].commit();
    let error = third.await.unwrap_err();
    assert_eq!((error.kind(), error.partitions()), (SourceErrorKind::Commit, &[at(0)][..]));
    assert!(error.message().contains("before it"), "{error}");
    let third = messages[2].commit();
    let (second, third) = tokio::join!(messages[1].commit(), third);
    second.and(third).unwrap();
    assert_eq!(committed(&kafka, 0), 3);
    messages[0].commit().await.unwrap();
    append(&kafka, 0, 3..4).await;
    let late = next(&mut source).await;
    kafka.expel_members(GROUP);
    sleep(Duration::from_millis(1)).await;
    let error = late.commit().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::PartitionsLost);
    assert_eq!(late.ack(), Acked::Stale);
}

#[tokio::test(start_paused = true)]
async fn at_most_once_is_committed_before_it_is_handed_out() {
    let kafka = filled(1, 3).await;
    kafka.next_commit(CommitFault::Lose);
    let mut first = source(&kafka, config(CommitStrategy::AtMostOnce)).await;
    let error = timeout(LONG, first.recv()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Commit, "it waits for the answer");
    let message = next(&mut first).await;
    assert_eq!((message.offset(), committed(&kafka, 0)), (0, 3));
    drop(message);
    next(&mut first).await.nack("planted");
    assert_eq!(next(&mut first).await.offset(), 2);
    assert!(timeout(LONG, first.recv()).await.is_err(), "none comes again");
    assert!(first.close().await.is_complete());
    let mut second = source(&kafka, config(CommitStrategy::AtMostOnce)).await;
    assert!(timeout(LONG, second.recv()).await.is_err(), "nor for the next one");
}

/// A group whose members come, go, are expelled and lose commits.
struct Group {
    kafka: MemoryKafka,
    partitions: i32,
    random: Random,
    sources: Vec<Option<KafkaSource<u32>>>,
    config: KafkaSourceConfig,
    store: Option<Store>,
    /// Partitions are given back, and never lost.
    graceful: bool,
}

impl Group {
    async fn new(seed: u64, commit: CommitStrategy) -> Self {
        let mut random = Random::new(seed);
        let partitions = 1 + random.below(3) as i32;
        let kafka = kafka(partitions as u32);
        for partition in 0..partitions {
            append(&kafka, partition, 0..5 + random.below(20) as u32).await;
            append_aborted(&kafka, partition, 2).await;
            append(&kafka, partition, 0..random.below(90) as u32).await;
        }
        let config = KafkaSourceConfig {
            commit_timeout_ms: 300,
            drain_timeout_ms: 500,
            redelivery_backoff_ms: 50,
            max_unsettled: 1 + random.below(20) as usize,
            ..config(commit)
        };
        let store = (commit == CommitStrategy::Checkpoint).then(Store::default);
        Self { kafka, partitions, random, sources: vec![None, None, None], config, store, graceful: seed & 1 == 0 }
    }

    async fn open(&self) -> KafkaSource<u32> {
        match &self.store {
            Some(store) => store.source(&self.kafka, self.config.clone()).await,
            None => source(&self.kafka, self.config.clone()).await,
        }
    }

    /// Something happens to the group.
    async fn disturb(&mut self) {
        let index = self.random.below(3) as usize;
        match self.random.below(9) {
            0 => {
                self.kafka.start_rebalance(GROUP);
            }
            1 if !self.graceful => {
                self.kafka.expel_members(GROUP);
            }
            2 => self.kafka.next_commit(CommitFault::Lose),
            3 => self.kafka.next_commit(CommitFault::LoseAnswer),
            4 => {
                let code = [27, 16, 14, 22, 25, 113][self.random.below(6) as usize];
                self.kafka.next_commit(CommitFault::Refuse(CommitAnswer::of_code(code, TOPIC)));
            }
            5 => sleep(Duration::from_millis(self.random.below(600))).await,
            6 => self.sources[index] = None,
            _ if self.sources[index].is_none() => self.sources[index] = Some(self.open().await),
            _ => {}
        }
    }

    fn all(&self) -> BTreeSet<(i32, i64)> {
        let of = |partition| {
            self.kafka.committed_partition(TOPIC, partition).into_iter().map(move |of| (partition, of.offset))
        };
        (0..self.partitions).flat_map(of).collect()
    }
}

/// With the offsets in the application's store, each record has one result, in order, whatever happens to the group.
#[test]
fn with_checkpoints_each_record_has_one_result() {
    each_seed(100, async |seed| {
        let mut group = Group::new(seed, CommitStrategy::Checkpoint).await;
        let store = group.store.clone().unwrap();
        for _ in 0..150 {
            group.disturb().await;
            for index in 0..3 {
                if let Some(source) = &mut group.sources[index] {
                    let refused = store.handle(source).await == Some(false);
                    assert!(!(refused && group.graceful), "read again, although its offset was stored");
                    if group.random.below(4) == 0 {
                        let _ = source.commit_checkpoint(&source.checkpoint()).await;
                    }
                }
            }
        }
        group.sources.clear();
        sleep(LONG).await;
        let mut last = group.open().await;
        let mut idle = 0;
        while idle < 50 {
            idle = if store.handle(&mut last).await.is_some() { 0 } else { idle + 1 };
        }
        let (_, results) = &*store.0.lock().unwrap();
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset) in results {
            let next = next.entry(*partition).or_default();
            assert!(offset >= next, "in order, and once");
            *next = offset + 1;
        }
        assert_eq!(results.iter().copied().collect::<BTreeSet<_>>(), group.all(), "all of them");
    });
}

/// At most once: no record is handed out twice, and none before it is committed.
#[test]
fn at_most_once_hands_nothing_out_twice() {
    each_seed(100, async |seed| {
        let mut group = Group::new(seed, CommitStrategy::AtMostOnce).await;
        let (mut handed, mut held) = (BTreeSet::new(), Vec::new());
        for _ in 0..150 {
            group.disturb().await;
            for index in 0..3 {
                let Some(source) = &mut group.sources[index] else { continue };
                let Ok(Ok(message)) = timeout(Duration::from_millis(20), source.recv()).await else { continue };
                let place = (message.partition(), message.offset());
                assert!(handed.insert(place), "{place:?} twice");
                assert!(committed(&group.kafka, place.0) > place.1, "{place:?} is not committed");
                match group.random.below(4) {
                    0 => drop(message),
                    1 => message.nack("planted"),
                    2 => held.push(message),
                    _ => drop(message.ack()),
                }
            }
        }
        assert!(handed.is_subset(&group.all()));
    });
}
