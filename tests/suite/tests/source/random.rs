//! Random runs: members that join, leave, are expelled and lose commits, records that cannot be decoded, and applications that
//! acknowledge, give back, drop and keep messages in any order, seek and pause.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::memory::{CommitFault, MemoryKafka};
use kafka_tower::source::{Acked, Checkpoint, RebalanceListener, SourceErrorKind};
use kafka_tower::{
    BoxError, CommitStrategy, KafkaSource, KafkaSourceConfig, SeekTo, SourceError, SourceMessage, TopicPartition,
    async_trait,
};
use kafka_tower_core::CommitAnswer;
use kafka_tower_test_suite::random::Random;
use tokio::time::{sleep, timeout};

use crate::planted::{Defect, Source};
use crate::support::{GROUP, TOPIC, append, append_aborted, append_text, committed, config, each_seed, finds, kafka};

/// What is true, whatever the sources say.
struct World {
    kafka: MemoryKafka,
    partitions: i32,
    /// Offsets that were acknowledged and counted.
    settled: BTreeSet<(i32, i64)>,
    sources: Vec<Option<KafkaSource<u32>>>,
    held: Vec<SourceMessage<u32>>,
    config: KafkaSourceConfig,
    defect: Option<Defect>,
    undecoded: u32,
    /// Seed of the next source's listener, if it has one.
    listener: Option<u64>,
}

/// A listener that is slow, fails or panics now and then.
struct Unreliable {
    random: Mutex<Random>,
    /// The partitions for which it has prepared.
    owned: Mutex<BTreeSet<TopicPartition>>,
}

