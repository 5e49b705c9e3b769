//! Rebalances between sources, with each protocol.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::source::{Acked, Checkpoint, RebalanceListener, SourceErrorKind};
use kafka_tower::{BoxError, KafkaSource, KafkaSourceConfig, TopicPartition, async_trait};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Isolation};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::read::{PATIENCE, config, next, no_lag, send, sink, source};
use crate::support::Kind;

type Counts = Arc<Mutex<BTreeMap<u32, u32>>>;

/// Reads and acknowledges until the source is closed. Counts what was acknowledged in time. `gives_back`: each 40th message is
/// given back once, so that there are seeks in rebalances.
fn reader(mut source: KafkaSource<u32>, counts: &Counts, gives_back: bool) -> JoinHandle<()> {
    let counts = Arc::clone(counts);
    tokio::spawn(async move {
        loop {
            match source.recv().await {
                Ok(message) => {
                    let number = *message.value().unwrap();
                    if gives_back && number % 40 == 0 && message.attempt() == 1 {
                        message.nack("planted");
                    } else if message.ack() == Acked::Counted {
                        *counts.lock().unwrap().entry(number).or_default() += 1;
                    }
                }
                Err(error) if error.kind() == SourceErrorKind::Closed => return,
                Err(error) => panic!("{error}"),
            }
        }
    })
}

/// Partitions of a topic whose listeners have heard that they own them.
type Owned = Arc<Mutex<BTreeSet<TopicPartition>>>;

/// Hears of assignments and revocations. A partition that one member has is no other's: `revoked` has ended before another
/// `assigned` begins.
struct Exclusive(Owned);

#[async_trait]
impl RebalanceListener for Exclusive {
    async fn assigned(&self, partitions: &[TopicPartition]) -> Result<Checkpoint, BoxError> {
        let mut owned = self.0.lock().unwrap();
        let others: Vec<_> = partitions.iter().filter(|at| owned.contains(*at)).collect();
        assert!(others.is_empty(), "another member has not given back {others:?}");
        owned.extend(partitions.iter().cloned());
        Ok(Checkpoint::new())
    }

    async fn revoked(&self, partitions: &[TopicPartition]) -> Result<(), BoxError> {
        // Long enough that a group that does not wait gives them to the other member.
        sleep(Duration::from_millis(300)).await;
        let mut owned = self.0.lock().unwrap();
        assert!(partitions.iter().all(|at| owned.remove(at)), "not owned: {partitions:?}");
        Ok(())
    }

    async fn lost(&self, partitions: &[TopicPartition]) {
        panic!("lost {partitions:?}");
    }
}

