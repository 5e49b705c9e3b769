//! The laws of a transport, against an Apache Kafka that the test starts.
#![allow(clippy::unwrap_used)] // a test may fail

use std::sync::Arc;

use kafka_tower_core::gate::Limits;
use kafka_tower_native::NativeTransport;
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Error};
use kafka_tower_testkit::{Broker, Fixture, Law, LogRecord, NotApplicable, Opened, law_tests};
use tokio::sync::{Mutex, MutexGuard};

/// One test at a time, because a test may stop the broker.
static TURN: Mutex<()> = Mutex::const_new(());

struct Real(&'static Cluster, #[allow(dead_code)] MutexGuard<'static, ()>);

/// `None`: there is no Kafka, and a line has been printed.
async fn real() -> Option<Real> {
    let turn = TURN.lock().await;
    Some(Real(cluster::shared().await?, turn))
}

impl Fixture for Real {
    type Transport = NativeTransport;
    type Broker = RealBroker;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<NativeTransport, RealBroker> {
        let topic = self.0.topic("laws", i32::try_from(partitions).unwrap()).await.unwrap();
        let builder = NativeTransport::builder().bootstrap(self.0.bootstrap()).topic(&topic).limits(limits);
        let transport = builder.connect().await.unwrap_or_else(|error| panic!("{error:#}"));
        let control = transport.control();
        let broker = RealBroker { cluster: self.0, topic: topic.clone(), paused: false };
        Opened { transport, control, topic: Arc::from(topic), broker }
    }

    fn not_applicable(&self) -> Vec<Law> {
        let external = self.0.pid(1).is_err();
        let paused = if external { Law::OF_A_PAUSED_BROKER.to_vec() } else { Vec::new() };
        paused.into_iter().chain(Law::OF_TRANSACTIONS.to_vec()).collect()
    }
}

struct RealBroker {
    cluster: &'static Cluster,
    topic: String,
    paused: bool,
}

impl Broker for RealBroker {
    async fn read(&self) -> Vec<LogRecord> {
        let records = self.cluster.read(&self.topic).await.unwrap_or_else(|error| panic!("{error}"));
        records.into_iter().map(LogRecord::from).collect()
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

law_tests!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    match real().await {
        Some(real) => real,
        None => return,
    }
);
