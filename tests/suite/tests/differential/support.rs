//! Sets up both Kafkas and compares them.

use std::time::Duration;

use kafka_tower_core::{Delivery, ErrorKind, Persistence, Recovery, Result};
use kafka_tower_memory::{MemoryKafka, TransactionCall};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_testkit::kafka::{Cluster, Isolation, Listener, proxy::Action, proxy::ApiKey};

pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// A fault: a request or its answer is lost together with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Request,
    Answer,
}

impl Fault {
    pub(crate) fn draw(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Request,
            1 => Self::Answer,
            _ => Self::None,
        }
    }

    /// Applies the fault to the next request of the kind.
    pub(crate) fn meet(self, kafka: &Cluster, key: ApiKey) {
        match self {
            Self::None => {}
            Self::Request => kafka.proxy().unwrap().next(key, Action::CutBefore),
            Self::Answer => kafka.proxy().unwrap().next(key, Action::DropAnswer),
        }
    }

    /// Applies the fault to the next record.
    pub(crate) fn script(self, memory: &MemoryKafka) {
        match self {
            Self::None => {}
            Self::Request => drop(memory.script().lose_request()),
            Self::Answer => drop(memory.script().lose_answer()),
        }
    }

    /// Applies the fault to the next end of a transaction.
    pub(crate) fn script_end(self, memory: &MemoryKafka, call: TransactionCall) {
        match self {
            Self::None => {}
            Self::Request => drop(memory.script_transactions().on(call).lose_request()),
            Self::Answer => drop(memory.script_transactions().on(call).lose_answer()),
        }
    }
}

/// Random numbers (xorshift64*): the number of a scenario determines it.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(scenario: u64) -> Self {
        Self(scenario.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// The result of a send, without texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Offset(i64),
    Failed(ErrorKind, Persistence),
}

impl Told {
    pub(crate) fn of(outcome: &Result<Delivery>) -> Self {
        match outcome {
            Ok(delivery) => Self::Offset(delivery.offset.expect("the broker names it")),
            Err(error) => Self::Failed(error.kind(), error.persistence()),
        }
    }

    /// Whether a refused record was in flight when its connection broke, and therefore whether its refusal is the first
    /// one, depends on timing.
    pub(crate) fn without_fate(self) -> Self {
        match self {
            Self::Failed(kind, _) => Self::Failed(kind, Persistence::PossiblyPersisted),
            told => told,
        }
    }
}

/// The facts of an error of a control call.
pub(crate) type Facts = (ErrorKind, Recovery, Persistence);

pub(crate) fn facts<T>(outcome: Result<T>) -> Option<Facts> {
    outcome.err().map(|error| (error.kind(), error.recovery(), error.persistence()))
}

/// Starts a Kafka behind the fault proxy. `None` if no Kafka is available.
pub(crate) async fn real() -> Option<Cluster> {
    let kafka = Cluster::builder().listener(Listener::Proxy).start().await.unwrap()?;
    // Until groups have a coordinator: librdkafka gives up the offsets of a transaction after a few attempts.
    kafka.committed_offset("warm-up", "none", 0).await.unwrap();
    Some(kafka)
}

pub(crate) fn client(kafka: &Cluster) -> kafka_tower_rdkafka::RdkafkaBuilder {
    RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap_of(Listener::Proxy).unwrap())
        .property("reconnect.backoff.ms", "1")
        .property("reconnect.backoff.max.ms", "10")
        .property("retry.backoff.ms", "1")
}

/// Partition, offset and value of the records that are visible to readers.
pub(crate) type Log = Vec<(i32, i64, String)>;

pub(crate) async fn read(kafka: &Cluster, topic: &str, isolation: Isolation) -> Log {
    let records = kafka.read_as(topic, isolation).await.unwrap();
    records.iter().map(|r| (r.partition, r.offset, r.text())).collect()
}

pub(crate) fn look(memory: &MemoryKafka, topic: &str, isolation: Isolation) -> Log {
    let stored = if isolation == Isolation::Committed { memory.committed(topic) } else { memory.records(topic) };
    let text = |stored: &kafka_tower_memory::StoredRecord| String::from_utf8(stored.value().unwrap().to_vec()).unwrap();
    stored.iter().map(|r| (r.partition, r.offset, text(r))).collect()
}

/// Asserts that readers of both see the same records.
pub(crate) async fn assert_alike(kafka: &Cluster, memory: &MemoryKafka, topic: &str) {
    for isolation in [Isolation::Committed, Isolation::Uncommitted] {
        let real = read(kafka, topic, isolation).await;
        assert_eq!(look(memory, topic, isolation), real, "{isolation:?}: in memory, and on a real Kafka");
    }
}
