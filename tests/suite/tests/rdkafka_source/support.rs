//! What the tests share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use kafka_tower_core::{Consumer, ConsumerEvents, ConsumerTransport, ControlFuture, GroupEvent, Record, Subscription};
use kafka_tower_rdkafka::{RdkafkaConsumerTransport, RdkafkaTransport};
use kafka_tower_testkit::consumer::{ConsumerBroker, ConsumerFixture, ConsumerLaw};
use kafka_tower_testkit::kafka::{Cluster, Isolation};
use kafka_tower_testkit::{NotApplicable, Verdict};
use tokio::sync::OnceCell;
use tower::{Service as _, ServiceExt as _};

/// A number that a campaign sets.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Kinds of membership in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Classic, with an assignor that moves all partitions.
    Eager,
    Cooperative,
    /// Classic, with `group.instance.id`.
    Static,
    /// KIP-848.
    Consumer,
}

impl Kind {
    pub(crate) fn properties(self) -> Vec<(&'static str, &'static str)> {
        let classic = |assignor| {
            vec![
                ("partition.assignment.strategy", assignor),
                ("session.timeout.ms", "6000"),
                ("heartbeat.interval.ms", "200"),
            ]
        };
        match self {
            Self::Eager => classic("range"),
            Self::Cooperative | Self::Static => classic("cooperative-sticky"),
            Self::Consumer => vec![("group.protocol", "consumer")],
        }
    }
}

/// Opens members of groups that no other topic uses.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) bootstrap: String,
    pub(crate) topic: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) next: AtomicU32,
}

impl Members {
    pub(crate) fn new(bootstrap: &str, topic: &str, kind: Kind) -> Arc<Self> {
        Arc::new(Self { bootstrap: bootstrap.to_owned(), topic: topic.into(), kind, next: AtomicU32::new(0) })
    }

    pub(crate) fn group(&self, group: &str) -> String {
        format!("{group}-{}", self.topic)
    }
}

/// A transport of [`Members`].
#[derive(Debug)]
pub(crate) struct Each(pub(crate) Arc<Members>);

impl ConsumerTransport for Each {
    fn open(&self, mut subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        let mut properties = self.0.kind.properties();
        let id = format!("member-{}", self.0.next.fetch_add(1, Ordering::Relaxed));
        properties.push(("bootstrap.servers", &self.0.bootstrap));
        if self.0.kind == Kind::Static {
            properties.push(("group.instance.id", &id));
        }
        let transport = RdkafkaConsumerTransport::new(properties);
        subscription.group_id = self.0.group(&subscription.group_id).into();
        Box::pin(async move { transport.open(subscription).await })
    }
}

/// Writes with this project's own transport, and reads with the test cluster's client.
pub(crate) struct Kafka<K> {
    pub(crate) members: Arc<Members>,
    pub(crate) reader: Cluster,
    /// What has to live as long.
    pub(crate) _kept: K,
    pub(crate) producer: OnceCell<RdkafkaTransport>,
    pub(crate) transactions: bool,
}

impl<K> Kafka<K> {
    pub(crate) fn new(members: &Arc<Members>, kept: K, transactions: bool) -> Self {
        let reader = Cluster::external(members.bootstrap.as_str());
        let members = Arc::clone(members);
        Self { members, reader, _kept: kept, producer: OnceCell::new(), transactions }
    }
}

pub(crate) async fn append(producer: &RdkafkaTransport, records: Vec<Record>) {
    let mut producer = producer.clone();
    let mut all = Vec::new();
    for record in records {
        all.push(producer.ready().await.unwrap().call(record));
    }
    for delivery in all {
        delivery.await.unwrap();
    }
}