async fn listened(config: KafkaSourceConfig, owned: &Owned) -> KafkaSource<u32> {
    let listener = Arc::new(Exclusive(Arc::clone(owned)));
    KafkaSource::builder(config).listener(listener).build().await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A member joins while another one reads, and the first one leaves. Each message is acknowledged by one of them, once. More
/// than once only if messages are given back, which brings those behind them along.
async fn members_come_and_go(kafka: &Cluster, kind: Kind, gives_back: bool) {
    const MESSAGES: u32 = 3_000;
    let topic = kafka.topic("moves", 4).await.unwrap();
    let config = KafkaSourceConfig { redelivery_backoff_ms: 50, ..config(kafka, &topic, kind) };
    let (sink, counts, owned) = (sink(kafka, &topic).await, Counts::default(), Owned::default());
    let first = listened(config.clone(), &owned).await;
    let control = first.control();
    let first = reader(first, &counts, gives_back);
    send(&sink, 0..1_000).await;
    let second = listened(config.clone(), &owned).await;
    let (of_second, group) = (second.control(), config.group_id.clone());
    let second = reader(second, &counts, gives_back);
    for part in 10..20 {
        send(&sink, part * 100..(part + 1) * 100).await;
        sleep(Duration::from_millis(500)).await;
    }
    // A message that was given back and has not come again is not settled.
    let report = timeout(PATIENCE, control.close()).await.unwrap();
    assert!(report.is_complete() || gives_back, "{report}");
    first.await.unwrap();
    send(&sink, 2_000..MESSAGES).await;
    no_lag(kafka, &topic, &group).await;
    assert!(timeout(PATIENCE, of_second.close()).await.unwrap().is_complete());
    second.await.unwrap();
    assert_eq!(*owned.lock().unwrap(), BTreeSet::new(), "{kind:?}: each listener has heard of the end");
    let counts = counts.lock().unwrap();
    let is_right = |count: Option<&u32>| count.is_some_and(|count| *count == 1 || gives_back);
    let wrong: Vec<_> = (0..MESSAGES).filter(|number| !is_right(counts.get(number))).collect();
    assert!(wrong.is_empty(), "{kind:?}: not once: {:?}", &wrong[..wrong.len().min(20)]);
}

/// A rebalance waits for messages in the application's hands, which it may still acknowledge.
async fn a_rebalance_waits_for_a_held_message(kafka: &Cluster, kind: Kind) {
    let topic = kafka.topic("held", 2).await.unwrap();
    let sink = sink(kafka, &topic).await;
    send(&sink, 0..20).await;
    let config = config(kafka, &topic, kind);
    let mut first = source(config.clone()).await;
    let mut held = BTreeMap::new();
    while held.len() < 2 {
        let message = next(&mut first).await;
        match held.entry(message.partition()) {
            Entry::Vacant(first) => drop(first.insert(message)),
            // Behind the one that is held: acknowledged, and not committed.
            Entry::Occupied(_) => drop(message.ack()),
        }
    }
    let mut second = source(config.clone()).await;
    // Nothing comes while the first one holds its messages: its partitions stay with it.
    assert!(timeout(Duration::from_secs(6), second.recv()).await.is_err(), "{kind:?}: before the release");
    let offsets: BTreeMap<_, _> = held.iter().map(|(partition, message)| (*partition, message.offset())).collect();
    for message in held.values() {
        assert_eq!(message.ack(), Acked::Counted, "{kind:?}: within the drain time");
    }
    send(&sink, 20..40).await;
    let message = next(&mut second).await;
    let offset = offsets[&message.partition()];
    assert!(message.offset() > offset, "{kind:?}: {} was acknowledged, and {} came", offset, message.offset());
    drop(message);
    for source in [&first, &second] {
        drop(timeout(PATIENCE, source.close_within(Duration::ZERO)).await.unwrap());
    }
}

/// An application that takes longer for a message than the group waits in a rebalance stays a member.
async fn a_slow_application_stays_a_member(kafka: &Cluster, kind: Kind) {
    let topic = kafka.topic("slow", 1).await.unwrap();
    send(&sink(kafka, &topic).await, 0..3).await;
    let config =
        KafkaSourceConfig { rebalance_timeout_ms: 7_000, drain_timeout_ms: 3_000, ..config(kafka, &topic, kind) };
    let mut source = source(config.clone()).await;
    let message = next(&mut source).await;
    let before = source.group().unwrap();
    // It blocks its thread, too.
    tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(16)));
    assert_eq!(message.ack(), Acked::Counted, "{kind:?}");
    for _ in 1..3 {
        next(&mut source).await.ack();
    }
    no_lag(kafka, &topic, &config.group_id).await;
    assert_eq!(source.group().unwrap(), before, "{kind:?}: there was no rebalance");
    assert!(source.close().await.is_complete());
}

