//! Tries the configuration of the environment and prints what is wrong with it. Sends nothing, and joins no group.
//!
//! ```text
//! KAFKA_BROKERS=localhost:9092 KAFKA_TOPIC=orders cargo run --example preflight
//! KAFKA_SOURCE_GROUP_ID=billing KAFKA_SOURCE_TOPICS=orders cargo run --example preflight -- source
//! ```
//!
//! Everything in `docs/config.md` and `docs/source.md` can be set: `KAFKA_LINGER_MS=5`, `KAFKA_SECURITY_PROTOCOL=sasl_ssl`,
//! `KAFKA_SASL_PASSWORD_FILE=…`. Exits with 1 if a sink, or a source, would not work.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use kafka_tower::{KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Result};

#[tokio::main]
async fn main() -> ExitCode {
    let passed = if std::env::args().nth(1).as_deref() == Some("source") { source().await } else { sink().await };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn sink() -> Result<bool> {
    let report = kafka_tower::preflight(&KafkaSinkConfig::from_env()?).await;
    println!("{report}");
    Ok(report.passed())
}

async fn source() -> Result<bool> {
    let report = KafkaSource::<()>::builder(KafkaSourceConfig::from_env()?).preflight().await;
    println!("{report}");
    Ok(report.passed())
}
