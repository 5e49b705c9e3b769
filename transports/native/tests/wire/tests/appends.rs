//! What a broker appends and answers: as Kafka 4.3 does.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{BrokerId, ProduceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;
use uuid::Uuid;

use super::peer::{ask, batch, batch_of, bytes_of, produce, send};
use super::{TOPIC, cluster, numbers, topic_of};
use crate::batch::value;
use crate::cluster::{Cluster, TopicConfig, Versions};
use crate::codes::{
    CORRUPT_MESSAGE, INVALID_PRODUCER_EPOCH, INVALID_RECORD, MESSAGE_TOO_LARGE, NOT_LEADER_OR_FOLLOWER,
    OUT_OF_ORDER_SEQUENCE, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
};
use crate::faults::Faults;

/// A connection to the leader of partition 0.
struct Peer {
    cluster: Cluster,
    stream: DuplexStream,
    topic: Uuid,
}

impl Peer {
    async fn new(brokers: i32) -> Self {
        Self::over(cluster(brokers, Faults::none(0))).await
    }

    async fn over(cluster: Cluster) -> Self {
        let leader = cluster.state().topics[TOPIC].partitions[0].leader;
        let stream = cluster.connect(&format!("broker-{leader}"), 9092).await.expect("a connection");
        Self { stream, topic: topic_of(&cluster).1, cluster }
    }

    /// Sends a batch to partition 0, and returns code and offset.
    async fn send(&mut self, stamp: (i64, i16, i32), numbers: &[u64]) -> (i16, i64) {
        self.send_bytes(batch(stamp, numbers, None)).await
    }

    async fn send_bytes(&mut self, batch: Bytes) -> (i16, i64) {
        let answer = self.answer(13, batch).await;
        (answer.error_code, answer.base_offset)
    }

    async fn answer(&mut self, version: i16, batch: Bytes) -> PartitionProduceResponse {
        send(&mut self.stream, (TOPIC, self.topic), 0, version, batch).await.expect("an answer")
    }

    /// Ends the leader, which comes back a second later, and connects again.
    async fn restart(self) -> Self {
        self.cluster.restart(0, Duration::ZERO);
        sleep(Duration::from_secs(1)).await;
        Self::over(self.cluster).await
    }
}

const NO: i64 = -1;

