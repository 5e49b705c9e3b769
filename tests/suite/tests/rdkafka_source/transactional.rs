//! Consume, transform, produce on a real Kafka: each message has its output exactly once, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::layers::dead_letter::DeadLetterLayer;
use kafka_tower::source::{FailurePolicy, SourceCloseReport, SourceErrorKind};
use kafka_tower::{
    CommitStrategy, KafkaSink, KafkaSinkConfig, KafkaSourceConfig, Limits, Record, SinkMessage, SourceError,
    SourceMessage,
};
use kafka_tower_core::{ConsumerGroup, Control, ControlFuture, TopicOffset, TransactionControl};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_suite::control::WithTransactions;
use kafka_tower_test_suite::rdkafka::{open, read, read_as};
use kafka_tower_testkit::LogRecord;
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Isolation};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::read::{PATIENCE, config, send, sink, source};
use crate::support::{Kind, append};

const MESSAGES: u32 = 2_000;

/// Each of so many messages is not handled.
const BAD: u32 = 97;

/// Handlers of one member: partition and key.
type Running = Arc<Mutex<BTreeSet<(i32, Bytes)>>>;

/// A handler that runs, until it is dropped.
struct Runs(Running, (i32, Bytes));

impl Runs {
    fn begin(running: &Running, order: &SourceMessage<u32>) -> Self {
        let key = (order.partition(), order.key().unwrap().clone());
        assert!(running.lock().unwrap().insert(key.clone()), "{key:?}: two handlers run");
        Self(Arc::clone(running), key)
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

type Run = JoinHandle<Result<SourceCloseReport, SourceError>>;

#[derive(Clone)]
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
        // With fewer partitions.
        kafka.create_topic(&format!("{input}.dlq"), 2, &[]).await.unwrap();
        let sink = sink(kafka, &input).await;
        send(&sink, 0..MESSAGES / 2).await;
        let no_number = Record::new(&*input).with_partition(1).with_value("no number");
        let limits = Limits { records: 1, bytes: 1 << 20 };
        append(&open(kafka.bootstrap(), &input, limits, ()).await.transport, vec![no_number]).await;
        send(&sink, MESSAGES / 2..MESSAGES).await;
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
        tokio::spawn(self.run_with(bills, config, time).await)
    }

