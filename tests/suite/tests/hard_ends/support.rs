//! A producer with transactions, and what readers see of it.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{
    Control, Delivery, Error, ErrorKind, Persistence, Record, Recovery, Result, TransactionControl,
};
use kafka_tower_rdkafka::{DeliveryFuture, RdkafkaTransport};
use kafka_tower_testkit::kafka::{Cluster, Isolation, Listener, ReadRecord};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

pub(crate) const TIME: Duration = Duration::from_secs(30);

/// The rules of the proxy are for one test at a time.
pub(crate) static ALONE: Mutex<()> = Mutex::const_new(());

/// The cluster of tests that need no broker of their own. It looks for timed-out transactions often, has a user `bob`
/// without rights, and a proxy.
pub(crate) async fn shared() -> Option<&'static Cluster> {
    static KAFKA: OnceCell<Option<Cluster>> = OnceCell::const_new();
    let builder = Cluster::builder()
        .listener(Listener::Proxy)
        .listener(Listener::SaslPlaintext)
        .acl()
        .property("transaction.abort.timed.out.transaction.cleanup.interval.ms", "100");
    KAFKA.get_or_init(|| async { builder.start().await.unwrap() }).await.as_ref()
}

pub(crate) struct Producer {
    pub(crate) transport: RdkafkaTransport,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) topic: String,
}

impl Producer {
    /// Connects, and acquires the id.
    pub(crate) async fn new(bootstrap: &str, id: &str, topic: &str, properties: &[(&str, &str)]) -> Self {
        let producer = Self::connected(bootstrap, id, topic, properties).await;
        producer.init().await;
        producer
    }

    /// Connects without the id.
    pub(crate) async fn connected(bootstrap: &str, id: &str, topic: &str, properties: &[(&str, &str)]) -> Self {
        let mut builder = RdkafkaTransport::builder()
            .property("bootstrap.servers", bootstrap)
            .property("transactional.id", id)
            .property("reconnect.backoff.ms", "10")
            .property("reconnect.backoff.max.ms", "100")
            .topic(topic);
        for (name, value) in properties {
            builder = builder.property(*name, *value);
        }
        let transport = builder.connect().await.unwrap_or_else(|error| panic!("{error:#}"));
        let control = transport.control();
        Self { transport, control, topic: topic.to_owned() }
    }

    pub(crate) fn transactions(&self) -> Arc<dyn TransactionControl> {
        self.control.transactions().unwrap()
    }

    pub(crate) async fn init(&self) {
        self.transactions().init(TIME).await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    pub(crate) async fn begin(&self) {
        self.transactions().begin(TIME).await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    pub(crate) async fn commit(&self) -> Result<()> {
        checked(self.transactions().commit(TIME).await)
    }

    pub(crate) async fn abort(&self) -> Result<()> {
        checked(self.transactions().abort(TIME).await)
    }

    pub(crate) async fn call(&mut self, record: Record) -> DeliveryFuture {
        self.transport.ready().await.unwrap().call(record)
    }

    pub(crate) async fn send(&mut self, value: &str) -> Result<Delivery> {
        let record = Record::new(self.topic.as_str()).with_value(value.to_owned()).with_partition(0);
        checked(self.call(record).await.await)
    }

    /// A whole transaction of one record, which must succeed.
    pub(crate) async fn transaction(&mut self, value: &str) {
        self.begin().await;
        self.send(value).await.unwrap_or_else(|error| panic!("{error:#}"));
        self.commit().await.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// Checks that the texts of an error agree with its facts.
pub(crate) fn checked<T>(result: Result<T>) -> Result<T> {
    if let Err(error) = &result {
        kafka_tower_test_texts::assert_consistent(error);
    }
    result
}

pub(crate) type Facts = (ErrorKind, Recovery, Persistence);

pub(crate) fn facts(error: &Error) -> Facts {
    (error.kind(), error.recovery(), error.persistence())
}

/// Values of the committed records, in the order of their partitions and offsets.
pub(crate) async fn committed(kafka: &Cluster, topic: &str) -> Vec<String> {
    kafka.read_committed(topic).await.unwrap().iter().map(ReadRecord::text).collect()
}

/// Waits until the broker has ended the transaction that has records in the topic.
pub(crate) async fn ended_by_the_broker(kafka: &Cluster, topic: &str) {
    let end = Instant::now() + TIME;
    // An open transaction holds back readers of committed records at its first record.
    while kafka.ends(topic, Isolation::Committed).await.unwrap()
        < kafka.ends(topic, Isolation::Uncommitted).await.unwrap()
    {
        assert!(Instant::now() < end, "the transaction stays open");
    }
}