#[tokio::test(start_paused = true)]
async fn duplicates_gaps_and_epochs() {
    let mut peer = Peer::new(1).await;
    assert_eq!(peer.send((5, 0, 0), &[0, 1]).await, (0, 0));
    assert_eq!(peer.send((5, 0, 2), &[2]).await, (0, 2));
    // Duplicates: whole batches only, at their old offset.
    assert_eq!(peer.send((5, 0, 0), &[0, 1]).await, (0, 0));
    assert_eq!(peer.send((5, 0, 2), &[2]).await, (0, 2));
    for wrong in [(0, &[0][..]), (1, &[1]), (1, &[1, 2]), (2, &[2, 3]), (4, &[4])] {
        assert_eq!(peer.send((5, 0, wrong.0), wrong.1).await, (OUT_OF_ORDER_SEQUENCE, NO), "{wrong:?}");
    }
    // A new epoch begins at 0, may be any higher one, and ends the old ones, appended or not.
    assert_eq!(peer.send((5, 2, 3), &[3]).await, (OUT_OF_ORDER_SEQUENCE, NO));
    assert_eq!(peer.send((5, 2, 0), &[3]).await, (0, 3));
    assert_eq!(peer.send((5, 0, 2), &[2]).await, (INVALID_PRODUCER_EPOCH, NO));
    assert_eq!(peer.send((5, 1, 0), &[9]).await, (INVALID_PRODUCER_EPOCH, NO));
    assert_eq!(numbers(&peer.cluster, 0), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_not_known_may_begin_anywhere() {
    let mut peer = Peer::new(1).await;
    assert_eq!(peer.send((5, 4, 7), &[0]).await, (0, 0));
    assert_eq!(peer.send((5, 4, 0), &[1]).await, (OUT_OF_ORDER_SEQUENCE, NO));
    assert_eq!(peer.send((5, 3, 8), &[1]).await, (INVALID_PRODUCER_EPOCH, NO));
    // Without a producer id nothing is compared.
    assert_eq!(peer.send((-1, -1, -1), &[2]).await, (0, 1));
    assert_eq!(peer.send((-1, -1, -1), &[2]).await, (0, 2));
}

#[tokio::test(start_paused = true)]
async fn sequence_numbers_wrap() {
    let mut peer = Peer::new(1).await;
    assert_eq!(peer.send((5, 0, i32::MAX - 1), &[0, 1, 2]).await, (0, 0));
    assert_eq!(peer.send((5, 0, i32::MAX - 1), &[0, 1, 2]).await, (0, 0));
    assert_eq!(peer.send((5, 0, 1), &[3]).await, (0, 3));
    let mut peer = Peer::new(1).await;
    assert_eq!(peer.send((5, 0, i32::MAX), &[0]).await, (0, 0));
    assert_eq!(peer.send((5, 0, 0), &[1]).await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn five_batches_are_remembered_and_one_after_a_restart() {
    let mut peer = Peer::new(1).await;
    for sequence in 0..6 {
        peer.send((5, 0, sequence), &[u64::from(sequence.unsigned_abs())]).await;
    }
    assert_eq!(peer.send((5, 0, 0), &[0]).await, (OUT_OF_ORDER_SEQUENCE, NO));
    assert_eq!(peer.send((5, 0, 1), &[1]).await, (0, 1));
    let mut peer = peer.restart().await;
    assert_eq!(peer.send((5, 0, 1), &[1]).await, (OUT_OF_ORDER_SEQUENCE, NO));
    assert_eq!(peer.send((5, 0, 4), &[4]).await, (OUT_OF_ORDER_SEQUENCE, NO));
    assert_eq!(peer.send((5, 0, 5), &[5]).await, (0, 5));
    // What comes then is remembered beside it.
    assert_eq!(peer.send((5, 0, 6), &[6]).await, (0, 6));
    assert_eq!(peer.send((5, 0, 5), &[5]).await, (0, 5));
    assert_eq!(numbers(&peer.cluster, 0), [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_remembers_all_five_unless_it_was_restarted() {
    let mut peer = Peer::new(3).await;
    for sequence in 0..3 {
        peer.send((5, 0, sequence), &[u64::from(sequence.unsigned_abs())]).await;
    }
    peer.cluster.restart(1, Duration::ZERO);
    sleep(Duration::from_secs(1)).await;
    for (broker, first) in [(2, (0, 0)), (1, (OUT_OF_ORDER_SEQUENCE, NO))] {
        peer.cluster.move_leader(TOPIC, 0, broker);
        peer = Peer::over(peer.cluster).await;
        assert_eq!(peer.send((5, 0, 0), &[0]).await, first);
        assert_eq!(peer.send((5, 0, 2), &[2]).await, (0, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_validated_before_they_are_compared() {
    let small = TopicConfig { is_compacted: true, max_batch: 200, ..TopicConfig::new(TOPIC, 1) };
    let cluster = Cluster::new(1, Versions::Kafka43, &[small], Faults::none(0));
    let mut peer = Peer::over(cluster).await;
    let key = |number| (Some(Bytes::from_static(b"key")), value(number, 8));
    let without = |number| (None, value(number, 8));
    assert_eq!(peer.send_bytes(batch_of((5, 0, 0), &[key(0)])).await, (0, 0));
    let large = batch_of((5, 0, 1), &[(Some(Bytes::from_static(b"key")), value(1, 200))]);
    assert_eq!(peer.send_bytes(large).await, (MESSAGE_TOO_LARGE, NO));
    // The number range of what was refused is free.
    let refused = peer.answer(13, batch_of((5, 0, 1), &[without(1), key(2), without(3)])).await;
    let indexes: Vec<_> = refused.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!((refused.error_code, indexes), (INVALID_RECORD, vec![0, 2]));
    let old = send(&mut peer.stream, (TOPIC, peer.topic), 0, 7, batch_of((5, 0, 1), &[without(1)])).await.unwrap();
    assert_eq!((old.error_code, old.record_errors.len()), (INVALID_RECORD, 0));
    assert_eq!(peer.send_bytes(batch_of((5, 0, 1), &[key(2)])).await, (0, 1));
    // An appended batch is refused once the topic has become stricter.
    peer.cluster.state().topics.get_mut(TOPIC).unwrap().config.max_batch = 10;
    assert_eq!(peer.send_bytes(batch_of((5, 0, 1), &[key(2)])).await, (MESSAGE_TOO_LARGE, NO));
}

#[tokio::test(start_paused = true)]
async fn broken_batches_are_refused() {
    let mut peer = Peer::new(1).await;
    let whole = batch((5, 0, 0), &[0], None);
    let mut changed = whole.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(peer.send_bytes(changed.into()).await, (CORRUPT_MESSAGE, NO));
    assert_eq!(peer.send_bytes([&whole[..], &whole].concat().into()).await, (INVALID_RECORD, NO));
    assert_eq!(peer.send_bytes(whole.slice(..30)).await, (CORRUPT_MESSAGE, NO));
    assert_eq!(peer.send_bytes(whole).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn others_than_the_leader_name_it() {
    let mut peer = Peer::new(3).await;
    peer.cluster.move_leader(TOPIC, 0, 2);
    for version in [9, 10, 12, 13] {
        let request = produce((TOPIC, peer.topic), 0, -1, version, batch((5, 0, 0), &[0], None));
        let answer = ask(&mut peer.stream, version, &request).await.unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, NOT_LEADER_OR_FOLLOWER);
        let hint = (*partition.current_leader.leader_id, partition.current_leader.leader_epoch);
        assert_eq!(hint, if version < 10 { (-1, -1) } else { (2, 1) });
        let ends: Vec<_> = answer.node_endpoints.iter().map(|end| (end.node_id, end.host.as_str(), end.port)).collect();
        assert_eq!(ends, if version < 10 { vec![] } else { vec![(BrokerId(2), "broker-2", 9092)] });
    }
    assert_eq!(numbers(&peer.cluster, 0), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn unknown_topics_and_partitions() {
    let mut peer = Peer::new(1).await;
    let one = || batch((5, 0, 0), &[0], None);
    for (version, topic, partition, code) in [
        (12, ("none", Uuid::nil()), 0, UNKNOWN_TOPIC_OR_PARTITION),
        (13, (TOPIC, Uuid::nil()), 0, UNKNOWN_TOPIC_ID),
        (13, (TOPIC, peer.topic), 3, UNKNOWN_TOPIC_OR_PARTITION),
        (12, (TOPIC, peer.topic), -1, UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let answer = send(&mut peer.stream, topic, partition, version, one()).await.unwrap();
        assert_eq!(answer.error_code, code, "{version} {topic:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_fenced_by_its_id_and_not_by_its_name() {
    let mut peer = Peer::new(1).await;
    assert_eq!(peer.send((5, 0, 0), &[0]).await, (0, 0));
    peer.cluster.make_anew(TOPIC, Duration::from_secs(1));
    let by_name = send(&mut peer.stream, (TOPIC, peer.topic), 0, 12, batch((5, 0, 1), &[1], None)).await.unwrap();
    assert_eq!(by_name.error_code, UNKNOWN_TOPIC_OR_PARTITION);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(peer.send((5, 0, 1), &[1]).await, (UNKNOWN_TOPIC_ID, NO));
    let by_name = send(&mut peer.stream, (TOPIC, peer.topic), 0, 12, batch((5, 0, 1), &[1], None)).await.unwrap();
    assert_eq!((by_name.error_code, by_name.base_offset), (0, 0));
    let logs = peer.cluster.logs();
    let numbers = |generation| {
        let log = logs.iter().find(|log| (log.generation, log.partition) == (generation, 0)).unwrap();
        log.entries.iter().filter_map(|entry| entry.number).collect::<Vec<_>>()
    };
    assert_eq!((numbers(0), numbers(1)), (vec![0], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_loses_what_only_it_had() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut peer = Peer::over(cluster(3, Faults::none(seed))).await;
        for (number, acks) in [(0, 1), (1, -1), (2, 1), (3, 1)] {
            let batch = batch((-1, -1, -1), &[number], None);
            ask(&mut peer.stream, 13, &produce((TOPIC, peer.topic), 0, acks, 13, batch)).await.unwrap();
        }
        peer.cluster.move_leader(TOPIC, 0, 1);
        let left = numbers(&peer.cluster, 0);
        // What came before `acks=all` is safe.
        assert!(left == [0, 1] || left == [0, 1, 2, 3], "{left:?}");
        lost += u32::from(left.len() == 2);
        let mut peer = Peer::over(peer.cluster).await;
        let next = i64::try_from(left.len()).unwrap();
        assert_eq!(peer.send((5, 0, 0), &[4]).await, (0, next));
    }
    assert!((5..=15).contains(&lost), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgements_nothing_is_answered_and_a_failure_ends_the_connection() {
    let mut peer = Peer::new(1).await;
    for number in 0..3 {
        let batch = batch((-1, -1, -1), &[number], None);
        let request = produce((TOPIC, peer.topic), 0, 0, 13, batch);
        peer.stream.write_all(&bytes_of(&request, 13, 1)).await.unwrap();
    }
    assert_eq!(peer.send((5, 0, 0), &[3]).await, (0, 3));
    let request: ProduceRequest = produce((TOPIC, Uuid::nil()), 0, 0, 13, batch((-1, -1, -1), &[4], None));
    peer.stream.write_all(&bytes_of(&request, 13, 1)).await.unwrap();
    assert_eq!(peer.stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(numbers(&peer.cluster, 0), [0, 1, 2, 3]);
}

/// What a client does after a request has arrived changes nothing; a request that has not arrived is not executed.
#[tokio::test(start_paused = true)]
async fn whole_requests_are_executed_and_others_are_not() {
    let mut peer = Peer::new(1).await;
    let request = |number| produce((TOPIC, peer.topic), 0, -1, 13, batch((-1, -1, -1), &[number], None));
    let [first, second, third] = [0, 1, 2].map(|number| bytes_of(&request(number), 13, 1));
    let cut = third.len() - 1;
    peer.stream.write_all(&[&first[..], &second, &third[..cut]].concat()).await.unwrap();
    drop(peer.stream);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(numbers(&peer.cluster, 0), [0, 1]);
    assert_eq!(peer.cluster.complaints(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn wrong_requests_are_complained_about() {
    let one = || batch((5, 0, 0), &[0], None);
    let topic = topic_of(&cluster(1, Faults::none(0)));
    let mut twice = produce(topic, 0, -1, 13, one());
    let again = twice.topic_data[0].partition_data[0].clone();
    twice.topic_data[0].partition_data.push(again);
    let mut too_long = bytes_of(&produce(topic, 0, -1, 13, one()), 13, 1).to_vec();
    too_long.extend([0, 0]);
    too_long[3] += 2;
    for (bytes, says) in [
        (bytes_of(&twice, 13, 1), "two batches for partition 0"),
        (bytes_of(&produce(topic, 0, 2, 13, one()), 13, 1), "acks=2"),
        (too_long.into(), "ProduceRequest has 2 bytes too many"),
        (Bytes::from_static(&[0x7f, 0, 0, 0]), "a frame of 2130706432 bytes"),
        (Bytes::from_static(&[0, 0, 0, 8, 0, 1, 0, 4, 0, 0, 0, 0]), "a request of kind 1"),
    ] {
        let mut peer = Peer::new(1).await;
        peer.stream.write_all(&bytes).await.unwrap();
        assert_eq!(peer.stream.read(&mut [0; 1]).await.unwrap(), 0);
        let complaints = peer.cluster.complaints();
        assert!(complaints.len() == 1 && (complaints[0].contains(says) || says.contains("kind")), "{complaints:?}");
    }
}
