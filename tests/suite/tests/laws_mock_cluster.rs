//! The laws on librdkafka and on the native transport, against librdkafka's mock cluster.
#![allow(clippy::unwrap_used)] // a test may fail

use kafka_tower_core::gate::Limits;
use kafka_tower_native::NativeTransport;
use kafka_tower_rdkafka::{MockCluster, RdkafkaTransport};
use kafka_tower_test_suite::rdkafka;
use kafka_tower_testkit::kafka::Cluster;
use kafka_tower_testkit::{Broker, Fixture, Law, LogRecord, NotApplicable, Opened, OpenedPair, law_tests};

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

impl MockBroker {
    /// One cluster for each test, because a test may stop its broker.
    fn start(partitions: u32) -> (String, Self) {
        let mock = MockCluster::start(1).unwrap();
        mock.create_topic("laws", partitions).unwrap();
        let (bootstrap, reader) = (mock.bootstrap().to_owned(), Cluster::external(mock.bootstrap()));
        (bootstrap, Self { mock, reader })
    }
}

/// The laws on a transport, which a function opens.
macro_rules! laws {
    ($module:ident: $transport:ty = $open:path) => {
        mod $module {
            use super::*;

            struct Mock;

            impl Fixture for Mock {
                type Transport = $transport;
                type Broker = MockBroker;

                async fn open(&self, limits: Limits, partitions: u32) -> Opened<$transport, MockBroker> {
                    let (bootstrap, broker) = MockBroker::start(partitions);
                    $open(&bootstrap, "laws", limits, broker).await
                }

                async fn open_transactional(&self) -> Result<OpenedPair<$transport, MockBroker>, NotApplicable> {
                    Err(NotApplicable::new("the mock cluster shows aborted records to every reader"))
                }

                fn not_applicable(&self) -> Vec<Law> {
                    Law::OF_TRANSACTIONS.to_vec()
                }
            }

            law_tests!(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                Mock
            );
        }
    };
}

laws!(librdkafka: RdkafkaTransport = rdkafka::open);
laws!(native: NativeTransport = kafka_tower_test_suite::native::open);
