//! Consume, transform, produce on a real Kafka: each message has its output exactly once, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kafka_tower::source::{SourceCloseReport, SourceErrorKind};
use kafka_tower::{
    CommitStrategy, Error, KafkaSink, KafkaSinkConfig, KafkaSourceConfig, SinkMessage, SourceError, SourceMessage,
};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Isolation};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::read::{PATIENCE, config, send, sink, source};
use crate::support::Kind;

const MESSAGES: u32 = 2_000;

type Run = JoinHandle<Result<SourceCloseReport, SourceError>>;

struct World<'a> {
    kafka: &'a Cluster,
    kind: Kind,
    input: String,
    output: String,
    handled: Arc<AtomicU32>,
    /// The next output of a certain message is too large for its topic.
    is_refused: Arc<AtomicBool>,
}

impl<'a> World<'a> {
    async fn new(kafka: &'a Cluster, kind: Kind) -> Self {
        let input = kafka.topic("orders", 4).await.unwrap();
        let output = kafka.topic_with("bills", 4, &[("max.message.bytes", "20000")]).await.unwrap();
        send(&sink(kafka, &input).await, 0..MESSAGES).await;
        let (handled, is_refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        Self { kafka, kind, input, output, handled, is_refused }
    }

    fn config(&self) -> KafkaSourceConfig {
        KafkaSourceConfig { commit: CommitStrategy::Transaction, ..config(self.kafka, &self.input, self.kind) }
    }

    async fn run(&self, id: &str, config: KafkaSourceConfig, time: Duration) -> Run {
        let bills =
            KafkaSinkConfig::exactly_once(self.kafka.bootstrap(), &self.output, format!("{}-{id}", self.output));
        let bills = KafkaSink::<String>::new(bills).await.unwrap_or_else(|error| panic!("{error:#}"));
        let (handled, is_refused) = (Arc::clone(&self.handled), Arc::clone(&self.is_refused));
        let handler = move |order: SourceMessage<u32>| {
            handled.fetch_add(1, Ordering::Relaxed);
            let too_large = order.offset() == 100 && is_refused.swap(false, Ordering::Relaxed);
            async move {
                sleep(time).await;
                let number = order.value().unwrap().to_string();
                let bill = if too_large { incompressible() } else { number };
                Ok::<_, Error>([SinkMessage::new(bill).with_partition(order.partition())])
            }
        };
        let run = source(config).await.transactional(bills, handler).max_records(50);
        tokio::spawn(run.into_future())
    }

    async fn until(&self, handled: u32) {
        let reached = async {
            while self.handled.load(Ordering::Relaxed) < handled {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("handled");
    }

    /// Waits until all is committed, and compares the output with the input.
    async fn judge(&self) {
        // Each batch of `send` was one without a transaction: no markers.
        let ends = self.kafka.ends(&self.input, Isolation::Uncommitted).await.unwrap();
        let all = async {
            for (partition, end) in (0_i32..).zip(ends) {
                let group = self.config().group_id;
                while self.kafka.committed_offset(&group, &self.input, partition).await.unwrap() != Some(end) {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        timeout(2 * PATIENCE, all).await.expect("everything is committed");
        let by_partition = |records: Vec<kafka_tower_testkit::LogRecord>| {
            let mut found: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
            for record in records {
                let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                found.entry(record.partition).or_default().push(text.trim_matches('"').parse().unwrap());
            }
            found
        };
        let orders = kafka_tower_test_suite::rdkafka::read(self.kafka, &self.input).await;
        let bills = kafka_tower_test_suite::rdkafka::read_as(self.kafka, &self.output, Isolation::Committed).await;
        assert_eq!(by_partition(bills), by_partition(orders), "{:?}: each once, in order", self.kind);
    }
}

/// 200 KB that do not compress well.
fn incompressible() -> String {
    let mut random = kafka_tower_test_suite::random::Random::new(1);
    (0..200_000).map(|_| char::from(b'0' + random.below(64) as u8)).collect()
}

/// A second member joins, the first one is killed, a third one takes its place, and a transaction is aborted.
async fn members_come_and_go(kafka: &Cluster, kind: Kind) {
    let world = World::new(kafka, kind).await;
    world.is_refused.store(true, Ordering::Relaxed);
    let slow = Duration::from_millis(20);
    let first = world.run("1", world.config(), slow).await;
    world.until(300).await;
    let second = world.run("2", world.config(), slow).await;
    world.until(900).await;
    // Its open transaction is aborted in the background.
    first.abort();
    let third = world.run("3", world.config(), slow).await;
    world.judge().await;
    assert!(!world.is_refused.load(Ordering::Relaxed), "a transaction was aborted");
    for run in [second, third] {
        assert!(!run.is_finished(), "{kind:?}: nothing ended it");
        run.abort();
    }
}

/// Another member takes its place while it handles messages, and it does not learn it before it wants to commit.
async fn a_zombie_commits_nothing(kafka: &Cluster) {
    let world = World::new(kafka, Kind::Static).await;
    let config = KafkaSourceConfig { group_instance_id: Some("the-one".into()), ..world.config() };
    let zombie = world.run("zombie", config.clone(), Duration::from_secs(4)).await;
    world.until(20).await;
    let next = world.run("next", config, Duration::ZERO).await;
    world.judge().await;
    let ended = timeout(PATIENCE, zombie).await.expect("it ends").unwrap();
    // Its consumer was fenced, which closes it.
    let settled = ended.map_or_else(
        |error| {
            assert_ne!(error.kind(), SourceErrorKind::Handler, "{error}");
            error.close_report().map_or(0, |report| report.settled)
        },
        |report| report.settled,
    );
    assert_eq!(settled, 0);
    next.abort();
}

macro_rules! on_real_kafka {
    ($($test:ident: $run:expr;)*) => {$(
        #[tokio::test]
        async fn $test() {
            let Some(kafka) = cluster::shared().await else { return };
            let run: fn(&'static Cluster) -> std::pin::Pin<Box<dyn Future<Output = ()>>> = |kafka| Box::pin($run(kafka));
            run(kafka).await;
        }
    )*};
}

on_real_kafka! {
    exactly_once_eager: |kafka| members_come_and_go(kafka, Kind::Eager);
    exactly_once_cooperative: |kafka| members_come_and_go(kafka, Kind::Cooperative);
    exactly_once_kip_848: |kafka| members_come_and_go(kafka, Kind::Consumer);
    a_zombie: a_zombie_commits_nothing;
}
