//! The laws against librdkafka's mock cluster, which has the classic protocol and no transactions, and refuses commits
//! while a group rebalances.

use std::sync::Arc;

use kafka_tower_rdkafka::MockCluster;
use kafka_tower_testkit::consumer::{ConsumerFixture, ConsumerLaw, OpenedConsumers};

use crate::support::{Each, Kafka, Kind, Members, assert_laws};

struct Mock(Kind);

impl ConsumerFixture for Mock {
    type Broker = Kafka<MockCluster>;

    async fn open(&self, partitions: u32) -> OpenedConsumers<Self::Broker> {
        let mock = MockCluster::start(1).unwrap();
        mock.create_topic("laws", partitions).unwrap();
        let members = Members::new(mock.bootstrap(), "laws", self.0);
        let broker = Kafka::new(&members, mock, false);
        OpenedConsumers { transport: Arc::new(Each(members)), topic: "laws".into(), broker }
    }

    fn not_applicable(&self) -> Vec<ConsumerLaw> {
        let others = [ConsumerLaw::AReleaseIsAnAnswer, ConsumerLaw::AnOffsetOutOfRangeIsAnEvent];
        ConsumerLaw::OF_TRANSACTIONS.iter().copied().chain(others).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eager() {
    assert_laws(Mock(Kind::Eager)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cooperative() {
    assert_laws(Mock(Kind::Cooperative)).await;
}
