//! Random runs with poison: members that join, leave and are expelled, dead letters that are late, fail or are unknown, and an
//! application that acknowledges, gives back and drops messages and errors.

use kafka_tower::SourceMessage;
use kafka_tower_test_suite::random::Random;

use super::*;

struct World {
    kafka: MemoryKafka,
    partitions: i32,
    poison: BTreeSet<(i32, i64)>,
    /// Messages that were acknowledged, and counted.
    handled: BTreeSet<(i32, i64)>,
    sources: [Option<KafkaSource<u32>>; 2],
    held: Vec<SourceMessage<u32>>,
    errors: Vec<kafka_tower::SourceError>,
    max_unsettled: usize,
}

impl World {
    async fn new_source(&self) -> KafkaSource<u32> {
        let config = KafkaSourceConfig {
            commit_interval_ms: 200,
            commit_timeout_ms: 300,
            drain_timeout_ms: 500,
            redelivery_backoff_ms: 50,
            max_unsettled: self.max_unsettled,
            ..config(CommitStrategy::Each)
        };
        let builder = KafkaSource::<u32>::builder(config).transport(self.kafka.clone());
        builder.on_decode_error(DecodePolicy::dead_letter(letters(&self.kafka))).build().await.unwrap()
    }

    /// No group offset is beyond a record that was neither handled nor dead-lettered.
    fn judge(&self) {
        let letters: BTreeSet<_> = originals(&self.kafka).into_iter().collect();
        for at in &letters {
            assert!(self.poison.contains(at), "{at:?} was not poison");
        }
        for partition in 0..self.partitions {
            for offset in 0..committed(&self.kafka, partition) {
                let at = (partition, offset);
                let done = if self.poison.contains(&at) { &letters } else { &self.handled };
                assert!(done.contains(&at), "{at:?} is committed and lost");
            }
        }
    }

    fn ack(&mut self, message: &SourceMessage<u32>) {
        let at = (message.partition(), message.offset());
        // Entered first: the commit may follow at once.
        let new = self.handled.insert(at);
        if message.ack() == Acked::Stale && new {
            self.handled.remove(&at);
        }
    }

    async fn receive(&mut self, index: usize) {
        let Some(source) = &mut self.sources[index] else { return };
        match timeout(Duration::from_millis(20), source.recv()).await {
            Ok(Ok(message)) => self.held.push(message),
            Ok(Err(error)) if error.kind() == SourceErrorKind::DeadLetter => self.errors.push(error),
            Ok(Err(error)) => assert_ne!(error.kind(), SourceErrorKind::Decode),
            Err(_) => {}
        }
    }
}

async fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut below = |end: usize| random.below(end as u64) as usize;
    let partitions = 1 + below(3) as i32;
    let mut world = World {
        kafka: kafka(partitions as u32).with_topic(DEAD, partitions as u32),
        partitions,
        poison: BTreeSet::new(),
        handled: BTreeSet::new(),
        sources: [None, None],
        held: Vec::new(),
        errors: Vec::new(),
        max_unsettled: 1 + below(20),
    };
    for partition in 0..partitions {
        for offset in 0..5 + below(15) as i64 {
            if below(3) == 0 {
                world.poison.insert((partition, offset));
                append_text(&world.kafka, partition, "bad").await;
            } else {
                append(&world.kafka, partition, [7]).await;
            }
        }
    }
    world.sources[0] = Some(world.new_source().await);
    for _ in 0..200 {
        let index = below(2);
        match below(32) {
            0..14 => world.receive(index).await,
            14..20 if !world.held.is_empty() => {
                let message = world.held.swap_remove(below(world.held.len()));
                world.ack(&message);
            }
            20 if !world.held.is_empty() => drop(world.held.swap_remove(below(world.held.len()))),
            21 if !world.errors.is_empty() => drop(world.errors.swap_remove(below(world.errors.len()))),
            22 | 23 => sleep(Duration::from_millis(below(400) as u64)).await,
            24 => drop(world.kafka.start_rebalance(GROUP)),
            25 => drop(world.kafka.expel_members(GROUP)),
            26 => drop(world.kafka.script().delay(Duration::from_millis(below(900) as u64))),
            27 => drop(world.kafka.script().times(1 + below(4) as u64).fail(planted(Persistence::NotPersisted))),
            28 => drop(world.kafka.script().fail(planted(Persistence::PossiblyPersisted))),
            29 if below(2) == 0 => drop(world.kafka.script().lose_answer()),
            29 => world.sources[index] = None,
            30 => {
                if let Some(source) = world.sources[index].take() {
                    drop(source.close_within(Duration::from_millis(below(300) as u64)).await);
                }
            }
            31 if world.sources[index].is_none() => world.sources[index] = Some(world.new_source().await),
            _ => {}
        }
        world.judge();
    }
    finish(world).await;
}

/// Everything ends: one source handles what is left.
async fn finish(mut world: World) {
    (world.held, world.errors) = (Vec::new(), Vec::new());
    world.sources = [None, None];
    sleep(10 * SECOND).await;
    while world.kafka.expel_members(GROUP) > 0 {}
    world.sources[0] = Some(world.new_source().await);
    for _ in 0..3_000 {
        world.receive(0).await;
        if world.held.is_empty() {
            // Faults that nothing has used yet, and back-offs.
            sleep(SECOND).await;
        }
        world.errors.clear();
        while let Some(message) = world.held.pop() {
            world.ack(&message);
        }
        world.judge();
        let end = |partition| Some(committed(&world.kafka, partition)) == world.kafka.high_watermark(TOPIC, partition);
        if (0..world.partitions).all(end) {
            return;
        }
    }
    panic!("it does not come to its end");
}

#[test]
fn no_record_is_lost() {
    each_seed(300, run);
}