/// Appends records in a transaction, and aborts it.
pub(crate) async fn append_aborted(bootstrap: &str, topic: &str, records: Vec<Record>) {
    let opened = kafka_tower_test_suite::rdkafka::open_transactional(bootstrap, topic, ()).await;
    let (within, transactions) = (Duration::from_secs(20), opened.control.transactions().unwrap());
    transactions.begin(within).await.unwrap();
    append(&opened.transport, records).await;
    transactions.abort(within).await.unwrap();
}

impl<K: Send + Sync + 'static> ConsumerBroker for Kafka<K> {
    async fn append(&self, records: Vec<Record>) {
        let open = || async {
            let builder = RdkafkaTransport::builder().property("bootstrap.servers", &self.members.bootstrap);
            builder.connect().await.unwrap()
        };
        append(self.producer.get_or_init(open).await, records).await;
    }

    async fn append_aborted(&self, records: Vec<Record>) -> Result<(), NotApplicable> {
        if !self.transactions {
            return Err(NotApplicable::new("the mock cluster shows aborted records to every reader"));
        }
        append_aborted(&self.members.bootstrap, &self.members.topic, records).await;
        Ok(())
    }

    /// The mock cluster knows no transactions and no timestamps.
    fn finds_timestamps(&self) -> bool {
        self.transactions
    }

    async fn end(&self, partition: i32) -> i64 {
        let ends = self.reader.ends(&self.members.topic, Isolation::Uncommitted).await.unwrap();
        ends[usize::try_from(partition).unwrap()]
    }

    async fn committed(&self, group: &str, partition: i32) -> Option<i64> {
        let group = self.members.group(group);
        self.reader.committed_offset(&group, &self.members.topic, partition).await.unwrap()
    }

    async fn delete_before(&self, partition: i32, offset: i64) -> Result<(), NotApplicable> {
        if !self.transactions {
            return Err(NotApplicable::new("the mock cluster deletes no records"));
        }
        self.reader.delete_records(&self.members.topic, partition, offset).await.unwrap();
        Ok(())
    }

    /// Another member joins, and leaves after a while.
    async fn rebalance(&self, group: &str) -> Result<(), NotApplicable> {
        let subscription = Subscription::new(group, vec![Arc::clone(&self.members.topic)]);
        let consumer = Each(Arc::clone(&self.members)).open(subscription).await.unwrap();
        let guest = Arc::new(Guest::default());
        guest.0.set(Arc::downgrade(&consumer)).unwrap();
        consumer.run(guest);
        // With KIP-848 members hear of a rebalance by a heartbeat, whose interval the broker sets: 5 s.
        let kind = self.members.kind;
        tokio::spawn(async move {
            tokio::time::sleep(if kind == Kind::Consumer { Duration::from_secs(15) } else { Duration::from_secs(4) })
                .await;
            drop(consumer);
        });
        Ok(())
    }
}

/// A member that gives back whatever it gets.
#[derive(Default)]
struct Guest(OnceLock<Weak<dyn Consumer>>);

impl ConsumerEvents for Guest {
    fn turn(&self, _: Instant, event: Option<GroupEvent>) -> Option<Instant> {
        if let (Some(GroupEvent::Revoked(partitions)), Some(consumer)) = (event, self.0.get().and_then(Weak::upgrade)) {
            consumer.release(&partitions);
        }
        None
    }
}

/// Runs all laws side by side: each one waits for rebalances most of the time.
pub(crate) async fn assert_laws<F: ConsumerFixture + Send + Sync + 'static>(fixture: F) {
    let fixture = Arc::new(fixture);
    let runs: Vec<_> = ConsumerLaw::ALL
        .iter()
        .map(|law| {
            let fixture = Arc::clone(&fixture);
            (law, tokio::spawn(async move { law.judge(&*fixture).await }))
        })
        .collect();
    let mut broken = Vec::new();
    for (law, run) in runs {
        match run.await.unwrap() {
            Verdict::Broken(text) => broken.push(format!("{law}: {text}")),
            Verdict::Kept | Verdict::NotApplicable(_) => {}
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
