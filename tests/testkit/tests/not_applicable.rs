//! No law passes without having run, unless the fixture lists it.

use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use kafka_tower_testkit::{Broker, Fixture, Law, LogRecord, NotApplicable, Opened, Verdict};

/// A Kafka that cannot be paused, without transactions. It lists these laws.
struct External(Vec<Law>);

impl Fixture for External {
    type Transport = MemoryTransport;
    type Broker = Topic;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<MemoryTransport, Topic> {
        let kafka = MemoryKafka::new().with_topic("laws", partitions);
        let transport = kafka.transport_with(limits);
        Opened { control: transport.control(), transport, topic: "laws".into(), broker: Topic(kafka) }
    }

    fn not_applicable(&self) -> Vec<Law> {
        self.0.clone()
    }
}

struct Topic(MemoryKafka);

impl Broker for Topic {
    async fn read(&self) -> Vec<LogRecord> {
        let records = self.0.records("laws");
        records.iter().map(|stored| LogRecord::new(stored.partition, stored.offset, &stored.record)).collect()
    }

    async fn pause(&mut self) -> Result<(), NotApplicable> {
        Err(NotApplicable::new("the cluster is not ours"))
    }

    async fn resume(&mut self) {}
}

fn cannot_run() -> impl Iterator<Item = Law> {
    Law::OF_A_PAUSED_BROKER.iter().chain(Law::OF_TRANSACTIONS).copied()
}

#[tokio::test(start_paused = true)]
async fn a_law_that_cannot_run_fails_unless_it_is_listed() {
    for law in cannot_run() {
        let Verdict::Broken(text) = law.judge(&External(Vec::new())).await else { panic!("{law} is not listed") };
        assert!(text.contains("cannot run") && text.contains(law.name()), "{text}");
        let Verdict::NotApplicable(why) = law.judge(&External(vec![law])).await else { panic!("{law} is listed") };
        assert!(!why.reason().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_listed_law_that_runs_fails() {
    for law in Law::ALL.iter().copied().filter(|law| cannot_run().all(|other| other != *law)) {
        assert_eq!(law.judge(&External(Vec::new())).await, Verdict::Kept, "{law}");
        let Verdict::Broken(text) = law.judge(&External(vec![law])).await else { panic!("{law} runs") };
        assert!(text.contains("remove it"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "cannot run: the cluster is not ours")]
async fn its_test_fails() {
    Law::FlushWaitsForEarlierRecords.assert(&External(Vec::new())).await;
}
