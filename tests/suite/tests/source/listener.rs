//! A listener of the application takes part in rebalances, and holds none up for longer than its time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::{Acked, Checkpoint, RebalanceListener, SourceErrorKind, SourceRecovery};
use kafka_tower::{
    BoxError, CommitStrategy, KafkaSource, KafkaSourceConfig, SourceError, SourceMessage, TopicPartition, async_trait,
};
use tokio::time::{sleep, timeout};

use crate::support::{GROUP, LONG, TOPIC, append, committed, config, kafka, next};

const DRAIN: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

/// How a method behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    Waits(Duration),
    Fails,
    Panics,
    NeverEnds,
}

impl Does {
    async fn run(self) -> Result<(), BoxError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Waits(time) => {
                sleep(time).await;
                Ok(())
            }
            Self::Fails => Err("planted".into()),
            Self::Panics => panic!("planted"),
            Self::NeverEnds => std::future::pending().await,
        }
    }
}

/// Notes its calls, with the offset that the group has committed when they begin.
struct Noting {
    kafka: MemoryKafka,
    calls: Mutex<Vec<String>>,
    /// What the next calls do, by method. The last one stays.
    does: Mutex<Vec<(&'static str, Does)>>,
    offsets: Mutex<Checkpoint>,
    /// Acknowledged by `revoking`.
    held: Mutex<Vec<SourceMessage<u32>>>,
}

impl Noting {
    fn new(kafka: &MemoryKafka, does: &[(&'static str, Does)]) -> Arc<Self> {
        let (calls, offsets, held) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { kafka: kafka.clone(), calls, does: Mutex::new(does.to_vec()), offsets, held })
    }

    fn note(&self, method: &'static str, partitions: &[TopicPartition]) -> Does {
        let numbers: Vec<_> = partitions.iter().map(|at| at.partition).collect();
        self.calls.lock().unwrap().push(format!("{method} {numbers:?} at {}", committed(&self.kafka, 0)));
        let mut does = self.does.lock().unwrap();
        let found = does.iter().position(|(of, _)| *of == method);
        found.map_or(Does::Nothing, |found| does.remove(found).1)
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

#[async_trait]
impl RebalanceListener for Noting {
    async fn assigned(&self, partitions: &[TopicPartition]) -> Result<Checkpoint, BoxError> {
        self.note("assigned", partitions).run().await?;
        Ok(self.offsets.lock().unwrap().clone())
    }

    async fn revoking(&self, partitions: &[TopicPartition]) {
        let does = self.note("revoking", partitions);
        self.held.lock().unwrap().drain(..).for_each(|message| assert_eq!(message.ack(), Acked::Counted));
        drop(does.run().await);
    }

    async fn revoked(&self, partitions: &[TopicPartition]) -> Result<(), BoxError> {
        self.note("revoked", partitions).run().await
    }

    async fn lost(&self, partitions: &[TopicPartition]) {
        drop(self.note("lost", partitions).run().await);
    }
}

async fn listened(kafka: &MemoryKafka, config: KafkaSourceConfig, listener: &Arc<Noting>) -> KafkaSource<u32> {
    KafkaSource::builder(config).transport(kafka.clone()).listener(Arc::clone(listener)).build().await.unwrap()
}

async fn error(source: &mut KafkaSource<u32>) -> SourceError {
    timeout(LONG, source.recv()).await.expect("an error").expect_err("an error")
}

#[tokio::test(start_paused = true)]
async fn each_method_is_called_at_its_time() {
    let kafka = kafka(2);
    append(&kafka, 0, 0..3).await;
    let listener = Noting::new(&kafka, &[("assigned", Does::Waits(SECOND)), ("revoking", Does::Waits(SECOND))]);
    let mut source = listened(&kafka, config(CommitStrategy::Manual), &listener).await;
    assert!(timeout(SECOND / 2, source.recv()).await.is_err(), "nothing comes before it is ready");
    next(&mut source).await.ack();
    let held = next(&mut source).await;
    listener.held.lock().unwrap().push(held);
    assert_eq!(listener.calls(), ["assigned [0, 1] at 0"]);
    kafka.start_rebalance(GROUP);
    sleep(SECOND / 2).await;
    assert_eq!(listener.calls(), ["revoking [0, 1] at 0"], "while messages are held");
    assert_eq!(kafka.committed_offset(GROUP, TOPIC, 0), None, "it waits for the listener, not only for messages");
    let message = next(&mut source).await;
    assert_eq!((message.offset(), message.ack()), (2, Acked::Counted));
    assert_eq!(listener.calls(), ["revoked [0, 1] at 0", "assigned [0, 1] at 2"], "the commit comes between the two");
    assert!(source.close().await.is_complete());
    assert_eq!(listener.calls(), ["revoking [0, 1] at 2", "revoked [0, 1] at 2"]);
    assert_eq!(committed(&kafka, 0), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_source_calls_its_listener() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..3).await;
    let listener = Noting::new(&kafka, &[]);
    let mut source = listened(&kafka, config(CommitStrategy::Automatic), &listener).await;
    next(&mut source).await.ack();
    drop(source);
    sleep(DRAIN).await;
    assert_eq!(listener.calls(), ["assigned [0] at 0", "revoking [0] at 0", "revoked [0] at 0"]);
    assert_eq!(committed(&kafka, 0), 1);
}

#[tokio::test(start_paused = true)]
async fn a_listener_says_where_partitions_begin() {
    let kafka = kafka(2);
    append(&kafka, 0, 0..5).await;
    append(&kafka, 1, 5..6).await;
    let listener = Noting::new(&kafka, &[]);
    listener.offsets.lock().unwrap().insert(&TopicPartition::new(TOPIC, 0), 4);
    let config = config(CommitStrategy::Checkpoint);
    let mut source = listened(&kafka, config, &listener).await;
    let mut values = [next(&mut source).await, next(&mut source).await].map(|message| *message.value().unwrap());
    values.sort_unstable();
    assert_eq!(values, [4, 5], "a partition without an offset begins as without a listener");
}

#[tokio::test(start_paused = true)]
async fn an_assignment_waits_until_its_listener_has_succeeded() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..3).await;
    let does = [Does::Fails, Does::Panics, Does::NeverEnds].map(|does| ("assigned", does));
    let listener = Noting::new(&kafka, &does);
    let mut source = listened(&kafka, config(CommitStrategy::Automatic), &listener).await;
    for _ in 0..2 {
        let error = error(&mut source).await;
        assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Listener, SourceRecovery::Continue), "{error}");
    }
    assert!(timeout(LONG, source.recv()).await.is_err(), "it has no time limit");
    assert!(source.seek(&TopicPartition::new(TOPIC, 0), kafka_tower::SeekTo::Offset(1)).await.is_ok());
    assert!(timeout(LONG, source.recv()).await.is_err(), "also after a seek");
    listener.calls();
    kafka.start_rebalance(GROUP);
    assert_eq!(next(&mut source).await.offset(), 1, "the seek was committed");
    assert_eq!(listener.calls(), ["assigned [0] at 1"], "it was not told of an assignment that it did not hear of");
}

