//! Two transports with a typical defect, and the laws that find it.
//!
//! ```text
//! cargo run --example broken_transport --no-default-features
//! cargo test --example broken_transport --no-default-features
//! ```
#![allow(clippy::print_stdout)]

#[path = "../toy_transport/broker.rs"]
mod broker;
#[path = "../toy_transport/transport.rs"]
mod transport;

use std::panic;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{ControlFuture, Delivery, Error, Record, Result};
use kafka_tower_testkit::{Fixture, Law, Opened, laws};
use tower_service::Service;

use crate::broker::{TOPIC, ToyBroker, UnderTest};
use crate::transport::ToyTransport;

#[derive(Clone, Copy, Debug)]
enum Defect {
    /// Sends in the future instead of in `call`, as an `async fn` does.
    SendsAtTheFirstPoll,
    /// Answers "delivered" as soon as the broker has the request.
    AnswersBeforeTheAppend,
}

/// The toy with a defect.
#[derive(Clone)]
struct BrokenTransport {
    toy: ToyTransport,
    defect: Defect,
}

impl Service<Record> for BrokenTransport {
    type Response = Delivery;
    type Error = Error;
    type Future = ControlFuture<'static, Delivery>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.toy.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Self::Future {
        match self.defect {
            Defect::SendsAtTheFirstPoll => {
                let mut toy = self.toy.clone();
                Box::pin(async move { toy.call(record).await })
            }
            Defect::AnswersBeforeTheAppend => {
                let delivery = Delivery::new(Arc::clone(&record.topic), record.partition.unwrap_or(0));
                let _nobody_waits = self.toy.call(record);
                Box::pin(async { Ok(delivery) })
            }
        }
    }
}

impl Fixture for Defect {
    type Transport = BrokenTransport;
    type Broker = UnderTest;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<BrokenTransport, UnderTest> {
        let broker = ToyBroker::new(partitions);
        let toy = ToyTransport::new(Arc::clone(&broker), limits);
        let control = toy.control();
        let transport = BrokenTransport { toy, defect: *self };
        Opened { transport, control, topic: TOPIC.into(), broker: UnderTest(broker) }
    }

    fn not_applicable(&self) -> Vec<Law> {
        Law::OF_TRANSACTIONS.to_vec()
    }
}

/// Prints the laws that each of the two breaks.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    panic::set_hook(Box::new(|_| ())); // the report has the texts
    for defect in [Defect::SendsAtTheFirstPoll, Defect::AnswersBeforeTheAppend] {
        println!("{defect:?}\n\n{}", laws::all(&defect).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_send_at_the_first_poll_is_found() {
        let broken = laws::all(&Defect::SendsAtTheFirstPoll).await.broken();
        assert!(broken.contains(&Law::CallOrderIsLogOrder), "{broken:?}");
        assert!(broken.contains(&Law::DroppedFuturesDeliverAndGiveTheirRoomBack), "{broken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_before_the_append_is_found() {
        let broken = laws::all(&Defect::AnswersBeforeTheAppend).await.broken();
        assert!(broken.contains(&Law::CloseReportsWhatItCouldNotDeliver), "{broken:?}");
        assert!(broken.contains(&Law::ADeadlineEndsTheWaitingTruthfully), "{broken:?}");
    }
}