macro_rules! for_each_protocol {
    ($($name:ident $kind:ident)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn members_come_and_go() {
                let Some(kafka) = cluster::shared().await else { return };
                super::members_come_and_go(kafka, Kind::$kind, false).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn messages_that_are_given_back_in_rebalances_are_not_lost() {
                let Some(kafka) = cluster::shared().await else { return };
                super::members_come_and_go(kafka, Kind::$kind, true).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_rebalance_waits_for_a_held_message() {
                let Some(kafka) = cluster::shared().await else { return };
                super::a_rebalance_waits_for_a_held_message(kafka, Kind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_slow_application_stays_a_member() {
                let Some(kafka) = cluster::shared().await else { return };
                super::a_slow_application_stays_a_member(kafka, Kind::$kind).await;
            }
        })*
    };
}

for_each_protocol! {
    eager Eager
    cooperative Cooperative
    kip_848 Consumer
}

/// A static member whose id another one takes has ended, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_id_is_taken_has_ended() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("taken", 1).await.unwrap();
    send(&sink(kafka, &topic).await, 0..2).await;
    let config = config(kafka, &topic, Kind::Static);
    let config = KafkaSourceConfig { group_instance_id: Some("a".to_owned()), ..config };
    let mut first = source(config.clone()).await;
    next(&mut first).await.ack();
    let mut second = source(config).await;
    assert_eq!(next(&mut second).await.partition(), 0);
    let ended = async {
        let mut errors = Vec::new();
        while errors.last() != Some(&SourceErrorKind::Closed) {
            match first.recv().await {
                Ok(message) => drop(message.ack()),
                Err(error) => errors.push(error.kind()),
            }
        }
        assert_eq!(errors, [SourceErrorKind::PartitionsLost, SourceErrorKind::Failed, SourceErrorKind::Closed]);
    };
    timeout(PATIENCE, ended).await.expect("it has ended");
}

/// Fixed partitions are read and committed without joining the group, and a restart continues there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixed_partitions_are_read_without_the_group() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("fixed", 2).await.unwrap();
    send(&sink(kafka, &topic).await, 0..20).await;
    let ends = kafka.ends(&topic, Isolation::Uncommitted).await.unwrap();
    let of = |kind: Kind, partition| KafkaSourceConfig {
        group_id: format!("{kind:?}-of-{topic}"),
        topics: Vec::new(),
        assign: vec![TopicPartition::new(topic.as_str(), partition)],
        ..config(kafka, &topic, kind)
    };
    let kinds = [Kind::Cooperative, Kind::Consumer];
    for kind in kinds {
        let (mut first, mut second) = (source(of(kind, 0)).await, source(of(kind, 1)).await);
        for (source, partition) in [(&mut first, 0), (&mut second, 1)] {
            let end = ends[usize::try_from(partition).unwrap()];
            for offset in 0..end {
                let message = next(source).await;
                assert_eq!((message.partition(), message.offset()), (partition, offset), "{kind:?}");
                message.ack();
            }
            assert!(source.group().is_none());
            assert!(timeout(PATIENCE, source.close()).await.unwrap().is_complete());
            let committed = kafka.committed_offset(&of(kind, 0).group_id, &topic, partition).await.unwrap();
            assert_eq!(committed, Some(end), "{kind:?}");
        }
    }
    send(&sink(kafka, &topic).await, 20..40).await;
    for kind in kinds {
        let mut again = source(of(kind, 1)).await;
        assert_eq!(next(&mut again).await.offset(), ends[1], "{kind:?}");
        let error = KafkaSource::<u32>::new(of(kind, 2)).await.expect_err("there is no such partition");
        assert_eq!(error.kind(), kafka_tower::ErrorKind::UnknownTopicOrPartition, "{error:#}");
    }
}

/// A topic that is created later joins, if its whole name matches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_matches_joins() {
    let Some(kafka) = cluster::shared().await else { return };
    let one = kafka.topic("pattern", 1).await.unwrap();
    let (two, other) = (format!("{one}-two"), format!("other-{one}"));
    let read = async |kind: Kind, name: &str| {
        let of_kind = |topic: &str| format!("{topic}-{name}");
        send(&sink(kafka, &one).await, 0..1).await;
        let config = config(kafka, &one, kind);
        let config = KafkaSourceConfig {
            group_id: of_kind(&one),
            topics: Vec::new(),
            topic_pattern: Some(format!("{one}(-two-{name})?")),
            ..config.with_property("topic.metadata.refresh.interval.ms", "1000")
        };
        let mut source = source(config).await;
        next(&mut source).await.ack();
        for topic in [of_kind(&two), of_kind(&other)] {
            kafka.create_topic(&topic, 1, &[]).await.unwrap();
            send(&sink(kafka, &topic).await, 7..8).await;
        }
        while source.assignment().len() < 2 {
            match timeout(Duration::from_millis(200), source.recv()).await {
                Ok(Ok(message)) => drop(message.ack()),
                Ok(Err(error)) => panic!("{error}"),
                Err(_) => {}
            }
        }
        let names: Vec<_> = source.assignment().iter().map(|at| at.topic.to_string()).collect();
        assert_eq!(names, [one.clone(), of_kind(&two)], "{kind:?}");
        drop(timeout(PATIENCE, source.close()).await.unwrap());
    };
    let both = async { tokio::join!(read(Kind::Cooperative, "classic"), read(Kind::Consumer, "kip848")) };
    timeout(PATIENCE, both).await.expect("it joins");
}