impl Unreliable {
    async fn run(&self, ends: bool) -> Result<(), BoxError> {
        let does = self.random.lock().unwrap().below(12);
        match does {
            0 => return Err("planted".into()),
            1 => panic!("planted"),
            2 if !ends => std::future::pending().await,
            3..6 => sleep(Duration::from_millis(does * 150)).await,
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl RebalanceListener for Unreliable {
    async fn assigned(&self, partitions: &[TopicPartition]) -> Result<Checkpoint, BoxError> {
        self.run(true).await?;
        let mut owned = self.owned.lock().unwrap();
        assert!(partitions.iter().all(|at| owned.insert(at.clone())), "it was not told of the end: {partitions:?}");
        Ok(Checkpoint::new())
    }

    async fn revoking(&self, partitions: &[TopicPartition]) {
        assert!(partitions.iter().all(|at| self.owned.lock().unwrap().contains(at)));
        drop(self.run(false).await);
    }

    async fn revoked(&self, partitions: &[TopicPartition]) -> Result<(), BoxError> {
        self.run(false).await?;
        let mut owned = self.owned.lock().unwrap();
        assert!(partitions.iter().all(|at| owned.remove(at)), "it was not told of the beginning: {partitions:?}");
        Ok(())
    }

    async fn lost(&self, partitions: &[TopicPartition]) {
        self.owned.lock().unwrap().retain(|at| !partitions.contains(at));
        drop(self.run(false).await);
    }
}

impl World {
    async fn source(&mut self) -> KafkaSource<u32> {
        if let Some(seed) = &mut self.listener {
            *seed += 1;
            let listener = Unreliable { random: Mutex::new(Random::new(*seed)), owned: Mutex::default() };
            let builder = KafkaSource::builder(self.config.clone()).transport(self.kafka.clone());
            return builder.listener(Arc::new(listener)).build().await.unwrap();
        }
        Source::build(&self.kafka, self.config.clone(), self.defect).await.inner
    }

    /// No group offset is beyond a record that nobody has acknowledged.
    fn judge(&self) {
        for partition in 0..self.partitions {
            let offset = committed(&self.kafka, partition);
            let below = self.kafka.committed_partition(TOPIC, partition);
            let unsettled = below.iter().find(|record| !self.settled.contains(&(partition, record.offset)));
            if let Some(record) = unsettled {
                assert!(
                    offset <= record.offset,
                    "{TOPIC}[{partition}]: committed {offset}, unsettled {}",
                    record.offset
                );
            }
        }
    }

    fn settle(&mut self, message: &SourceMessage<u32>) {
        self.entered((message.partition(), message.offset()), || message.ack());
    }

    /// Entered first: the commit may follow at once.
    fn entered(&mut self, at: (i32, i64), ack: impl FnOnce() -> Acked) {
        let new = self.settled.insert(at);
        if ack() == Acked::Stale && new {
            self.settled.remove(&at);
        }
    }

    fn give_back(&self, message: SourceMessage<u32>) {
        if self.defect == Some(Defect::AcknowledgesOnDrop) {
            message.ack();
        }
        drop(message);
    }

    /// Drops the first of each two, which comes again.
    fn cannot_be_decoded(&mut self, error: SourceError) {
        self.undecoded += 1;
        let (at, offset) = error.place().unwrap();
        let at = (at.partition, offset);
        if self.defect == Some(Defect::SkipsWhatCannotBeDecoded) {
            drop(error.skip());
        } else if self.undecoded.is_multiple_of(2) {
            self.entered(at, || error.skip().unwrap().1);
        }
    }

    /// What a seek passes over is the application's to lose.
    async fn seek(&mut self, index: usize, partition: i32, to: i64) {
        let end = self.kafka.high_watermark(TOPIC, partition).unwrap();
        let at = TopicPartition::new(TOPIC, partition);
        let Some(source) = &self.sources[index] else { return };
        if source.seek(&at, SeekTo::Offset(to.min(end))).await.is_ok() {
            self.settled.extend((0..to).map(|offset| (partition, offset)));
        }
    }

    async fn receive(&mut self, index: usize) -> Option<SourceMessage<u32>> {
        loop {
            let source = self.sources[index].as_mut()?;
            match timeout(Duration::from_millis(20), source.recv()).await.ok()? {
                Ok(message) => return Some(message),
                Err(error) if error.kind() == SourceErrorKind::Closed => return None,
                Err(error) if error.kind() == SourceErrorKind::Decode => self.cannot_be_decoded(error),
                Err(_) => {}
            }
        }
    }
}

async fn run(seed: u64, defect: Option<Defect>) {
    let mut random = Random::new(seed);
    let mut below = |end: usize| random.below(end as u64) as usize;
    let partitions = 1 + below(4) as i32;
    let kafka = kafka(partitions as u32);
    for partition in 0..partitions {
        append(&kafka, partition, 0..5 + below(15) as u32).await;
        if below(2) == 0 {
            append_aborted(&kafka, partition, 3).await;
            append(&kafka, partition, 0..5).await;
        }
        if below(3) == 0 {
            append_text(&kafka, partition, "bad").await;
            append(&kafka, partition, 0..below(5) as u32).await;
        }
        append_aborted(&kafka, partition, 1).await;
    }
    let strategy = [CommitStrategy::Automatic, CommitStrategy::Periodic, CommitStrategy::Each, CommitStrategy::Manual];
    let config = KafkaSourceConfig {
        commit_interval_ms: 200,
        commit_timeout_ms: 300,
        drain_timeout_ms: 500,
        redelivery_backoff_ms: 50,
        max_unsettled: 1 + below(20),
        ..config(strategy[below(4)])
    };
    let mut world = World {
        kafka,
        partitions,
        settled: BTreeSet::new(),
        sources: vec![None, None, None],
        held: Vec::new(),
        config,
        defect,
        undecoded: 0,
        listener: (defect.is_none() && seed.is_multiple_of(2)).then_some(seed * 1_000),
    };
    world.sources[0] = Some(world.source().await);
    for _ in 0..250 {
        let index = below(3);
        match below(43) {
            0..15 => {
                if let Some(message) = world.receive(index).await {
                    world.held.push(message);
                }
            }
            15..26 if !world.held.is_empty() => {
                let message = world.held.swap_remove(below(world.held.len()));
                world.settle(&message);
            }
            26 if !world.held.is_empty() => {
                let message = world.held.swap_remove(below(world.held.len()));
                world.give_back(message);
            }
            27 if !world.held.is_empty() => world.held[0].nack("planted"),
            28 | 29 => sleep(Duration::from_millis(below(400) as u64)).await,
            30 => {
                world.kafka.start_rebalance(GROUP);
            }
            31 => {
                world.kafka.expel_members(GROUP);
            }
            32 => world.kafka.next_commit(CommitFault::Lose),
            33 => world.kafka.next_commit(CommitFault::LoseAnswer),
            34 => {
                let code = [27, 16, 14, 22, 25, 113, 30][below(7)];
                world.kafka.next_commit(CommitFault::Refuse(CommitAnswer::of_code(code, TOPIC)));
            }
            35 => world.sources[index] = None,
            36 => {
                if let Some(source) = &world.sources[index] {
                    drop(source.close_within(Duration::from_millis(below(300) as u64)).await);
                    world.sources[index] = None;
                }
            }
            37 | 38 if world.sources[index].is_none() => {
                world.sources[index] = Some(world.source().await);
            }
            40 => world.seek(index, below(partitions as usize) as i32, below(30) as i64).await,
            41 | 42 => {
                let at = TopicPartition::new(TOPIC, below(partitions as usize) as i32);
                if let Some(source) = &world.sources[index] {
                    if below(2) == 0 {
                        source.pause(&at)
                    } else {
                        source.resume(&at)
                    };
                }
            }
            39 => {
                if let Some(source) = &world.sources[index] {
                    let _ = source.commit().await;
                }
            }
            _ => {}
        }
        world.judge();
    }
    finish(world).await;
}

/// Everything ends: one source reads what is left, and the group has no lag.
async fn finish(mut world: World) {
    world.held.clear();
    world.sources.clear();
    sleep(Duration::from_secs(10)).await;
    while world.kafka.expel_members(GROUP) > 0 {}
    world.listener = None;
    world.sources = vec![Some(world.source().await)];
    let mut seen: BTreeMap<i32, i64> = BTreeMap::new();
    let mut idle = 0;
    while idle < 50 {
        match world.receive(0).await {
            Some(message) => {
                let last = seen.insert(message.partition(), message.offset());
                assert!(last.is_none_or(|last| last < message.offset()), "in order");
                world.settle(&message);
                idle = 0;
            }
            None => idle += 1,
        }
        world.judge();
    }
    let left = world.sources[0].take().unwrap();
    // The faults that nothing has used yet.
    for _ in 0..20 {
        let _ = left.commit().await;
        sleep(Duration::from_secs(6)).await;
    }
    sleep(Duration::from_secs(70)).await;
    let report = left.close().await;
    world.judge();
    assert!(report.is_complete(), "{report}");
    for partition in 0..world.partitions {
        let records = world.kafka.committed_partition(TOPIC, partition);
        assert!(records.iter().all(|record| world.settled.contains(&(partition, record.offset))), "one is lost");
        assert_eq!(Some(committed(&world.kafka, partition)), world.kafka.high_watermark(TOPIC, partition), "lag");
    }
}

#[test]
fn nothing_unsettled_is_committed_and_nothing_is_lost() {
    each_seed(300, async |seed| run(seed, None).await);
}

#[test]
fn each_defect_is_found() {
    use Defect::*;
    let defects = [
        CommitsPastAnUnsettledMessage,
        CommitsTheOffsetAfterTheLastRecord,
        CommitsAfterTheRelease,
        SkipsWhatCannotBeDecoded,
        AcknowledgesOnDrop,
    ];
    for defect in defects {
        finds(&defect, async |seed| run(seed, Some(defect)).await);
    }
}
