//! The laws on librdkafka against its own mock cluster.
#![allow(clippy::unwrap_used)] // a test may fail

use kafka_tower_core::gate::Limits;
use kafka_tower_rdkafka::{MockCluster, RdkafkaTransport};
use kafka_tower_test_cluster::Cluster;
use kafka_tower_test_suite::subject::{Boxed, Kafka};
use kafka_tower_test_suite::{Open, Subject, Written, rdkafka, run_laws};

struct Mock;

impl Subject for Mock {
    type Transport = RdkafkaTransport;

    fn open(&self, limits: Limits, partitions: u32) -> Boxed<'_, Open<RdkafkaTransport>> {
        Box::pin(async move {
            // One cluster for each test, because a test may stop its broker.
            let mock = MockCluster::start(1).unwrap();
            mock.create_topic("laws", partitions).unwrap();
            let (bootstrap, reader) = (mock.bootstrap().to_owned(), Cluster::external(mock.bootstrap()));
            rdkafka::open(&bootstrap, "laws", limits, Box::new(Broker { mock, reader })).await
        })
    }
}

struct Broker {
    mock: MockCluster,
    reader: Cluster,
}

impl Kafka for Broker {
    fn read(&self) -> Boxed<'_, Vec<Written>> {
        // The mock cluster writes its own timestamps.
        Box::pin(async {
            let mut read = rdkafka::read(&self.reader, "laws").await;
            read.iter_mut().for_each(|record| record.timestamp = None);
            read
        })
    }

    fn silence(&self) -> Boxed<'_, bool> {
        Box::pin(async { self.mock.broker_down(1).map(|()| true).unwrap() })
    }

    fn answer(&self) -> Boxed<'_, ()> {
        Box::pin(async { self.mock.broker_up(1).unwrap() })
    }
}

run_laws!([tokio::test(flavor = "multi_thread", worker_threads = 2)] async { Some(Mock) });
