//! A real OpenTelemetry Collector for tests: built once with Go, started by the test; returns the data that it
//! received.
//!
//! ```no_run
//! # async fn example() -> Result<(), kafka_tower_test_collector::Error> {
//! use kafka_tower_test_collector::Collector;
//!
//! // `None`: no Go here, a line has been printed.
//! let Some(collector) = Collector::start().await? else { return Ok(()) };
//! // … a program with OTEL_EXPORTER_OTLP_ENDPOINT = collector.endpoint() …
//! let spans = collector.spans_when(|spans| spans.iter().any(|span| span.name == "send orders")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The binary is kept in cargo's target directory, and Go has its own build cache: the first build on a machine takes
//! 90 s, later ones some seconds. Without Go the tests are skipped with a line, or fail with
//! `KAFKA_TOWER_REQUIRE_KAFKA=1`.

#![forbid(unsafe_code)]

mod build;
mod collector;
mod error;
pub mod otlp;
pub mod picture;
pub mod prometheus;

pub use build::prometheus_names;
pub use collector::Collector;
pub use error::Error;
