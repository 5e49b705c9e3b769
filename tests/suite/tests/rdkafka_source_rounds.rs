//! Sources that are opened and closed many times leave no thread and no descriptor behind. In a binary of its own, because the
//! whole process is counted.
#![allow(clippy::unwrap_used)] // a test may fail
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use kafka_tower::{CommitStrategy, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig};
use kafka_tower_testkit::kafka as cluster;
use tokio::time::timeout;

const ROUNDS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

fn count(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count()
}

/// Threads and descriptors, once no consumer is left that is still being destroyed.
async fn settled(at_most: (usize, usize)) -> (usize, usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = (count("task"), count("fd"));
        if now.0 <= at_most.0 && now.1 <= at_most.1 || Instant::now() > end {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_leave_no_thread_and_no_descriptor() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("rounds", 2).await.unwrap();
    let config = KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic: topic.clone(), ..Default::default() };
    let sink = KafkaSink::<u32>::new(config).await.unwrap();
    let config = KafkaSourceConfig {
        brokers: kafka.bootstrap().to_owned(),
        group_id: format!("rounds-of-{topic}"),
        topics: vec![topic],
        commit: CommitStrategy::Each,
        ..Default::default()
    };
    let mut first = None;
    for round in 0..ROUNDS {
        sink.send(u32::try_from(round).unwrap()).await.unwrap();
        let mut source = KafkaSource::<u32>::new(config.clone()).await.unwrap();
        let message = timeout(PATIENCE, source.recv()).await.unwrap().unwrap();
        assert_eq!(message.value(), Some(&u32::try_from(round).unwrap()), "each is read once");
        message.ack();
        if round % 2 == 0 {
            assert!(timeout(PATIENCE, source.close()).await.unwrap().is_complete());
        } else {
            // In the background it commits and leaves, too.
            drop(message);
            drop(source);
        }
        if round == 19 {
            // Threads of the runtime were started by now.
            tokio::time::sleep(Duration::from_secs(3)).await;
            first = Some((count("task"), count("fd")));
        }
    }
    let first = first.unwrap();
    let last = settled(first).await;
    assert!(
        last.0 <= first.0 && last.1 <= first.1,
        "(threads, descriptors) after 20 rounds: {first:?}, after all: {last:?}"
    );
}
