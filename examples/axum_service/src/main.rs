//! An HTTP service that sends two types of events over one Kafka client: real axum and tower-http, one trace from the request
//! to the record, errors as responses, and a shutdown with one deadline.
//!
//! ```text
//! cargo run -p axum_service
//! curl -i localhost:3000/orders -H 'content-type: application/json' -d '{"id": 1, "item": "book"}'
//! curl -i localhost:3000/payments -H 'content-type: application/json' -d '{"order": 1, "cents": 1290}'
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `KAFKA_BROKERS` and all other [settings](../../../docs/config.md) | Kafka, with the topics `orders` and `payments`; without it librdkafka's mock cluster in this process |
//! | `LISTEN` | address, by default `127.0.0.1:3000` |
//! | `SHUTDOWN_SECONDS` | time from SIGTERM or Ctrl-C to the end, by default 25 |
//! | `OTEL_TRACES_EXPORTER=console` | prints the spans; `examples/traced_service` sends them to a Collector |
//!
//! It ends with exit code 1 if records were not delivered, or perhaps not, if work was broken off, or if the server failed.
#![allow(clippy::print_stdout)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may fail

mod app;
mod observe;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use kafka_tower::rdkafka::MockCluster;
use kafka_tower::telemetry::Telemetry;
use kafka_tower::{KafkaClient, KafkaSinkConfig, Shutdown};
use tokio::net::TcpListener;

use crate::app::App;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    // Before the telemetry of Kafka, which takes the global providers.
    let tracers = observe::start();
    // A request is answered within this time, whatever Kafka does.
    let mut config =
        KafkaSinkConfig { send_timeout_ms: 5_000, ..Default::default() }.with_vars("KAFKA_", env::vars_os())?;
    let mock = if env::var_os("KAFKA_BROKERS").is_none() { Some(mock(&mut config)?) } else { None };
    let seconds = env::var("SHUTDOWN_SECONDS").map_or(Ok(25), |text| text.parse())?;

    let send_timeout = config.send_timeout();
    // Spans only: this example sets no provider of metrics.
    let telemetry = Telemetry::builder().metrics(false).build();
    let client = KafkaClient::builder(config).telemetry(telemetry).build().await?;
    let app = App::new(client.clone()).await?;
    let listener = TcpListener::bind(env::var("LISTEN").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    // From here on a signal no longer ends the process.
    let shutdown = Shutdown::on_signal(Duration::from_secs(seconds))?.client(&client);
    println!("listening on http://{}", listener.local_addr()?);

    let server = axum::serve(listener, app::router(app, send_timeout)).with_graceful_shutdown(shutdown.begun());
    let report = shutdown.run(server).await;
    let served = match &report.server {
        Some(Err(error)) => {
            tracing::error!("the server failed: {error}");
            false
        }
        Some(Ok(())) | None => report.is_complete(),
    };
    for undelivered in report.into_undelivered() {
        // A real service keeps the record, for example in a file.
        tracing::error!(topic = &*undelivered.record.topic, "not delivered: {}", undelivered.error.message());
    }
    tracers.shutdown()?;
    drop(mock);
    Ok(if served { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mock(config: &mut KafkaSinkConfig) -> kafka_tower::Result<MockCluster> {
    let mock = MockCluster::start(1)?;
    ["orders", "payments"].iter().try_for_each(|topic| mock.create_topic(topic, 2))?;
    config.brokers = mock.bootstrap().to_owned();
    Ok(mock)
}
