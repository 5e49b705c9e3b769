//! The laws on librdkafka against its own mock cluster.
#![allow(clippy::unwrap_used)] // a test may fail

use kafka_tower_core::gate::Limits;
use kafka_tower_rdkafka::{MockCluster, RdkafkaTransport};
use kafka_tower_test_suite::rdkafka;
use kafka_tower_testkit::kafka::Cluster;
use kafka_tower_testkit::{Broker, Fixture, Law, LogRecord, NotApplicable, Opened, OpenedPair, law_tests};

struct Mock;

impl Fixture for Mock {
    type Transport = RdkafkaTransport;
    type Broker = MockBroker;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<RdkafkaTransport, MockBroker> {
        // One cluster for each test, because a test may stop its broker.
        let mock = MockCluster::start(1).unwrap();
        mock.create_topic("laws", partitions).unwrap();
        let (bootstrap, reader) = (mock.bootstrap().to_owned(), Cluster::external(mock.bootstrap()));
        rdkafka::open(&bootstrap, "laws", limits, MockBroker { mock, reader }).await
    }

    async fn open_transactional(&self) -> Result<OpenedPair<RdkafkaTransport, MockBroker>, NotApplicable> {
        Err(NotApplicable::new("the mock cluster shows aborted records to every reader"))
    }

    fn not_applicable(&self) -> Vec<Law> {
        Law::OF_TRANSACTIONS.to_vec()
    }
}

struct MockBroker {
    mock: MockCluster,
    reader: Cluster,
}

impl Broker for MockBroker {
    async fn read(&self) -> Vec<LogRecord> {
        // The mock cluster writes its own timestamps.
        let mut read = rdkafka::read(&self.reader, "laws").await;
        read.iter_mut().for_each(|record| record.timestamp = None);
        read
    }

    async fn pause(&mut self) -> Result<(), NotApplicable> {
        self.mock.broker_down(1).unwrap();
        Ok(())
    }

    async fn resume(&mut self) {
        self.mock.broker_up(1).unwrap();
    }
}

law_tests!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    Mock
);
