//! Serves a topic, and enters each record that it has handled in a ledger.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::source::{Order, SourceError};
use kafka_tower::{CommitStrategy, SourceMessage};
use kafka_tower_test_suite::copies::Ledger;
use tokio::time::sleep;
use tower::service_fn;

use crate::group;

/// What the process does with a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Right,
    /// A defect: the record is acknowledged and committed before it is handled.
    Early,
    /// A defect: the records of a key are handled at the same time.
    Unordered,
}

impl Plan {
    fn parse(text: &str) -> Self {
        match text {
            "right" => Self::Right,
            "early" => Self::Early,
            "unordered" => Self::Unordered,
            other => panic!("right, early or unordered, and not {other}"),
        }
    }
}

/// Arguments: the settings of [`group::join`], a [`Plan`], and the ledger's path.
pub(crate) async fn run(arguments: &[String]) {
    let (settings, [plan, ledger]) = arguments.split_at(5) else { panic!("arguments: settings, plan, ledger") };
    let plan = Plan::parse(plan);
    let ledger = Arc::new(Mutex::new(Ledger::open(ledger.as_ref()).expect("the ledger")));
    let source = group::join(settings, CommitStrategy::Automatic).await;
    let service = service_fn(move |message: SourceMessage<u64>| {
        let ledger = Arc::clone(&ledger);
        async move {
            let number = *message.value().expect("no tombstones");
            if plan == Plan::Early {
                message.commit().await?;
                sleep(Duration::from_millis(200)).await;
            }
            sleep(group::time(number)).await;
            ledger.lock().expect("no panic").enter(number).expect("the ledger");
            Ok::<_, SourceError>(())
        }
    });
    let order = if plan == Plan::Unordered { Order::None } else { Order::Key };
    let ended = source.serve(service).order(order).await;
    panic!("it goes on until it is killed: {ended:?}");
}
