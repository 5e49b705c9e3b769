//! Members that serve a topic are killed: each record is handled, and those of a key in their order.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use kafka_tower_test_suite::copies::{Fault, Ledger, first, judge};
use kafka_tower_test_suite::random::Random;
use kafka_tower_testkit::kafka::Cluster;
use tokio::time::sleep;

use crate::setting;
use crate::team::{Group, Member, PARTITIONS, Protocol, by_key, kill_members, lane, one_node, pause, replace_ended};

/// A group, and what its members have handled.
struct World<'a> {
    kafka: &'a Cluster,
    group: Group,
    ledger: PathBuf,
}

impl<'a> World<'a> {
    async fn new(kafka: &'a Cluster, protocol: Protocol) -> Self {
        let topic = kafka.topic("members", PARTITIONS).await.unwrap();
        let ledger = std::env::temp_dir().join(format!("kafka-tower-{topic}"));
        Ledger::open(&ledger).unwrap();
        Self { kafka, group: Group::new(kafka, topic, protocol), ledger }
    }

    fn start(&self, plan: &str) -> Member {
        self.group.start("member", &[plan, self.ledger.to_str().unwrap()])
    }

    fn handled(&self) -> Vec<u64> {
        Ledger::read(&self.ledger).unwrap()
    }

    /// Starts a member with a defect, and kills it in the middle of its work. Another member does what is left.
    async fn faults(&self, plan: &str) -> Vec<Fault> {
        const RECORDS: u64 = 1_000;
        self.group.send(self.kafka, RECORDS, Duration::from_millis(1)).await;
        let member = self.start(plan);
        while self.handled().len() < 100 {
            sleep(Duration::from_millis(5)).await;
        }
        drop(member);
        let _right = self.start("right");
        self.group.caught_up(self.kafka).await;
        judge(&by_key(RECORDS), &first(&self.handled(), lane).0)
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ledger);
    }
}

async fn nothing_is_lost(kafka: &Cluster, protocol: Protocol) {
    let (records, kills) = (setting("KAFKA_TOWER_RECORDS", 10_000), setting("KAFKA_TOWER_KILLS", 5));
    let (mut random, world) = (Random::of_environment(), World::new(kafka, protocol).await);
    let start = |_| world.start("right");
    let members = RefCell::new([0, 1, 2].map(start));
    let work = async {
        tokio::join!(
            world.group.send(kafka, records, pause() * kills as u32),
            kill_members(&mut random, kills, &members, start),
        );
        world.group.caught_up(kafka).await;
    };
    assert_eq!(replace_ended(&members, start, work).await, 0, "members ended by themselves");
    drop(members);
    let (handled, repeated) = first(&world.handled(), lane);
    println!(
        "{protocol:?}: {records} records, {kills} of the members were killed; {repeated} records were handled again"
    );
    assert_eq!(judge(&by_key(records), &handled), []);
}

#[tokio::test]
async fn nothing_is_lost_while_members_are_killed() {
    let Some(kafka) = one_node().await else { return };
    tokio::join!(nothing_is_lost(kafka, Protocol::Classic), nothing_is_lost(kafka, Protocol::Consumer));
}

#[tokio::test]
async fn members_with_a_defect_are_found() {
    let Some(kafka) = one_node().await else { return };
    let (early, unordered) = (World::new(kafka, Protocol::Classic).await, World::new(kafka, Protocol::Classic).await);
    let (early, unordered) = tokio::join!(early.faults("early"), unordered.faults("unordered"));
    assert!(early.iter().any(|fault| matches!(fault, Fault::Lost(_))), "{early:?}");
    assert!(unordered.iter().any(|fault| matches!(fault, Fault::Reordered(_))), "{unordered:?}");
}
