//! Each kind of fault, seen to happen.

use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest, MetadataResponse, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

use super::peer::{TIMEOUT, ask, batch, bytes_of, produce, send};
use super::{TOPIC, cluster, numbers, topic_of};
use crate::cluster::Cluster;
use crate::faults::{Faults, Kind, Place, WHOLE, number};

/// A cluster of two brokers in which this fault happens every time, until it has happened `times` times.
pub(super) fn with(kind: Kind, times: u64, seed: u64) -> Cluster {
    cluster(2, Faults::none(seed).with(kind, WHOLE).at_most(kind, times))
}

pub(super) async fn open(cluster: &Cluster, broker: i32) -> DuplexStream {
    cluster.connect(&format!("broker-{broker}"), 9092).await.expect("a connection")
}

/// Sends one record to partition 0 of broker 0, without idempotence.
pub(super) async fn one(cluster: &Cluster, stream: &mut DuplexStream, number: u64) -> Option<(i16, i64)> {
    let answer = send(stream, topic_of(cluster), 0, 13, batch((-1, -1, -1), &[number], None)).await?;
    Some((answer.error_code, answer.base_offset))
}

async fn metadata(stream: &mut DuplexStream) -> MetadataResponse {
    let name = TopicName(StrBytes::from_static_str(TOPIC));
    let topic = MetadataRequestTopic::default().with_name(Some(name));
    ask(stream, 13, &MetadataRequest::default().with_topics(Some(vec![topic]))).await.expect("an answer")
}

#[test]
fn a_rate_is_kept_and_a_seed_repeats_itself() {
    let mut faults = Faults::none(7).with(Kind::CutAfter, 1_000);
    let happens = |faults: &mut Faults| {
        let places = (0..100).flat_map(|connection| (0..100).map(move |frame| Place { connection, frame }));
        places.map(|at| faults.happens(Kind::CutAfter, at)).collect::<Vec<_>>()
    };
    let first = happens(&mut faults);
    assert_eq!(happens(&mut faults), first);
    let times = faults.seen(Kind::CutAfter) / 2;
    assert!((850..1_150).contains(&times), "{times}");
    assert_ne!(happens(&mut Faults::none(8).with(Kind::CutAfter, 1_000)), first);
    faults.end();
    assert!(!happens(&mut faults).contains(&true));
    assert_eq!(faults.seen(Kind::CutBefore), 0);
    assert_ne!(number(&[1, 2]), number(&[2, 1]));
}

