//! Answers of brokers that lag behind each other.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::cluster::metadata::{Change, ClusterMetadata, LOST_TOPIC, NEW_TOPIC};
use crate::cluster::problem::Problem;
use crate::protocol::api::metadata::{Broker, MetadataResponse, Partition, Topic};
use crate::protocol::uuid::Uuid;

const ID: Uuid = Uuid([1; 16]);
const OTHER: Uuid = Uuid([2; 16]);

fn partition(index: i32, leader_id: i32, leader_epoch: i32) -> Partition<'static> {
    let none = Default::default();
    Partition { error_code: 0, index, leader_id, leader_epoch, replicas: none, in_sync: none, offline: none }
}

fn topic(id: Uuid, error_code: i16, leaders: &[(i32, i32)]) -> Topic<'static> {
    let partitions = (0..).zip(leaders).map(|(index, (leader, epoch))| partition(index, *leader, *epoch)).collect();
    Topic { error_code, name: Some("orders"), id, is_internal: false, partitions }
}

fn answer(topics: Vec<Topic<'static>>) -> MetadataResponse<'static> {
    let broker = |node_id, host| Broker { node_id, host, port: 9092, rack: None };
    MetadataResponse {
        throttle_time_ms: 0,
        brokers: vec![broker(1, "a"), broker(2, "b")],
        cluster_id: None,
        controller_id: 1,
        topics,
        error_code: 0,
    }
}

fn apply(metadata: &mut ClusterMetadata, topic: Topic<'static>) -> Vec<Change> {
    metadata.apply(&answer(vec![topic]), Instant::now())
}

fn known(leaders: &[(i32, i32)]) -> ClusterMetadata {
    let mut metadata = ClusterMetadata::default();
    apply(&mut metadata, topic(ID, 0, leaders));
    metadata
}

fn leaders(metadata: &ClusterMetadata) -> Vec<(Option<i32>, i32)> {
    metadata.topic("orders").unwrap().partitions.iter().map(|partition| (partition.leader, partition.epoch)).collect()
}

#[test]
fn the_first_answer_says_everything() {
    let mut metadata = ClusterMetadata::default();
    let changes = apply(&mut metadata, topic(ID, 0, &[(1, 5), (-1, 6)]));
    let name = || "orders".into();
    let partitions = Change::Partitions(name(), 2);
    assert_eq!(changes, [Change::Brokers, partitions, Change::Leader(name(), 0), Change::Leader(name(), 1)]);
    let (leader, epoch) = metadata.leader("orders", 0).unwrap();
    assert_eq!(
        (metadata.broker(leader).unwrap().to_string(), epoch),
        ("a:9092".to_owned(), metadata.topic("orders").unwrap().partition(0).unwrap().epoch)
    );
    assert_eq!(metadata.leader("orders", 1), None, "it has no leader");
    assert_eq!(
        (metadata.leader("orders", 2), metadata.leader("orders", -1), metadata.leader("x", 0)),
        (None, None, None)
    );
    assert_eq!(metadata.brokers().count(), 2);
    assert_eq!(apply(&mut metadata, topic(ID, 0, &[(1, 5), (-1, 6)])), [], "nothing is new");
}

#[test]
fn an_older_epoch_does_not_replace_a_newer_leader() {
    let mut metadata = known(&[(1, 5)]);
    assert_eq!(apply(&mut metadata, topic(ID, 0, &[(2, 4)])), []);
    assert_eq!(leaders(&metadata), [(Some(1), 5)]);
    assert_eq!(apply(&mut metadata, topic(ID, 0, &[(2, 6)])), [Change::Leader("orders".into(), 0)]);
    assert_eq!(apply(&mut metadata, topic(ID, 0, &[(-1, 7)])), [Change::Leader("orders".into(), 0)]);
    assert_eq!(leaders(&metadata), [(None, 7)]);
    apply(&mut metadata, topic(ID, 0, &[(1, -1)]));
    assert_eq!(leaders(&metadata), [(Some(1), 7)], "a broker without epochs is believed, and the epoch is kept");
}

#[test]
fn a_hint_is_news_only_with_a_newer_epoch() {
    let mut metadata = known(&[(1, 5)]);
    assert!(!metadata.hint("orders", 0, 2, 5) && !metadata.hint("orders", 0, 2, 4));
    assert!(!metadata.hint("orders", 0, -1, 6) && !metadata.hint("orders", 1, 2, 6) && !metadata.hint("x", 0, 2, 6));
    assert!(metadata.hint("orders", 0, 2, 6));
    assert_eq!(apply(&mut metadata, topic(ID, 0, &[(1, 5)])), [], "metadata that were asked for before the hint");
    assert_eq!(leaders(&metadata), [(Some(2), 6)]);
}

#[test]
fn partitions_become_more_and_not_fewer() {
    let mut metadata = known(&[(1, 5)]);
    let changes = apply(&mut metadata, topic(ID, 0, &[(1, 5), (2, 0)]));
    assert_eq!(changes, [Change::Partitions("orders".into(), 2), Change::Leader("orders".into(), 1)]);
    assert_eq!(apply(&mut metadata, topic(ID, 0, &[(1, 5)])), []);
    assert_eq!(leaders(&metadata).len(), 2);
}

#[test]
fn a_topic_that_was_made_anew_begins_anew() {
    let mut metadata = known(&[(1, 5), (2, 5)]);
    let changes = apply(&mut metadata, topic(OTHER, 0, &[(2, 0)]));
    assert_eq!(changes[0], Change::MadeAnew("orders".into()));
    assert_eq!(leaders(&metadata), [(Some(2), 0)]);
    apply(&mut metadata, topic(Uuid::ZERO, 0, &[(1, 1)]));
    assert_eq!(metadata.topic("orders").unwrap().id, OTHER, "a broker without ids changes none");
}

#[test]
fn a_topic_asked_for_by_id_is_found_by_it() {
    let mut metadata = known(&[(1, 5)]);
    apply(&mut metadata, Topic { name: None, ..topic(ID, 0, &[(2, 6)]) });
    assert_eq!(leaders(&metadata), [(Some(2), 6)]);
    assert_eq!(apply(&mut metadata, Topic { name: None, ..topic(OTHER, 100, &[]) }), [], "nobody knows this id");
    let gone = apply(&mut metadata, Topic { name: None, ..topic(ID, 100, &[]) });
    assert_eq!(gone, [Change::Problem("orders".into(), Some(Problem::Missing))]);
}

#[test]
fn a_missing_topic_fails_after_a_time() {
    let now = Instant::now();
    let missing = || answer(vec![topic(Uuid::ZERO, 3, &[])]);
    for (mut metadata, patience) in [(ClusterMetadata::default(), NEW_TOPIC), (known(&[(1, 5)]), LOST_TOPIC)] {
        metadata.apply(&missing(), now);
        // Asking again does not prolong the time.
        metadata.apply(&missing(), now + patience / 2);
        let fails = |metadata: &ClusterMetadata, at| metadata.topic("orders").unwrap().fails(at);
        assert_eq!(fails(&metadata, now + patience - Duration::from_millis(1)), None);
        assert_eq!(fails(&metadata, now + patience), Some(Problem::Missing));
        let changes = metadata.apply(&answer(vec![topic(ID, 0, &[(1, 6)])]), now + patience);
        assert!(changes.contains(&Change::Problem("orders".into(), None)), "{changes:?}");
        assert_eq!(fails(&metadata, now + patience), None);
    }
}

#[test]
fn an_error_keeps_what_was_known() {
    let mut metadata = known(&[(1, 5)]);
    let now = Instant::now();
    for (code, fails) in [(5, None), (29, Some(Problem::Fails(29))), (17, Some(Problem::Fails(17)))] {
        apply(&mut metadata, topic(Uuid::ZERO, code, &[]));
        assert_eq!(metadata.topic("orders").unwrap().fails(now + LOST_TOPIC), fails);
        assert_eq!(leaders(&metadata), [(Some(1), 5)]);
    }
}

#[test]
fn an_answer_without_brokers_or_with_an_error_takes_nothing_away() {
    let mut metadata = known(&[(1, 5)]);
    let before = metadata.clone();
    let now = Instant::now();
    let fenced = MetadataResponse { brokers: Vec::new(), ..answer(Vec::new()) };
    assert_eq!(metadata.apply(&fenced, now), []);
    let error = |error_code| MetadataResponse { error_code, ..answer(vec![topic(ID, 0, &[(2, 9)])]) };
    assert_eq!(metadata.apply(&error(129), now), [Change::Rebootstrap]);
    assert_eq!(metadata.apply(&error(-1), now), [Change::Refused(-1)]);
    assert_eq!(metadata, before);
}

proptest! {
    /// In whatever order the answers of a cluster come, the newest leader of each partition is known in the end.
    #[test]
    fn the_order_of_answers_does_not_matter(
        answers in prop::collection::vec(prop::collection::vec(0..6_i32, 1..5), 1..8),
        seed in any::<prop::sample::Index>(),
    ) {
        // The leader follows from the epoch, as in a cluster.
        let leaders_of = |epochs: &[i32]| epochs.iter().map(|epoch| (epoch % 3 - 1, *epoch)).collect::<Vec<_>>();
        let mut metadata = ClusterMetadata::default();
        let start = seed.index(answers.len());
        for epochs in answers[start..].iter().chain(&answers[..start]) {
            let before = metadata.topic("orders").map(|_| leaders(&metadata)).unwrap_or_default();
            apply(&mut metadata, topic(ID, 0, &leaders_of(epochs)));
            let after = leaders(&metadata);
            prop_assert!(after.len() >= before.len());
            prop_assert!(before.iter().zip(&after).all(|((_, before), (_, after))| before <= after));
            prop_assert_eq!(apply(&mut metadata, topic(ID, 0, &leaders_of(epochs))), []);
        }
        let count = answers.iter().map(Vec::len).max().unwrap();
        let newest = (0..count).map(|index| answers.iter().filter_map(|epochs| epochs.get(index)).max().unwrap());
        let model: Vec<_> = newest.map(|epoch| (Some(epoch % 3 - 1).filter(|leader| *leader >= 0), *epoch)).collect();
        prop_assert_eq!(leaders(&metadata), model);
    }
}
