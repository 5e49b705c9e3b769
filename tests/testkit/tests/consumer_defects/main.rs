//! Each law of a consumer finds a defect: consumers of the in-memory Kafka with one planted defect each.
#![allow(clippy::unwrap_used)] // a test may fail

mod broken;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Record, TransactionControl};
use kafka_tower_memory::MemoryKafka;
use kafka_tower_testkit::consumer::{ConsumerBroker, ConsumerFixture, ConsumerLaw, OpenedConsumers};
use kafka_tower_testkit::{NotApplicable, Verdict, consumer_law_tests};
use tower_service::Service as _;

use crate::broken::{Broken, Defect};

/// The in-memory Kafka, with a defect in front of it.
struct Planted(Option<Defect>);

impl ConsumerFixture for Planted {
    type Broker = MemoryBroker;

    async fn open(&self, partitions: u32) -> OpenedConsumers<MemoryBroker> {
        let kafka = MemoryKafka::new().with_topic("laws", partitions);
        let broker = MemoryBroker(kafka.clone());
        OpenedConsumers { transport: Arc::new(Broken { kafka, defect: self.0 }), topic: "laws".into(), broker }
    }
}

struct MemoryBroker(MemoryKafka);

impl ConsumerBroker for MemoryBroker {
    async fn append(&self, records: Vec<Record>) {
        let mut transport = self.0.transport();
        for record in records {
            transport.call(record).await.unwrap();
        }
    }

    async fn append_aborted(&self, records: Vec<Record>) -> Result<(), NotApplicable> {
        let mut transport = self.0.transactional_transport("aborted");
        let transactions: Arc<dyn TransactionControl> = transport.control().transactions().unwrap();
        let second = Duration::from_secs(1);
        transactions.init(second).await.unwrap();
        transactions.begin(second).await.unwrap();
        for record in records {
            transport.call(record).await.unwrap();
        }
        transactions.abort(second).await.unwrap();
        Ok(())
    }

    async fn end(&self, partition: i32) -> i64 {
        self.0.high_watermark("laws", partition).unwrap()
    }

    async fn committed(&self, group: &str, partition: i32) -> Option<i64> {
        self.0.committed_offset(group, "laws", partition)
    }

    async fn delete_before(&self, partition: i32, offset: i64) -> Result<(), NotApplicable> {
        self.0.delete_records("laws", partition, offset);
        Ok(())
    }

    async fn rebalance(&self, group: &str) -> Result<(), NotApplicable> {
        assert!(self.0.start_rebalance(group));
        Ok(())
    }
}

mod memory {
    use super::*;

    consumer_law_tests!(
        #[tokio::test(start_paused = true)]
        Planted(None)
    );
}

/// The laws that break with each defect, at least.
const FINDS: &[(Defect, ConsumerLaw)] = &[
    (Defect::SkipsARecord, ConsumerLaw::RecordsComeInOrderAndOnce),
    (Defect::RepeatsARecord, ConsumerLaw::RecordsComeInOrderAndOnce),
    (Defect::DropsHeaders, ConsumerLaw::RecordsComeInOrderAndOnce),
    (Defect::StatesTheOffsetAfterTheLastRecord, ConsumerLaw::PositionsAreTrue),
    (Defect::StatesTheEnd, ConsumerLaw::PositionsAreTrue),
    (Defect::AnswersWithoutCommitting, ConsumerLaw::CommitsAreAnswered),
    (Defect::AnswersTwice, ConsumerLaw::CommitsAreAnswered),
    (Defect::ReadsOnAfterTheRelease, ConsumerLaw::NothingOfAReleasedPartitionPasses),
    (Defect::ReleasesByItself, ConsumerLaw::AReleaseIsAnAnswer),
    (Defect::ForgetsTheWaker, ConsumerLaw::PendingWakes),
    (Defect::SeeksOneTooFar, ConsumerLaw::ASeekContinuesAtItsTarget),
    (Defect::JumpsSilently, ConsumerLaw::AnOffsetOutOfRangeIsAnEvent),
    (Defect::OpensAnything, ConsumerLaw::OpeningFindsTheTopics),
    (Defect::NeverLeaves, ConsumerLaw::LeavingEndsTheConsumer),
    (Defect::LooksUpTheEnd, ConsumerLaw::LookUpsAreTrue),
];

#[tokio::test(start_paused = true)]
async fn each_defect_is_found() {
    for (defect, law) in FINDS {
        let verdict = law.judge(&Planted(Some(*defect))).await;
        assert!(matches!(verdict, Verdict::Broken(_)), "{defect:?} breaks {law}: {verdict:?}");
    }
}

#[test]
fn each_law_finds_a_defect() {
    let finding: BTreeSet<_> = FINDS.iter().map(|(_, law)| *law).collect();
    assert_eq!(finding, ConsumerLaw::ALL.iter().copied().collect());
}