#[test]
fn kinds_are_numbered_in_their_order() {
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, index, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn error_codes_come_with_and_without_an_append() {
    for (kind, code, without, with_append) in [
        (Kind::NotLeader, 6, true, true),
        (Kind::UnknownTopic, 100, true, false),
        (Kind::TimedOut, 7, false, true),
        (Kind::NotEnoughReplicas, 19, true, false),
        (Kind::NotEnoughReplicasAfterAppend, 20, false, true),
        (Kind::StorageError, 56, true, true),
        (Kind::UnknownError, -1, true, true),
    ] {
        let mut seen = [false; 2];
        for seed in 0..20 {
            let cluster = with(kind, 1, seed);
            let mut stream = open(&cluster, 0).await;
            let (found, offset) = one(&cluster, &mut stream, 0).await.unwrap();
            let is_there = !numbers(&cluster, 0).is_empty();
            assert_eq!((found, offset), (code, if is_there { 0 } else { -1 }), "{kind:?}");
            seen[usize::from(is_there)] = true;
            assert_eq!(one(&cluster, &mut stream, 1).await.unwrap().0, 0);
        }
        assert_eq!(seen, [without, with_append], "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn leaders_move() {
    let cluster = with(Kind::LeaderMoves, 40, 3);
    let mut stream = open(&cluster, 0).await;
    let (mut leaders, mut epoch) = ([false; 2], 0);
    for _ in 0..40 {
        let answer = metadata(&mut stream).await;
        for partition in &answer.topics[0].partitions {
            leaders[usize::try_from(*partition.leader_id).unwrap()] = true;
            epoch = epoch.max(partition.leader_epoch);
        }
    }
    assert_eq!(leaders, [true; 2]);
    assert!(epoch > 5, "{epoch}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_ends_and_comes_back() {
    let cluster = with(Kind::Restart, 1, 0);
    let mut other = open(&cluster, 1).await;
    assert_eq!(one(&cluster, &mut open(&cluster, 0).await, 0).await, None);
    assert!(cluster.connect("broker-0", 9092).await.is_err());
    let mut without_leader = false;
    let start = Instant::now();
    while cluster.connect("broker-0", 9092).await.is_err() {
        let answer = metadata(&mut other).await;
        assert_eq!(answer.brokers.len(), 1);
        without_leader |= answer.topics[0].partitions.iter().any(|partition| partition.error_code == 5);
        sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    assert!(without_leader);
    let answer = metadata(&mut other).await;
    assert_eq!(answer.brokers.len(), 2);
    assert!(answer.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_broker_does_nothing_and_goes_on_later() {
    let cluster = with(Kind::Stop, 1, 0);
    let mut stream = open(&cluster, 0).await;
    let request = produce(topic_of(&cluster), 0, -1, 13, batch((-1, -1, -1), &[0], None));
    stream.write_all(&bytes_of(&request, 13, 7)).await.unwrap();
    assert!(timeout(Duration::from_millis(500), stream.read_u8()).await.is_err());
    assert_eq!(numbers(&cluster, 0), [0; 0]);
    stream.read_u8().await.unwrap();
    assert_eq!(numbers(&cluster, 0), [0]);
    let mut stream = open(&cluster, 0).await;
    // Its system accepts connections, or does not answer at all.
    let mut waits = [0; 2];
    for _ in 0..20 {
        cluster.stop(0, Duration::from_secs(10));
        let connected = timeout(Duration::from_secs(1), cluster.connect("broker-0", 9092)).await;
        waits[usize::from(connected.is_ok())] += 1;
    }
    assert!(waits.iter().all(|times| *times > 0), "{waits:?}");
    cluster.heal();
    assert_eq!(one(&cluster, &mut stream, 1).await, Some((0, 1)));
}

#[tokio::test(start_paused = true)]
async fn topics_are_made_anew_and_grow() {
    let cluster = with(Kind::MadeAnew, 1, 0);
    let before = topic_of(&cluster).1;
    let mut stream = open(&cluster, 0).await;
    assert_eq!(metadata(&mut stream).await.topics[0].error_code, 3);
    sleep(Duration::from_secs(4)).await;
    let after = metadata(&mut stream).await.topics[0].topic_id;
    assert_eq!((after, after == before), (topic_of(&cluster).1, false));
    let cluster = with(Kind::PartitionAdded, 1, 0);
    let answer = metadata(&mut open(&cluster, 0).await).await;
    assert_eq!(answer.topics[0].partitions.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn clients_are_throttled_and_so_is_their_connection() {
    let cluster = with(Kind::Throttle, 1, 0);
    let mut stream = open(&cluster, 0).await;
    let request = produce(topic_of(&cluster), 0, -1, 13, batch((-1, -1, -1), &[0], None));
    let answer = ask::<ProduceRequest>(&mut stream, 13, &request).await.unwrap();
    let time = Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap());
    assert!(!time.is_zero());
    let start = Instant::now();
    one(&cluster, &mut stream, 1).await.unwrap();
    assert!(start.elapsed() >= time);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_producer_id_for_a_moment() {
    let mut codes = Vec::new();
    for seed in 0..20 {
        let cluster = with(Kind::NoProducerId, 1, seed);
        let mut stream = open(&cluster, 0).await;
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        codes.push(ask(&mut stream, 5, &request).await.unwrap().error_code);
        assert_eq!(ask(&mut stream, 5, &request).await.unwrap().error_code, 0);
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, [14, 15]);
}

#[tokio::test(start_paused = true)]
async fn metadata_lag_behind() {
    let mut missing = [false; 2];
    for seed in 0..10 {
        let cluster = with(Kind::NoLeaders, 1, seed);
        let mut stream = open(&cluster, 0).await;
        let topic = metadata(&mut stream).await.topics.swap_remove(0);
        let no_leader = topic.partitions.iter().all(|of| (of.error_code, *of.leader_id) == (5, -1));
        assert!(no_leader && (topic.error_code == 0) != topic.partitions.is_empty());
        missing[usize::from(topic.error_code == 3)] = true;
    }
    assert_eq!(missing, [true; 2]);
    let cluster = with(Kind::OldMetadata, 1, 0);
    cluster.move_leader(TOPIC, 0, 1);
    let mut stream = open(&cluster, 0).await;
    for expected in [(0, 0), (1, 1)] {
        let answer = metadata(&mut stream).await;
        let first = answer.topics[0].partitions.iter().find(|of| of.partition_index == 0).unwrap();
        assert_eq!((*first.leader_id, first.leader_epoch), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn healing_ends_everything() {
    let rates = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Refused);
    let cluster = cluster(2, rates.fold(Faults::none(0), |faults, kind| faults.with(kind, 2_000)));
    for _ in 0..30 {
        if let Ok(Ok(mut stream)) = timeout(TIMEOUT, cluster.connect("broker-0", 9092)).await {
            one(&cluster, &mut stream, 0).await;
        }
    }
    cluster.restart(0, Duration::from_secs(100));
    cluster.restart(1, Duration::from_secs(100));
    assert!(cluster.connect("broker-1", 9092).await.is_err());
    cluster.heal();
    let leader = metadata(&mut open(&cluster, 1).await).await;
    let leader = leader.topics[0].partitions.iter().find(|of| of.partition_index == 0).unwrap().leader_id;
    assert_eq!(one(&cluster, &mut open(&cluster, *leader).await, 9).await.unwrap().0, 0);
}
