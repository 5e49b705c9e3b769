//! Leaders are killed and stopped while records with keys are sent: none is lost, none is twice, and the order of each key is kept.
//!
//! `KAFKA_TOWER_KILLS` is the number of kills, 2 by default; longer stops only if it is set to 5 or more.
#![allow(clippy::unwrap_used)] // a test may fail

mod support;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Record, Result};
use kafka_tower_native::{DeliveryFuture, NativeTransport};
use kafka_tower_testkit::kafka::Cluster;
use support::{assert_dense, builder, call, connect, number};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

const PARTITIONS: i32 = 6;
const KEYS: usize = 40;
/// 2,000 records per second.
const TICK: Duration = Duration::from_millis(10);
const PER_TICK: usize = 20;
/// Time from the restart of a broker to the next fault, for records to be sent to it.
const BETWEEN: Duration = Duration::from_millis(500);
/// Enough time for the records that are left after the last fault.
const END: Duration = Duration::from_secs(90);

/// As a setting in the environment, if there is one.
fn kills() -> Option<usize> {
    env::var("KAFKA_TOWER_KILLS").ok()?.parse().ok()
}

/// Sends 2,000 records per second until it is stopped.
struct Stream {
    stop: Arc<AtomicBool>,
    delivered: Arc<AtomicUsize>,
    sends: JoinHandle<Vec<JoinHandle<Result<Delivery>>>>,
}

impl Stream {
    fn start(mut transport: NativeTransport, topic: &str) -> Self {
        let (stop, delivered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count, topic): (_, _, Arc<str>) = (Arc::clone(&stop), Arc::clone(&delivered), topic.into());
        let sends = tokio::spawn(async move {
            let mut sends = Vec::new();
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                for _ in 0..PER_TICK {
                    let n = sends.len();
                    let record = Record::new(Arc::clone(&topic)).with_key(format!("key {}", n % KEYS));
                    let sent = call(&mut transport, record.with_value(n.to_string())).await;
                    sends.push(tokio::spawn(counted(sent, Arc::clone(&count))));
                }
            }
            sends
        });
        Self { stop, delivered, sends }
    }

    /// Waits for more records to be delivered, so that the next fault meets a client that sends.
    async fn goes_on(&self, what: &str) {
        let more = self.delivered.load(Ordering::Relaxed) + 500;
        let waiting = async {
            while self.delivered.load(Ordering::Relaxed) < more {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(END, waiting).await.unwrap_or_else(|_| panic!("nothing is delivered after {what}"));
    }

    /// Stops sending, asserts that every record was delivered, and returns where each is.
    async fn end(self) -> Vec<Delivery> {
        self.stop.store(true, Ordering::Relaxed);
        let sends = self.sends.await.unwrap();
        let mut delivered = Vec::with_capacity(sends.len());
        for (n, sent) in sends.into_iter().enumerate() {
            let outcome = timeout(END, sent).await.unwrap_or_else(|_| panic!("record {n} has no outcome")).unwrap();
            delivered.push(outcome.unwrap_or_else(|error| panic!("record {n}: {error:#}")));
        }
        delivered
    }
}

async fn counted(sent: DeliveryFuture, count: Arc<AtomicUsize>) -> Result<Delivery> {
    let outcome = sent.await;
    count.fetch_add(1, Ordering::Relaxed);
    outcome
}

/// Asserts that the log has each record once, where its delivery says, in the order of its key, and that sequences are dense.
async fn assert_exact(kafka: &Cluster, topic: &str, delivered: &[Delivery]) {
    let mut seen = vec![0_u32; delivered.len()];
    let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for record in kafka.read(topic).await.unwrap() {
        let n = number(&record);
        seen[n] += 1;
        assert_eq!((delivered[n].partition, delivered[n].offset), (record.partition, Some(record.offset)), "{n}");
        if let Some(before) = last.insert(record.key.unwrap(), n) {
            assert!(before < n, "{n} is behind {before}");
        }
    }
    let lost = seen.iter().filter(|count| **count == 0).count();
    let twice = seen.iter().filter(|count| **count > 1).count();
    assert_eq!((lost, twice), (0, 0), "lost and twice, of {}", delivered.len());
    for partition in 0..PARTITIONS {
        assert_dense(&kafka.batches(topic, partition).await.unwrap());
    }
}

/// A cluster of three with a topic, and a client that sends to it.
async fn start(request_timeout: Duration) -> Option<(Cluster, String, Stream)> {
    let kafka = Cluster::start(3).await.unwrap()?;
    let topic = kafka.topic("kills", PARTITIONS).await.unwrap();
    // Room for what is sent during the longest stop.
    let limits = Limits { records: 200_000, bytes: 256 << 20 };
    let transport = connect(builder(kafka.bootstrap(), &topic).limits(limits).request_timeout(request_timeout)).await;
    let stream = Stream::start(transport, &topic);
    stream.goes_on("the start").await;
    Some((kafka, topic, stream))
}

async fn kill_leaders(request_timeout: Duration, kills: usize) {
    let Some((kafka, topic, stream)) = start(request_timeout).await else { return };
    let mut killed = 0;
    for n in 0..kills {
        let partition = i32::try_from(n).unwrap() % PARTITIONS;
        let leader = kafka.leader(&topic, partition).await.unwrap();
        kafka.kill(leader).unwrap();
        assert_eq!(kafka.pid(leader).unwrap(), None, "the node is dead");
        killed += 1;
        stream.goes_on("a kill").await;
        kafka.restart(leader).await.unwrap();
        tokio::time::sleep(BETWEEN).await;
        stream.goes_on("a restart").await;
    }
    let delivered = stream.end().await;
    assert_exact(&kafka, &topic, &delivered).await;
    assert!(killed >= kills && delivered.len() > 500 * kills, "{killed} kills, {} records", delivered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_leaders_lose_nothing_and_repeat_nothing() {
    kill_leaders(Duration::from_secs(30), kills().unwrap_or(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_leaders_with_a_short_time_out_lose_nothing_and_repeat_nothing() {
    kill_leaders(Duration::from_secs(1), kills().unwrap_or(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops_of_leaders_lose_nothing_and_repeat_nothing() {
    let Some((kafka, topic, stream)) = start(Duration::from_secs(2)).await else { return };
    let longer = kills().is_some_and(|kills| kills >= 5);
    let stops: &[u64] = if longer { &[5, 20, 40] } else { &[5] };
    for seconds in stops {
        let leader = kafka.leader(&topic, 0).await.unwrap();
        kafka.stop(leader).unwrap();
        tokio::time::sleep(Duration::from_secs(*seconds)).await;
        kafka.cont(leader).unwrap();
        stream.goes_on("a stop").await;
    }
    let delivered = stream.end().await;
    // A node that was stopped may take itself for the leader for a moment, and a reader gets no records from it.
    assert_exact(&kafka, &topic, &delivered).await;
}
