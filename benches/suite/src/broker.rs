//! Brokers: librdkafka's mock cluster in a separate process, or an Apache Kafka.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use kafka_tower::rdkafka::MockCluster;
use kafka_tower_testkit::kafka::Cluster;

use crate::run::Plan;
use crate::{read, usage};

/// Argument that makes a program the mock cluster's process: see [`serve_mock`].
pub const SERVE_MOCK: &str = "--serve-mock";

const TOPIC: &str = "checkout.readings.v1";

/// A broker with a topic.
#[derive(Debug)]
pub struct Broker {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// Processes whose CPU time counts as the broker's.
    pub pids: Vec<u32>,
    /// Stops the broker when it is dropped.
    life: Life,
}

#[derive(Debug)]
enum Life {
    Mock { _process: Mock },
    Kafka { cluster: Box<Cluster> },
}

#[derive(Debug)]
struct Mock {
    process: Child,
    /// Closing it ends the process.
    input: Option<ChildStdin>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.process.wait();
    }
}

impl Broker {
    /// Starts the mock cluster with one broker, as another process of this program. The topic has 4 partitions.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn mock() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.arg(SERVE_MOCK).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a process");
        let output = process.stdout.take().expect("its output");
        let mut bootstrap = String::new();
        BufReader::new(output).read_line(&mut bootstrap).expect("its address");
        let (pids, input) = (vec![process.id()], process.stdin.take());
        Self {
            bootstrap: bootstrap.trim().to_owned(),
            topic: TOPIC.to_owned(),
            pids,
            life: Life::Mock { _process: Mock { process, input } },
        }
    }

    /// Uses the Kafka of `KAFKA_BROKERS`, or starts one node. None if no Kafka is available. The topic has this number
    /// of partitions.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn kafka(partitions: i32) -> Option<Self> {
        let cluster = match std::env::var("KAFKA_BROKERS") {
            Ok(brokers) => Cluster::external(brokers),
            // What was sent to measure it need not be kept: a run writes gigabytes.
            Err(_) => Cluster::builder()
                .property("log.retention.check.interval.ms", "1000")
                .property("file.delete.delay.ms", "1000")
                .start()
                .await
                .expect("a Kafka that starts")?,
        };
        let config = [("retention.bytes", "67108864"), ("segment.bytes", "33554432")];
        let topic = cluster.topic_with(TOPIC, partitions, &config).await.expect("a topic");
        let pids = usage::descendants();
        let bootstrap = cluster.bootstrap().to_owned();
        Some(Self { bootstrap, topic, pids, life: Life::Kafka { cluster: Box::new(cluster) } })
    }

    /// Creates a topic that is to be read, with [`read::PARTITIONS`], and fills it with these records. The mock cluster's has 4
    /// partitions, each of which keeps 5 MiB.
    ///
    /// # Panics
    ///
    /// If the broker does not take them.
    pub async fn fill(&self, plan: &mut Plan, uneven: bool) {
        plan.topic = format!("{TOPIC}-{}", plan.size);
        let partitions = match &self.life {
            Life::Mock { .. } => 4,
            Life::Kafka { cluster } => {
                plan.topic = cluster.topic(&plan.topic, read::PARTITIONS).await.expect("a topic");
                read::PARTITIONS
            }
        };
        read::fill(plan, if uneven { 1 } else { partitions }).await;
    }
}

/// Runs the mock cluster's process: prints its address, and ends when its standard input ends.
///
/// # Panics
///
/// If the mock cluster does not start.
pub fn serve_mock() {
    let cluster = MockCluster::start(1).expect("a mock cluster");
    cluster.create_topic(TOPIC, 4).expect("a topic");
    let mut output = std::io::stdout();
    writeln!(output, "{}", cluster.bootstrap()).expect("an output");
    output.flush().expect("an output");
    let _end = std::io::stdin().read_to_end(&mut Vec::new());
}
