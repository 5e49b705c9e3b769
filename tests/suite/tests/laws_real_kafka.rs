//! The laws on librdkafka against an Apache Kafka that the test starts.
#![allow(clippy::unwrap_used)] // a test may fail

use kafka_tower_core::gate::Limits;
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_cluster::{self as cluster, Cluster, Error, Isolation};
use kafka_tower_test_suite::subject::{Boxed, Kafka};
use kafka_tower_test_suite::{Open, Subject, Written, rdkafka, run_laws};
use tokio::sync::{Mutex, MutexGuard};

/// One test at a time, because a test may stop the broker.
static TURN: Mutex<()> = Mutex::const_new(());

struct Real(&'static Cluster, #[allow(dead_code)] MutexGuard<'static, ()>);

async fn real() -> Option<Real> {
    let turn = TURN.lock().await;
    Some(Real(cluster::shared().await?, turn))
}

impl Subject for Real {
    type Transport = RdkafkaTransport;

    fn open(&self, limits: Limits, partitions: u32) -> Boxed<'_, Open<RdkafkaTransport>> {
        Box::pin(async move {
            let topic = self.0.topic("laws", i32::try_from(partitions).unwrap()).await.unwrap();
            let broker = Broker { cluster: self.0, topic: topic.clone() };
            rdkafka::open(self.0.bootstrap(), &topic, limits, Box::new(broker)).await
        })
    }

    fn open_transactional(&self) -> Boxed<'_, Option<[Open<RdkafkaTransport>; 2]>> {
        Box::pin(async move {
            let topic = self.0.topic("laws", 1).await.unwrap();
            let broker = || Box::new(Broker { cluster: self.0, topic: topic.clone() });
            let transactional = rdkafka::open_transactional(self.0.bootstrap(), &topic, broker()).await;
            let limits = Limits { records: 10, bytes: 1_000 };
            Some([transactional, rdkafka::open(self.0.bootstrap(), &topic, limits, broker()).await])
        })
    }
}

struct Broker {
    cluster: &'static Cluster,
    topic: String,
}

impl Kafka for Broker {
    fn read(&self) -> Boxed<'_, Vec<Written>> {
        Box::pin(rdkafka::read(self.cluster, &self.topic))
    }

    fn committed(&self) -> Boxed<'_, Vec<Written>> {
        Box::pin(rdkafka::read_as(self.cluster, &self.topic, Isolation::Committed))
    }

    fn silence(&self) -> Boxed<'_, bool> {
        Box::pin(async {
            match self.cluster.stop(1) {
                Ok(()) => true,
                Err(Error::External(_)) => false,
                Err(error) => panic!("{error}"),
            }
        })
    }

    fn answer(&self) -> Boxed<'_, ()> {
        Box::pin(async { self.cluster.cont(1).unwrap() })
    }
}

run_laws!([tokio::test(flavor = "multi_thread", worker_threads = 2)] real());
