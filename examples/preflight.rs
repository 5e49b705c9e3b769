//! Tries the configuration of the environment and prints what is wrong with it. Sends nothing.
//!
//! ```text
//! KAFKA_BROKERS=localhost:9092 KAFKA_TOPIC=orders cargo run --example preflight
//! ```
//!
//! Everything in `docs/config.md` can be set: `KAFKA_LINGER_MS=5`, `KAFKA_SECURITY_PROTOCOL=sasl_ssl`,
//! `KAFKA_SASL_PASSWORD_FILE=…`. Exits with 1 if a sink would not work.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use kafka_tower::KafkaSinkConfig;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match KafkaSinkConfig::from_env() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let report = kafka_tower::preflight(&config).await;
    println!("{report}");
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
