//! A transport of one's own, and its proof: the laws of `kafka-tower-testkit`.
//!
//! ```text
//! cargo run --example toy_transport --no-default-features
//! cargo test --example toy_transport --no-default-features
//! ```
#![allow(clippy::print_stdout)]

mod broker;
mod transport;

use std::process::ExitCode;
use std::sync::Arc;

use kafka_tower_core::gate::Limits;
use kafka_tower_testkit::{Fixture, Law, Opened, laws};

use crate::broker::{TOPIC, ToyBroker, UnderTest};
use crate::transport::ToyTransport;

struct Toy;

impl Fixture for Toy {
    type Transport = ToyTransport;
    type Broker = UnderTest;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<ToyTransport, UnderTest> {
        let broker = ToyBroker::new(partitions);
        let transport = ToyTransport::new(Arc::clone(&broker), limits);
        Opened { control: transport.control(), transport, topic: TOPIC.into(), broker: UnderTest(broker) }
    }

    /// It has no transactions.
    fn not_applicable(&self) -> Vec<Law> {
        Law::OF_TRANSACTIONS.to_vec()
    }
}

/// Prints the laws and whether the toy keeps them.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let report = laws::all(&Toy).await;
    print!("{report}");
    if report.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka_tower_core::Record;
    use kafka_tower_testkit::Broker;
    use tokio::time::{Instant, sleep};
    use tower_service::Service;

    use super::*;

    kafka_tower_testkit::law_tests!(
        #[tokio::test(start_paused = true)]
        Toy
    );

    #[tokio::test(start_paused = true)]
    async fn a_close_reports_a_record_that_is_in_flight_for_longer_than_the_bound() {
        const SECOND: Duration = Duration::from_secs(1);
        let Opened { mut transport, control, mut broker, .. } = Toy.open(Limits { records: 9, bytes: 99 }, 1).await;
        assert!(broker.pause().await.is_ok());
        for _ in 0..2 {
            let record = Record::new(TOPIC).with_expires_at(Instant::now() + SECOND);
            assert!(transport.call(record).await.is_err());
            sleep(400 * SECOND).await;
        }
        let report = control.close(SECOND).await.unwrap();
        assert_eq!(report.undelivered.len(), 2, "{report}");
    }
}
