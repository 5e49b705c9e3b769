//! Sends units in transactions until it is killed, and continues the work of an older process with the same transactional
//! id. It prints what it does, one line each.

#![allow(clippy::print_stdout)]

use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage, Transaction};
use kafka_tower_test_suite::units;
use kafka_tower_testkit::kafka::Cluster;

/// Records of a unit.
const SIZE: usize = 750;

/// What the process does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Continues behind the last unit that readers of committed records see. Every seventh unit is aborted once.
    Right,
    /// A defect: commits a unit in two halves.
    Half,
    /// A defect: sends the units from this one on, whatever is visible already.
    Replay(u64),
}

impl Plan {
    fn parse(text: &str) -> Self {
        match text {
            "right" => Self::Right,
            "half" => Self::Half,
            from => Self::Replay(from.parse().expect("right, half or a number")),
        }
    }
}

/// Arguments: brokers, topic, transactional id, and a [`Plan`].
pub(crate) async fn run(arguments: &[String]) {
    let [brokers, topic, id, plan] = arguments else { panic!("arguments: brokers topic id plan") };
    let result = send_units(brokers, topic, id, Plan::parse(plan)).await;
    panic!("it goes on until it is killed: {result:?}");
}

async fn send_units(brokers: &str, topic: &str, id: &str, plan: Plan) -> kafka_tower::Result<()> {
    let config = KafkaSinkConfig { send_timeout_ms: 3_000, ..KafkaSinkConfig::exactly_once(brokers, topic, id) };
    let sink = KafkaSink::<String>::new(config.with_property("transaction.timeout.ms", "3000")).await?;
    let mut unit = match plan {
        Plan::Replay(from) => from,
        // The sink has the id: what the older process left is over.
        _ => {
            let read = Cluster::external(brokers).read_committed(topic).await.expect("the topic can be read");
            units::units(&read).last().map_or(0, |last| last + 1)
        }
    };
    println!("ready {unit}");
    loop {
        if unit % 7 == 3 && plan == Plan::Right {
            let tx = sink.transaction().await?;
            send(&tx, 0..SIZE, |index| units::aborted_value(unit, index)).await?;
            tx.abort().await?;
            println!("aborted {unit}");
        }
        let mut tx = sink.transaction().await?;
        if plan == Plan::Half {
            send(&tx, 0..SIZE / 2, |index| units::value(unit, index)).await?;
            tx.commit().await?;
            println!("half {unit}");
            tx = sink.transaction().await?;
            send(&tx, SIZE / 2..SIZE, |index| units::value(unit, index)).await?;
        } else {
            send(&tx, 0..SIZE, |index| units::value(unit, index)).await?;
        }
        println!("committing {unit}");
        tx.commit().await?;
        println!("committed {unit}");
        unit += 1;
    }
}

async fn send(
    tx: &Transaction<String>,
    indices: std::ops::Range<usize>,
    value: impl Fn(usize) -> String,
) -> kafka_tower::Result<()> {
    let message = |index: usize| SinkMessage::new(value(index)).with_partition((index % 3) as i32);
    tx.send_batch(indices.map(message)).await?.into_iter().collect::<kafka_tower::Result<Vec<_>>>().map(drop)
}
