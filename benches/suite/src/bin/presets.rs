//! Compares every preset with the defaults, in turns, for every way to send, on a real Kafka. Exits with 1 if a preset
//! is slower than the defaults at its purpose. See `benches/README.md`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
use kafka_tower_benches::stats::{Spread, table};
use kafka_tower_testkit::kafka::Cluster;

const USAGE: &str = "\
presets [options]

  --ways A,B,…   one, join, batch, stream (default: all)
  --rounds N     runs of each preset, way and number of partitions (default: 5)
  --records N    records of a run; of those awaited one by one a two-hundredth (default: 200000)";

/// Ratio below which a preset counts as slower; the rest is noise.
const NOISE: f64 = 0.85;

const PRESETS: [&str; 4] = ["default", "high_throughput", "low_latency", "exactly_once"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Each send awaited before the next.
    One,
    /// Many `send` futures at once.
    Join,
    Batch,
    Stream,
}

const WAYS: [(&str, Way); 4] = [("one", Way::One), ("join", Way::Join), ("batch", Way::Batch), ("stream", Way::Stream)];

/// Returns whether the preset's documentation recommends it for this way to send.
fn is_for(preset: &str, way: Way) -> bool {
    match preset {
        "high_throughput" => way != Way::One,
        "low_latency" => way == Way::One,
        _ => false,
    }
}

fn config(preset: &str, brokers: &str, topic: &str, run: usize) -> KafkaSinkConfig {
    match preset {
        "high_throughput" => KafkaSinkConfig::high_throughput(brokers, topic),
        "low_latency" => KafkaSinkConfig::low_latency(brokers, topic),
        "exactly_once" => KafkaSinkConfig::exactly_once(brokers, topic, format!("presets-{run}")),
        _ => KafkaSinkConfig { brokers: brokers.to_owned(), topic: topic.to_owned(), ..Default::default() },
    }
}

fn message(n: usize) -> SinkMessage<String> {
    SinkMessage::new(format!("{n:0100}")).with_key(n.to_string())
}

async fn send(sink: &KafkaSink<String>, way: Way, records: usize) -> kafka_tower::Result<()> {
    match way {
        Way::One => {
            for n in 0..records {
                sink.send(message(n)).await?;
            }
        }
        Way::Join => {
            for result in join_all((0..records).map(|n| sink.send(message(n)))).await {
                result?;
            }
        }
        Way::Batch => {
            for result in sink.send_batch((0..records).map(message)).await? {
                result?;
            }
        }
        Way::Stream => {
            let mut results = sink.send_stream(stream::iter((0..records).map(message)));
            while let Some(result) = results.next().await {
                result?;
            }
        }
    }
    Ok(())
}

/// Returns records per second.
async fn run(config: KafkaSinkConfig, way: Way, records: usize) -> kafka_tower::Result<f64> {
    let transactions = config.enable_transactions;
    let sink = KafkaSink::<String>::new(config).await?;
    if transactions {
        sink.begin_transaction().await?;
    }
    sink.send(message(0)).await?;
    let begun = Instant::now();
    send(&sink, way, records).await?;
    let took = begun.elapsed();
    if transactions {
        sink.commit_transaction().await?;
    }
    sink.close_within(Duration::from_secs(30)).await.expect("nothing is left");
    Ok(records as f64 / took.as_secs_f64())
}

async fn compare(ways: &[(&str, Way)], rounds: usize, records: usize) -> Option<bool> {
    let cluster = match std::env::var("KAFKA_BROKERS") {
        Ok(brokers) => Cluster::external(brokers),
        Err(_) => Cluster::builder().start().await.expect("a Kafka that starts")?,
    };
    let mut rows = Vec::new();
    let (mut good, mut runs) = (true, 0);
    for partitions in [1, 4] {
        let settings = [("retention.bytes", "67108864"), ("segment.bytes", "33554432")];
        let topic = cluster.topic_with(&format!("presets-{partitions}"), partitions, &settings).await.expect("a topic");
        for &(name, way) in ways {
            let records = if way == Way::One { records.div_ceil(200) } else { records };
            let mut speeds = vec![Vec::new(); PRESETS.len()];
            for _ in 0..rounds {
                for (preset, speeds) in PRESETS.iter().zip(&mut speeds) {
                    runs += 1;
                    let config = config(preset, cluster.bootstrap(), &topic, runs);
                    let most = match config {
                        // Each record waits for the linger time.
                        KafkaSinkConfig { linger_ms: 1.., .. } if way == Way::One => 20,
                        // Each record is a request of its own.
                        KafkaSinkConfig { batch_size: 1, .. } => 2_000,
                        _ => records,
                    };
                    let records = records.min(most);
                    speeds.push(run(config, way, records).await.expect("all are delivered"));
                }
            }
            for (preset, own) in PRESETS.iter().zip(&speeds) {
                let ratio = Spread::of(own.iter().zip(&speeds[0]).map(|(own, default)| own / default));
                let slow = is_for(preset, way) && ratio.median < NOISE;
                good &= !slow;
                rows.push(vec![
                    format!("{name}, {partitions}"),
                    (*preset).to_owned(),
                    Spread::of(own.iter().copied()).show(0),
                    ratio.show(2),
                    if !is_for(preset, way) {
                        ""
                    } else if slow {
                        "SLOWER"
                    } else {
                        "yes"
                    }
                    .to_owned(),
                ]);
            }
        }
    }
    println!("{}", table(&["way, partitions", "preset", "records/s", "x", "for this"], &rows));
    Some(good)
}

fn main() -> ExitCode {
    let (mut ways, mut rounds, mut records) = (WAYS.to_vec(), 5, 200_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = value.parse::<usize>().ok().filter(|number| *number > 0);
        match (name.as_str(), number) {
            ("--rounds", Some(number)) => rounds = number,
            ("--records", Some(number)) => records = number,
            ("--ways", None) if value.split(',').all(|name| WAYS.iter().any(|(known, _)| *known == name)) => {
                ways.retain(|(known, _)| value.split(',').any(|name| name == *known));
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(compare(&ways, rounds, records)) {
        Some(false) => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    }
}
