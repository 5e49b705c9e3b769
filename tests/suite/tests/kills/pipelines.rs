//! Members that copy a topic with `transactional` are killed: readers of committed records see each record once, in order.

use std::cell::RefCell;
use std::time::Duration;

use kafka_tower_test_suite::copies::{Fault, Lanes, judge};
use kafka_tower_test_suite::random::Random;
use kafka_tower_testkit::kafka::{Cluster, Isolation, ReadRecord};
use tokio::time::sleep;

use crate::setting;
use crate::team::{Group, Member, PARTITIONS, Protocol, kill_members, one_node, pause, replace_ended, until_ok};

/// A group that copies a topic.
pub(crate) struct Pipeline<'a> {
    kafka: &'a Cluster,
    pub(crate) group: Group,
    output: String,
}

impl<'a> Pipeline<'a> {
    pub(crate) async fn new(kafka: &'a Cluster, protocol: Protocol) -> Self {
        let input = kafka.topic("input", PARTITIONS).await.unwrap();
        let output = kafka.topic("output", PARTITIONS).await.unwrap();
        Self { kafka, group: Group::new(kafka, input, protocol), output }
    }

    /// Starts the member of a place: one with the same transactional id as the one before.
    pub(crate) fn start(&self, plan: &str, place: usize) -> Member {
        self.group.start("pipeline", &[plan, &self.output, &format!("{}-{place}", self.output)])
    }

    /// Sends and copies records while members are killed. Returns how many members ended by themselves; they are replaced.
    pub(crate) async fn run(&self, random: &mut Random, records: u64, kills: u64) -> usize {
        let start = |place| self.start("right", place);
        let members = RefCell::new([0, 1, 2].map(start));
        let work = async {
            tokio::join!(
                self.group.send(self.kafka, records, pause() * kills as u32),
                kill_members(random, kills, &members, start),
            );
            self.group.caught_up(self.kafka).await;
        };
        replace_ended(&members, start, work).await
    }

    /// Compares what readers see with what was sent.
    pub(crate) async fn faults(&self, records: u64) -> Vec<Fault> {
        let sent = by_partition(until_ok(|| self.kafka.read(&self.group.topic)).await);
        assert_eq!(sent.values().map(Vec::len).sum::<usize>() as u64, records);
        judge(&sent, &by_partition(until_ok(|| self.kafka.read_committed(&self.output)).await))
    }
}

fn by_partition(records: Vec<ReadRecord>) -> Lanes {
    let mut lanes = Lanes::new();
    for record in records {
        lanes.entry(record.partition as u64).or_default().push(record.text().parse().unwrap());
    }
    lanes
}

async fn each_record_is_copied_once(kafka: &Cluster, protocol: Protocol) {
    let (records, kills) = (setting("KAFKA_TOWER_RECORDS", 10_000), setting("KAFKA_TOWER_KILLS", 5));
    let (mut random, pipeline) = (Random::of_environment(), Pipeline::new(kafka, protocol).await);
    let ended = pipeline.run(&mut random, records, kills).await;
    println!("{protocol:?}: {records} records were copied, {kills} of the members were killed");
    assert_eq!(pipeline.faults(records).await, []);
    assert_eq!(ended, 0, "members ended by themselves");
}

#[tokio::test]
async fn each_record_is_copied_once_while_members_are_killed() {
    let Some(kafka) = one_node().await else { return };
    let (classic, consumer) = (Protocol::Classic, Protocol::Consumer);
    tokio::join!(each_record_is_copied_once(kafka, classic), each_record_is_copied_once(kafka, consumer));
}

/// A member that commits offsets outside of its transactions is killed between the two.
#[tokio::test]
async fn a_pipeline_with_a_defect_is_found() {
    const RECORDS: u64 = 20;
    let Some(kafka) = one_node().await else { return };
    let pipeline = Pipeline::new(kafka, Protocol::Classic).await;
    pipeline.group.send(kafka, RECORDS, Duration::from_millis(1)).await;
    let member = pipeline.start("apart", 0);
    // A partition of a new topic may not have its leader yet.
    let is_copied = |ends: Vec<i64>| ends.iter().any(|end| *end > 0);
    while !kafka.ends(&pipeline.output, Isolation::Committed).await.is_ok_and(is_copied) {
        sleep(Duration::from_millis(5)).await;
    }
    drop(member);
    let _right = pipeline.start("right", 0);
    pipeline.group.caught_up(kafka).await;
    let faults = pipeline.faults(RECORDS).await;
    assert!(matches!(faults[..], [Fault::Doubled(_)]), "{faults:?}");
}
