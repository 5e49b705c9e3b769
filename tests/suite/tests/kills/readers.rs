//! Watches how long readers of committed records wait for a transaction that does not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_tower_testkit::kafka::{Cluster, Isolation};
use tokio::task::JoinHandle;

/// Samples the ends of a topic's partitions until it is stopped.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Duration>,
}

impl Watch {
    pub(crate) fn start(kafka: &Cluster, topic: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, kafka, topic) = (Arc::clone(&stop), Cluster::external(kafka.bootstrap()), topic.to_owned());
        let task = tokio::spawn(async move {
            let mut partitions: Vec<Held> = Vec::new();
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let stable = kafka.ends(&topic, Isolation::Committed).await;
                let all = kafka.ends(&topic, Isolation::Uncommitted).await;
                // While a partition has no leader, its readers do not wait for a transaction.
                let (Ok(stable), Ok(all)) = (stable, all) else {
                    partitions.clear();
                    continue;
                };
                partitions.resize_with(stable.len(), Held::default);
                for (held, (stable, all)) in partitions.iter_mut().zip(stable.into_iter().zip(all)) {
                    longest = longest.max(held.sample(stable, all, Instant::now()));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            longest
        });
        Self { stop, task }
    }

    /// Returns the longest time that a last stable offset stood still below the end of its partition.
    pub(crate) async fn longest(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// The last stable offset of a partition, and since when it has stood there.
#[derive(Default)]
struct Held(Option<(i64, Instant)>);

impl Held {
    fn sample(&mut self, stable: i64, all: i64, now: Instant) -> Duration {
        match self.0 {
            Some((offset, since)) if offset == stable && stable < all => now - since,
            _ => {
                self.0 = (stable < all).then_some((stable, now));
                Duration::ZERO
            }
        }
    }
}

#[test]
fn only_a_stable_offset_that_stands_still_counts() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let mut held = Held::default();
    let mut sample = |stable, all, seconds: u32| held.sample(stable, all, now + second * seconds);
    assert_eq!(sample(5, 9, 0), Duration::ZERO);
    assert_eq!(sample(5, 9, 2), second * 2);
    assert_eq!(sample(6, 9, 3), Duration::ZERO, "it has moved");
    assert_eq!(sample(6, 12, 4), second);
    assert_eq!(sample(12, 12, 9), Duration::ZERO, "nothing is open");
    assert_eq!(sample(12, 13, 20), Duration::ZERO);
}
