//! Runs a Kafka for experiments, without Docker:
//!
//! ```text
//! cargo run -p kafka-tower-testkit --features kafka --example serve -- [--brokers N] [TOPIC…]
//! ```
//!
//! Prints its address. The topics get three partitions. Standard input takes `kill N` (`kill -9` of a broker) and
//! `start N`. Ends with Ctrl-C or at the end of standard input.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::io::stdin;

use kafka_tower_testkit::kafka::Cluster;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut topics: Vec<_> = std::env::args().skip(1).collect();
    let mut brokers = 1;
    if topics.first().is_some_and(|first| first == "--brokers") {
        brokers = topics.get(1).and_then(|count| count.parse().ok()).ok_or("--brokers N")?;
        topics.drain(..2);
    }
    let Some(kafka) = Cluster::start(brokers).await? else { return Ok(()) };
    for topic in &topics {
        kafka.create_topic(topic, 3, &[]).await?;
    }
    println!("KAFKA_BROKERS={}", kafka.bootstrap());
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    while let Some(line) = lines.recv().await {
        let done = match line.split_once(' ').and_then(|(verb, node)| Some((verb, node.trim().parse().ok()?))) {
            Some(("kill", node)) => kafka.kill(node).map_err(Box::from),
            Some(("start", node)) => kafka.restart(node).await.map_err(Box::from),
            _ => Err(Box::<dyn Error>::from("kill N or start N, with N from 1")),
        };
        match done {
            Ok(()) => println!("{line}: done"),
            Err(error) => eprintln!("{line}: {error}"),
        }
    }
    Ok(())
}
