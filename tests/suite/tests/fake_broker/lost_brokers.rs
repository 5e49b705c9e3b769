//! A broker that was fenced for a moment answers with metadata that list no broker, not even itself. librdkafka then drops all its
//! brokers, and may never connect again (its issue 5301).

use std::time::Duration;

use kafka_tower::source::SourceRecovery;
use kafka_tower::{KafkaSource, KafkaSourceConfig, TopicPartition};
use kafka_tower_core::{Delivery, Record, Result};
use kafka_tower_rdkafka::{ClientError, ClientEvents, RdkafkaConsumerTransport, RdkafkaTransport};
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, FakeBroker};
use tokio::sync::mpsc;
use tower::{Service, ServiceExt};

const TOPIC: &str = "fenced";
/// librdkafka reads metadata of so many partitions for so long that its brokers are gone before it has finished.
const PARTITIONS: i32 = 500;
const ALL_BROKERS_DOWN: i32 = -187;
/// Enough time even on a busy machine.
const WITHIN: Duration = Duration::from_secs(30);

/// Tells when librdkafka says that it has no broker.
struct Down(mpsc::UnboundedSender<()>);

impl ClientEvents for Down {
    fn error(&self, error: &ClientError<'_>) {
        if error.code == ALL_BROKERS_DOWN {
            let _test_may_be_over = self.0.send(());
        }
    }
}

async fn broker() -> FakeBroker {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, PARTITIONS);
    broker
}

async fn connect(broker: &FakeBroker, down: Down) -> RdkafkaTransport {
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", broker.bootstrap_servers());
    builder.events(down).topic(TOPIC).connect().await.unwrap()
}

async fn send(mut transport: RdkafkaTransport) -> Result<Delivery> {
    transport.ready().await.unwrap().call(Record::new(TOPIC).with_partition(0).with_value("1")).await
}

/// Runs the work, while metadata list no broker until the client has none. The next request of the kind is refused, so that the
/// client asks for metadata.
async fn fenced<T>(
    broker: &FakeBroker,
    request: ApiKey,
    mut is_down: mpsc::UnboundedReceiver<()>,
    work: impl Future<Output = T>,
) -> T {
    let listed = broker.with_state(|cluster| std::mem::take(&mut cluster.brokers));
    broker.on_once(request, |_| Control::Error(ErrorCode::NotLeaderForPartition));
    let comes_back = async {
        is_down.recv().await.unwrap();
        broker.with_state(|cluster| cluster.brokers = listed);
    };
    let ((), done) = tokio::join!(comes_back, tokio::time::timeout(WITHIN, work));
    done.expect("the client is connected again")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_finds_its_brokers_again_after_metadata_without_brokers() {
    let (broker, (down, is_down)) = (broker().await, mpsc::unbounded_channel());
    let transport = connect(&broker, Down(down)).await;
    send(transport.clone()).await.unwrap();
    let sent = fenced(&broker, ApiKey::Produce, is_down, send(transport)).await;
    assert_eq!(sent.unwrap().offset, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_finds_its_brokers_again_after_metadata_without_brokers() {
    let (broker, (down, is_down)) = (broker().await, mpsc::unbounded_channel());
    let (unused, _) = mpsc::unbounded_channel();
    let sender = connect(&broker, Down(unused)).await;
    let servers = broker.bootstrap_servers();
    let assign = vec![TopicPartition::new(TOPIC, 0)];
    let config = KafkaSourceConfig { group_id: TOPIC.into(), assign, ..Default::default() };
    let transport = RdkafkaConsumerTransport::new([("bootstrap.servers", servers)]).with_events(Down(down));
    let mut source = KafkaSource::<u32>::builder(config).transport(transport).build().await.unwrap();
    send(sender.clone()).await.unwrap();
    source.recv().await.unwrap().ack();
    fenced(&broker, ApiKey::Fetch, is_down, async {}).await;
    send(sender).await.unwrap();
    let read = async {
        loop {
            match source.recv().await {
                Ok(message) => return message,
                Err(error) => assert_eq!(error.recovery(), SourceRecovery::Continue, "{error}"),
            }
        }
    };
    let message = tokio::time::timeout(WITHIN, read).await.expect("the source is connected again");
    assert_eq!(message.offset(), 1);
}
