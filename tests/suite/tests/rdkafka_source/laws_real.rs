//! The laws against an Apache Kafka that the test starts, with each kind of membership.

use std::sync::Arc;

use kafka_tower_testkit::consumer::{ConsumerFixture, OpenedConsumers};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};

use crate::support::{Each, Kafka, Kind, Members, assert_laws};

struct Real(&'static Cluster, Kind);

/// `None`: there is no Kafka, and a line has been printed.
async fn real(kind: Kind) -> Option<Real> {
    Some(Real(cluster::shared().await?, kind))
}

impl ConsumerFixture for Real {
    type Broker = Kafka<()>;

    async fn open(&self, partitions: u32) -> OpenedConsumers<Self::Broker> {
        let topic = self.0.topic("consumer", i32::try_from(partitions).unwrap()).await.unwrap();
        let members = Members::new(self.0.bootstrap(), &topic, self.1);
        let broker = Kafka::new(&members, (), true);
        OpenedConsumers { transport: Arc::new(Each(members)), topic: topic.into(), broker }
    }
}

macro_rules! laws {
    ($($name:ident $kind:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(real) = real(Kind::$kind).await {
                    assert_laws(real).await;
                }
            }
        )*
    };
}

laws! {
    eager Eager
    cooperative Cooperative
    static_members Static
    kip_848 Consumer
}