    async fn run_with(
        &self,
        bills: KafkaSink<String>,
        config: KafkaSourceConfig,
        time: Duration,
    ) -> impl Future<Output = Result<SourceCloseReport, SourceError>> + Send + use<> {
        let (handled, is_refused) = (Arc::clone(&self.handled), Arc::clone(&self.is_refused));
        let running = Running::default();
        let handler = move |order: SourceMessage<u32>| {
            handled.fetch_add(1, Ordering::Relaxed);
            let number = *order.value().unwrap();
            let is_bad = number.is_multiple_of(BAD);
            let too_large = order.offset() >= 100 && !is_bad && is_refused.swap(false, Ordering::Relaxed);
            let runs = Runs::begin(&running, &order);
            async move {
                let _runs = runs;
                sleep(time).await;
                if is_bad {
                    return Err("planted");
                }
                let bill = if too_large { incompressible() } else { number.to_string() };
                Ok([SinkMessage::new(bill).with_partition(order.partition())])
            }
        };
        let policy = FailurePolicy::retry(1).backoff(Duration::from_millis(10), Duration::from_millis(10));
        let run = source(config).await.transactional(bills, handler).max_records(50).on_failure(policy);
        let run = run.dead_letters(DeadLetterLayer::default());
        run.into_future()
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
        let text = |record: &LogRecord| {
            let text = String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap();
            text.trim_matches('"').to_owned()
        };
        let by_partition = |records: &mut dyn Iterator<Item = (i32, String)>| {
            let mut found: BTreeMap<i32, Vec<String>> = BTreeMap::new();
            records.for_each(|(partition, text)| found.entry(partition).or_default().push(text));
            found
        };
        let is_bad =
            |text: &str| text.parse().is_ok_and(|number: u32| number.is_multiple_of(BAD)) || text == "no number";
        let orders = read(self.kafka, &self.input).await;
        let good = |bad: bool| {
            let orders = orders.iter().map(|order| (order.partition, text(order)));
            by_partition(&mut orders.filter(|(_, text)| is_bad(text) == bad))
        };
        let bills = read_as(self.kafka, &self.output, Isolation::Committed).await;
        let bills = by_partition(&mut bills.iter().map(|bill| (bill.partition, text(bill))));
        assert_eq!(bills, good(false), "{:?}: each once, in order", self.kind);
        let letters = read_as(self.kafka, &format!("{}.dlq", self.input), Isolation::Committed).await;
        let from = |letter: &LogRecord| {
            let of = letter.headers.iter().find(|(name, _)| name == "kafka-tower-dlq-partition").unwrap();
            std::str::from_utf8(of.1.as_ref().unwrap()).unwrap().parse().unwrap()
        };
        let mut letters: Vec<_> = letters.iter().map(|letter| (from(letter), text(letter))).collect();
        let mut expected: Vec<_> =
            good(true).into_iter().flat_map(|(at, texts)| texts.into_iter().map(move |text| (at, text))).collect();
        letters.sort();
        expected.sort();
        assert_eq!(letters, expected, "{:?}: each dead letter once", self.kind);
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
/// Its handlers take longer than that.
async fn a_zombie_commits_nothing(kafka: &Cluster) {
    let world = World::new(kafka, Kind::Static).await;
    let config = KafkaSourceConfig { group_instance_id: Some("the-one".into()), ..world.config() };
    let zombie = world.run("zombie", config.clone(), Duration::from_secs(10)).await;
    world.until(4).await;
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

/// Transactions whose commit waits.
#[derive(Debug)]
struct Held {
    below: Arc<dyn TransactionControl>,
    /// One permit for each transaction whose offsets are accepted.
    accepted: Semaphore,
    /// One permit for each commit that may begin.
    commits: Semaphore,
}

impl TransactionControl for Held {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.begin(within)
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            self.commits.acquire().await.unwrap().forget();
            self.below.commit(within).await
        })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.abort(within)
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            self.below.send_offsets(offsets, group, within).await?;
            self.accepted.add_permits(1);
            Ok(())
        })
    }
}

/// Another member takes the place of one whose offsets are accepted and whose transaction is open: it begins behind it, and
/// only when it has ended.
async fn the_next_owner_waits_for_a_zombie(kafka: &Cluster) {
    let world = World::new(kafka, Kind::Static).await;
    let config = KafkaSourceConfig { group_instance_id: Some("the-one".into()), ..world.config() };
    let transport = RdkafkaTransport::builder().property("bootstrap.servers", kafka.bootstrap()).topic(&world.output);
    let transport = transport.property("transactional.id", &world.output).connect().await.unwrap();
    let below = transport.control();
    let held = Arc::new(Held {
        below: below.transactions().unwrap(),
        accepted: Semaphore::new(0),
        commits: Semaphore::new(0),
    });
    let control: Arc<dyn Control> = Arc::new(WithTransactions { below, transactions: Arc::clone(&held) as _ });
    let sink = KafkaSinkConfig::exactly_once(kafka.bootstrap(), &world.output, &world.output);
    let bills = KafkaSink::<String>::builder(sink).transport((transport, control)).build().await.unwrap();
    let zombie = tokio::spawn(world.run_with(bills, config.clone(), Duration::ZERO).await);
    timeout(PATIENCE, held.accepted.acquire()).await.expect("offsets are accepted").unwrap().forget();
    let handled = world.handled.load(Ordering::Relaxed);
    let next = World { handled: Arc::default(), is_refused: Arc::default(), ..world.clone() };
    let run = next.run("next", config, Duration::ZERO).await;
    // Time to find out where its partitions begin, if that was to be found out.
    let ended = timeout(Duration::from_secs(3), zombie).await;
    assert_eq!(next.handled.load(Ordering::Relaxed), 0, "{handled} messages are in an open transaction");
    held.commits.add_permits(1_000);
    world.judge().await;
    if let Ok(ended) = ended {
        assert!(!matches!(ended.unwrap(), Err(error) if error.kind() == SourceErrorKind::Handler));
    }
    run.abort();
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
    a_zombie_with_accepted_offsets: the_next_owner_waits_for_a_zombie;
}
