//! Runs a Kafka for experiments, without Docker: `cargo run -p kafka-tower-testkit --features kafka --example serve [TOPIC…]`.
//!
//! Prints its address. Ends with Ctrl-C or at the end of standard input.
#![allow(clippy::print_stdout)]

use kafka_tower_testkit::kafka::{Cluster, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let Some(kafka) = Cluster::start(1).await? else { return Ok(()) };
    for topic in std::env::args().skip(1) {
        kafka.create_topic(&topic, 3, &[]).await?;
    }
    println!("KAFKA_BROKERS={}", kafka.bootstrap());
    let end = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    drop(end.await);
    Ok(())
}
