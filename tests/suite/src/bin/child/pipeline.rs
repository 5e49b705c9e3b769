//! Copies a topic to another one, each record exactly once, into the same partition.

use std::time::Duration;

use kafka_tower::{CommitStrategy, Error, KafkaSink, KafkaSinkConfig, KafkaSource, SinkMessage, SourceMessage};
use tokio::time::sleep;

use crate::group;

/// Arguments: the settings of [`group::join`], `right` or `apart`, the other topic, and the transactional id.
pub(crate) async fn run(arguments: &[String]) {
    let (settings, [plan, output, id]) = arguments.split_at(5) else {
        panic!("arguments: settings, plan, output, transactional id")
    };
    let sink = KafkaSinkConfig::exactly_once(&*settings[0], output, id);
    let sink = KafkaSink::<u64>::new(sink).await.unwrap_or_else(|error| panic!("{error:#}"));
    match plan.as_str() {
        "right" => {
            let source = group::join(settings, CommitStrategy::Transaction).await;
            let ended = source.transactional(sink, copy).await;
            panic!("it goes on until it is killed: {ended:?}");
        }
        "apart" => apart(group::join(settings, CommitStrategy::Manual).await, sink).await,
        other => panic!("right or apart, and not {other}"),
    }
}

async fn copy(message: SourceMessage<u64>) -> Result<Option<SinkMessage<u64>>, Error> {
    let number = *message.value().expect("no tombstones");
    sleep(group::time(number)).await;
    Ok(Some(SinkMessage::new(number).with_partition(message.partition())))
}

/// A defect: the offset is committed after the transaction, and not in it.
async fn apart(mut source: KafkaSource<u64>, sink: KafkaSink<u64>) {
    loop {
        let message = source.recv().await.expect("a message");
        let output = SinkMessage::new(*message.value().expect("no tombstones")).with_partition(message.partition());
        let transaction = sink.transaction().await.expect("begin");
        transaction.send(output).await.expect("sent");
        transaction.commit().await.expect("committed");
        sleep(Duration::from_secs(1)).await;
        message.commit().await.expect("committed");
    }
}
