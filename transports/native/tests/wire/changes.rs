//! How a cluster changes: leaders move, brokers end and come back, topics are made anew and grow.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::cluster::{Cluster, Partition, State, Topic, TopicConfig, index, index_of};
use super::faults::{Kind, Place, number};
use super::log::Log;

/// Time after which another broker leads the partitions of one that has ended: at most this.
const ELECTION: u64 = 6_000;

impl Cluster {
    /// Lets those changes happen that belong to this frame.
    pub(crate) fn change(&self, broker: i32, at: Place) {
        let topic = {
            let state = self.state();
            let nth = state.faults.choose(Kind::LeaderMoves, at, 1, state.topics.len() as u64);
            state.topics.keys().nth(index_of(nth)).copied()
        };
        let Some(topic) = topic else { return };
        let partition = {
            let state = self.state();
            let partitions = state.topics[topic].partitions.len() as u64;
            i32::try_from(state.faults.choose(Kind::LeaderMoves, at, 2, partitions)).expect("a small number")
        };
        let happens = |kind| self.state().faults.happens(kind, at);
        let choose = |kind, below| self.state().faults.choose(kind, at, 3, below);
        if happens(Kind::LeaderMoves) {
            let live = self.state().live();
            if let Some(to) = live.get(index_of(choose(Kind::LeaderMoves, live.len() as u64))) {
                self.move_leader(topic, partition, *to);
            }
        }
        if happens(Kind::Stop) {
            self.stop(broker, Duration::from_millis(500 + choose(Kind::Stop, 44_000)));
        }
        if happens(Kind::MadeAnew) {
            self.make_anew(topic, Duration::from_millis(choose(Kind::MadeAnew, 4_000)));
        }
        if happens(Kind::PartitionAdded) {
            self.add_partition(topic);
        }
        if happens(Kind::Restart) {
            let down = choose(Kind::Restart, 20_000);
            self.restart(broker, Duration::from_millis(down));
        }
    }

    /// Makes a broker the leader of a partition.
    pub(crate) fn move_leader(&self, topic: &str, partition: i32, to: i32) {
        self.state().lead(topic, partition, to);
    }

    /// Ends a broker, which comes back later. Its connections and what it remembers are lost, except for the logs and the
    /// snapshots of producers.
    pub(crate) fn restart(&self, broker: i32, down: Duration) {
        let election = {
            let mut state = self.state();
            state.event(None, || format!("broker {broker} ends, for {down:?}"));
            let ended = &mut state.brokers[index(broker)];
            if !ended.is_up {
                return;
            }
            ended.is_up = false;
            ended.stopped_until = Instant::now();
            // The caller may be one of them: it ends where it next waits.
            ended.tasks.drain(..).for_each(|task| task.abort());
            for partition in state.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
                partition.log.restart(broker);
            }
            let salt = state.next_producer.unsigned_abs();
            Duration::from_millis(number(&[state.faults.seed(), salt, u64::from(down.subsec_nanos())]) % ELECTION)
        };
        let cluster = self.clone();
        tokio::spawn(async move {
            sleep(down.min(election)).await;
            if election <= down {
                cluster.state().elect();
                sleep(down - election).await;
            }
            cluster.state().come_back(broker);
        });
    }

    /// A broker does nothing for some time.
    pub(crate) fn stop(&self, broker: i32, time: Duration) {
        let mut state = self.state();
        state.event(None, || format!("broker {broker} is stopped for {time:?}"));
        state.brokers[index(broker)].stopped_until = Instant::now() + time;
    }

    /// Deletes a topic and makes it anew, with another id.
    pub(crate) fn make_anew(&self, topic: &str, missing: Duration) {
        let mut state = self.state();
        let Some(old) = state.topics.remove(topic) else { return };
        state.event(None, || format!("{topic} is deleted and made anew, missing for {missing:?}"));
        state.deleted.extend(old.logs());
        let config = TopicConfig { partitions: i32::try_from(old.partitions.len()).expect("few"), ..old.config };
        state.create(config, old.generation + 1, Instant::now() + missing);
    }

    /// Gives a topic another partition.
    pub(crate) fn add_partition(&self, topic: &str) {
        let mut state = self.state();
        state.event(None, || format!("{topic} gets another partition"));
        let live = state.live();
        if let Some(topic) = state.topics.get_mut(topic) {
            let leader = live.get(topic.partitions.len() % live.len().max(1)).copied().unwrap_or_default();
            topic.partitions.push(Partition::new(leader));
        }
    }
}

impl State {
    pub(crate) fn create(&mut self, config: TopicConfig, generation: u32, missing_until: Instant) {
        self.topics_made += 1;
        let id = Uuid::from_u128(0x5eed_0000_0000_0000 << 64 | u128::from(self.topics_made));
        let brokers = i32::try_from(self.brokers.len()).expect("few");
        let partitions = (0..config.partitions).map(|partition| Partition::new(partition % brokers)).collect();
        self.topics.insert(config.name, Topic { config, id, generation, missing_until, partitions });
        self.elect();
    }

    /// A broker is there again, and leads what it has led if nobody else does.
    pub(crate) fn come_back(&mut self, broker: i32) {
        if std::mem::replace(&mut self.brokers[index(broker)].is_up, true) {
            return;
        }
        self.event(None, || format!("broker {broker} is back"));
        let own = self.partitions().into_iter().filter(|(_, _, leader)| *leader == broker);
        for (topic, partition, _) in own.collect::<Vec<_>>() {
            self.lead(topic, partition, broker);
        }
        self.elect();
    }

    /// All partitions with their leaders.
    fn partitions(&self) -> Vec<(&'static str, i32, i32)> {
        let of = |topic: &Topic| {
            let name = topic.name();
            (0..).zip(&topic.partitions).map(|(partition, of)| (name, partition, of.leader)).collect::<Vec<_>>()
        };
        self.topics.values().flat_map(of).collect()
    }

    /// Gives a leader to each partition whose leader is down, if a broker is up.
    pub(crate) fn elect(&mut self) {
        let live = self.live();
        if live.is_empty() {
            return;
        }
        let without = self.partitions().into_iter().filter(|(_, _, leader)| !live.contains(leader));
        for (nth, (topic, partition, _)) in without.collect::<Vec<_>>().into_iter().enumerate() {
            self.lead(topic, partition, live[nth % live.len()]);
        }
    }

    fn lead(&mut self, topic: &str, partition: i32, to: i32) {
        let seed = self.faults.seed();
        let Some(topic) = self.topics.get_mut(topic) else { return };
        let name = topic.name();
        let Some(of) = topic.partition(partition) else { return };
        let before = of.leader;
        of.before = (before, of.epoch);
        of.epoch += 1;
        of.leader = to;
        let loses = number(&[seed, index(of.epoch) as u64, index(partition) as u64]) % 2 == 0;
        let (lost, epoch) = (of.log.lead(to, before, loses), of.epoch);
        self.event(Some((name, partition)), || {
            let lost = if lost.is_empty() { String::new() } else { format!(", lost are {lost:?}") };
            format!("{name}[{partition}]: leader {before} -> {to}, epoch {epoch}{lost}")
        });
    }
}

impl Partition {
    fn new(leader: i32) -> Self {
        Self { leader, epoch: 0, before: (leader, 0), log: Log::default() }
    }
}