/// Whatever `revoked` does, the partitions are given back in time. Only if it succeeds, what was settled is committed.
#[tokio::test(start_paused = true)]
async fn a_rebalance_does_not_wait_for_a_listener_that_is_slow_fails_or_panics() {
    for (does, time, is_committed) in [
        (Does::Nothing, Duration::ZERO, true),
        (Does::Waits(DRAIN - SECOND), DRAIN - SECOND, true),
        (Does::Waits(DRAIN + SECOND), DRAIN, false),
        (Does::NeverEnds, DRAIN, false),
        (Does::Fails, Duration::ZERO, false),
        (Does::Panics, Duration::ZERO, false),
    ] {
        let kafka = kafka(1);
        append(&kafka, 0, 0..2).await;
        let listener = Noting::new(&kafka, &[("revoked", does)]);
        let mut source = listened(&kafka, config(CommitStrategy::Manual), &listener).await;
        next(&mut source).await.ack();
        let begun = tokio::time::Instant::now();
        kafka.start_rebalance(GROUP);
        sleep(SECOND / 100).await;
        if !is_committed {
            let error = error(&mut source).await;
            assert_eq!(
                (error.kind(), error.recovery()),
                (SourceErrorKind::Listener, SourceRecovery::Continue),
                "{error}"
            );
        }
        assert_eq!(next(&mut source).await.offset(), i64::from(is_committed), "{does:?}");
        assert!(begun.elapsed() >= time && begun.elapsed() < time + SECOND / 10, "{does:?}: {:?}", begun.elapsed());
        let all = ["assigned [0] at 0", "revoking [0] at 0", "revoked [0] at 0", "lost [0] at 0", "assigned [0] at 0"];
        let calls = listener.calls();
        if is_committed {
            assert_eq!(calls[2..], ["revoked [0] at 0", "assigned [0] at 1"], "{does:?}");
        } else {
            assert_eq!(calls, all, "{does:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_longer_for_a_listener_than_for_messages() {
    for does in [Does::NeverEnds, Does::Panics] {
        let kafka = kafka(1);
        append(&kafka, 0, 0..2).await;
        let listener = Noting::new(&kafka, &[("revoking", does)]);
        let mut source = listened(&kafka, config(CommitStrategy::Manual), &listener).await;
        next(&mut source).await.ack();
        let begun = tokio::time::Instant::now();
        kafka.start_rebalance(GROUP);
        sleep(SECOND / 100).await;
        assert_eq!(error(&mut source).await.kind(), SourceErrorKind::Listener);
        assert_eq!(next(&mut source).await.offset(), 1, "{does:?}: what was settled is committed");
        assert!(begun.elapsed() <= DRAIN + SECOND / 10, "{:?}", begun.elapsed());
        assert_eq!(listener.calls()[2..], ["revoked [0] at 0", "assigned [0] at 1"], "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_of_lost_partitions_and_of_nothing_else() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..2).await;
    let listener = Noting::new(&kafka, &[("lost", Does::NeverEnds)]);
    let mut source = listened(&kafka, config(CommitStrategy::Manual), &listener).await;
    let message = next(&mut source).await;
    kafka.expel_members(GROUP);
    while !matches!(timeout(LONG, source.recv()).await.unwrap(), Err(error) if error.kind() == SourceErrorKind::Listener)
    {
    }
    assert_eq!(message.ack(), Acked::Stale);
    assert_eq!(next(&mut source).await.offset(), 0);
    assert_eq!(listener.calls(), ["assigned [0] at 0", "lost [0] at 0", "assigned [0] at 0"]);
}

/// The listener may be under way when the partitions are lost: its answer comes too late.
#[tokio::test(start_paused = true)]
async fn partitions_that_are_lost_while_a_listener_is_asked_are_not_committed() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..2).await;
    let listener = Noting::new(&kafka, &[("revoked", Does::Waits(5 * SECOND))]);
    let mut source = listened(&kafka, config(CommitStrategy::Manual), &listener).await;
    next(&mut source).await.ack();
    kafka.start_rebalance(GROUP);
    sleep(SECOND).await;
    kafka.expel_members(GROUP);
    assert_eq!(error(&mut source).await.kind(), SourceErrorKind::PartitionsLost);
    assert_eq!(next(&mut source).await.offset(), 0);
    assert_eq!(committed(&kafka, 0), 0);
    let calls = listener.calls();
    assert_eq!(calls[2..], ["revoked [0] at 0", "lost [0] at 0", "assigned [0] at 0"], "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_asks_the_listener() {
    for (does, is_committed) in [(Does::Waits(DRAIN - SECOND), true), (Does::NeverEnds, false)] {
        let kafka = kafka(1);
        append(&kafka, 0, 0..2).await;
        let listener = Noting::new(&kafka, &[("revoked", does)]);
        let mut source = listened(&kafka, config(CommitStrategy::Automatic), &listener).await;
        next(&mut source).await.ack();
        let report = timeout(DRAIN + SECOND, source.close_within(Duration::ZERO)).await.unwrap();
        assert_eq!((report.is_complete(), committed(&kafka, 0)), (is_committed, i64::from(is_committed)), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_needs_times_that_fit_into_a_rebalance() {
    let kafka = kafka(1);
    let listener = Noting::new(&kafka, &[]);
    let config = KafkaSourceConfig { rebalance_timeout_ms: 24_000, ..config(CommitStrategy::Automatic) };
    let builder = KafkaSource::<u32>::builder(config).transport(kafka.clone()).listener(listener);
    assert_eq!(builder.build().await.unwrap_err().kind(), kafka_tower::ErrorKind::Config);
}
