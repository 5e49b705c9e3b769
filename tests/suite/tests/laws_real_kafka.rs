//! The laws on librdkafka and on the native transport, against an Apache Kafka that the test starts.
#![allow(clippy::unwrap_used)] // a test may fail

use kafka_tower_core::gate::Limits;
use kafka_tower_native::NativeTransport;
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_suite::rdkafka;
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Error, Isolation};
use kafka_tower_testkit::{Broker, Fixture, Law, LogRecord, NotApplicable, Opened, OpenedPair, law_tests};
use tokio::sync::{Mutex, MutexGuard};

/// One test at a time, because a test may stop the broker.
static TURN: Mutex<()> = Mutex::const_new(());

struct Real(&'static Cluster, #[allow(dead_code)] MutexGuard<'static, ()>);

/// `None`: there is no Kafka, and a line has been printed.
async fn real() -> Option<Real> {
    let turn = TURN.lock().await;
    Some(Real(cluster::shared().await?, turn))
}

impl Real {
    async fn topic(&self, partitions: u32) -> String {
        self.0.topic("laws", i32::try_from(partitions).unwrap()).await.unwrap()
    }

    /// The laws that cannot run with the external cluster of `KAFKA_BROKERS`.
    fn not_of_a_paused_broker(&self) -> Vec<Law> {
        let external = self.0.pid(1).is_err();
        if external { Law::OF_A_PAUSED_BROKER.to_vec() } else { Vec::new() }
    }

    fn broker(&self, topic: &str) -> RealBroker {
        RealBroker { cluster: self.0, topic: topic.to_owned(), paused: false }
    }
}

struct RealBroker {
    cluster: &'static Cluster,
    topic: String,
    paused: bool,
}

impl Broker for RealBroker {
    async fn read(&self) -> Vec<LogRecord> {
        rdkafka::read(self.cluster, &self.topic).await
    }

    async fn read_committed(&self) -> Vec<LogRecord> {
        rdkafka::read_as(self.cluster, &self.topic, Isolation::Committed).await
    }

    async fn pause(&mut self) -> Result<(), NotApplicable> {
        match self.cluster.stop(1) {
            Ok(()) => self.paused = true,
            Err(error @ Error::External(_)) => return Err(NotApplicable::new(error.to_string())),
            Err(error) => panic!("{error}"),
        }
        Ok(())
    }

    async fn resume(&mut self) {
        self.cluster.cont(1).unwrap();
        self.paused = false;
    }
}

/// After a broken law: the next one uses the same broker.
impl Drop for RealBroker {
    fn drop(&mut self) {
        if self.paused {
            self.cluster.cont(1).unwrap();
        }
    }
}

mod librdkafka {
    use super::*;

    impl Fixture for Real {
        type Transport = RdkafkaTransport;
        type Broker = RealBroker;

        async fn open(&self, limits: Limits, partitions: u32) -> Opened<RdkafkaTransport, RealBroker> {
            let topic = self.topic(partitions).await;
            rdkafka::open(self.0.bootstrap(), &topic, limits, self.broker(&topic)).await
        }

        async fn open_transactional(&self) -> Result<OpenedPair<RdkafkaTransport, RealBroker>, NotApplicable> {
            let topic = self.topic(1).await;
            let transactional = rdkafka::open_transactional(self.0.bootstrap(), &topic, self.broker(&topic)).await;
            let limits = Limits { records: 10, bytes: 1_000 };
            let plain = rdkafka::open(self.0.bootstrap(), &topic, limits, self.broker(&topic)).await;
            Ok(OpenedPair { transactional, plain })
        }

        fn not_applicable(&self) -> Vec<Law> {
            self.not_of_a_paused_broker()
        }
    }

    law_tests!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        match real().await {
            Some(real) => real,
            None => return,
        }
    );
}

mod native {
    use super::*;

    struct Native(Real);

    impl Fixture for Native {
        type Transport = NativeTransport;
        type Broker = RealBroker;

        async fn open(&self, limits: Limits, partitions: u32) -> Opened<NativeTransport, RealBroker> {
            let topic = self.0.topic(partitions).await;
            let bootstrap = self.0.0.bootstrap();
            kafka_tower_test_suite::native::open(bootstrap, &topic, limits, self.0.broker(&topic)).await
        }

        fn not_applicable(&self) -> Vec<Law> {
            self.0.not_of_a_paused_broker().into_iter().chain(Law::OF_TRANSACTIONS.to_vec()).collect()
        }
    }

    law_tests!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        match real().await {
            Some(real) => Native(real),
            None => return,
        }
    );
}
