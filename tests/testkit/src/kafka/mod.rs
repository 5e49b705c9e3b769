//! A real Apache Kafka for tests, started by the tests themselves.
//!
//! ```no_run
//! # async fn example() {
//! use kafka_tower_testkit::kafka as cluster;
//!
//! // One node for the whole test binary; `None`: no Kafka here, a line has been printed.
//! let Some(kafka) = cluster::shared().await else { return };
//! let topic = kafka.topic("orders", 3).await.unwrap();
//! // … produce to `kafka.bootstrap()` …
//! let records = kafka.read(&topic).await.unwrap();
//! # }
//! ```
//!
//! The source of the cluster is the first one available:
//!
//! 1. `KAFKA_BROKERS=host:port,…`: that cluster, for [`shared`] only. It is never killed, stopped or configured.
//! 2. Java 17 or newer and Maven: the jars of [`KAFKA_VERSION`] and a class data archive are kept in cargo's target
//!    directory, so only the first run needs the network.
//! 3. Docker: the image `apache/kafka`.
//! 4. Otherwise the test is skipped; one line per test binary says what to install. With `KAFKA_TOWER_REQUIRE_KAFKA=1`
//!    this is a panic.
//!
//! Everything listens on 127.0.0.1 and ends with the test process, for whatever reason that ends.

mod acl;
mod certs;
mod client;
mod cluster;
mod control;
mod error;
mod home;
mod jars;
pub mod java;
mod launcher;
mod listeners;
mod node;
mod own;
mod ports;
mod process;
mod provision;
pub mod proxy;
mod quota;
mod reader;
pub mod segments;
mod shared;
mod topics;
mod unsigned_token;

pub use acl::Resource;
pub use certs::Certs;
pub use cluster::{Builder, Cluster};
pub use error::Error;
pub use jars::target_dir;
pub use listeners::Listener;
pub use provision::{skipped, stand_aside};
pub use proxy::Proxy;
pub use reader::{Isolation, ReadRecord};
pub use shared::shared;
pub use unsigned_token::unsigned_token;

/// Version of Apache Kafka that is started.
pub const KAFKA_VERSION: &str = "4.3.1";
