//! The laws of [`Transport`](kafka_tower_core::Transport), one function each.
//!
//! [`run_laws!`](crate::run_laws) makes a test of each for a [`Subject`].

mod admission;
mod closing;
mod errors;
mod fidelity;
mod order;
mod transactions;

pub use admission::{back_pressure_is_a_pending_that_wakes, the_gate_is_exact_and_always_wakes};
pub use closing::{
    close_delivers_everything, close_reports_what_it_could_not_deliver, dropping_the_last_handle_resolves_all,
};
pub use errors::{a_deadline_ends_the_waiting_truthfully, every_error_states_its_persistence};
pub use fidelity::{keys_choose_partitions_as_java_does, records_arrive_as_they_were};
pub use order::{
    call_order_is_log_order, dropped_futures_deliver_and_give_their_room_back, flush_waits_for_earlier_records,
};
pub use transactions::{
    a_close_aborts_an_open_transaction, dropping_the_last_handle_aborts_an_open_transaction,
    tickets_are_checked_and_accounted_for,
};

use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Error, Record, Result, Transport};
use tower::ServiceExt;

use crate::subject::Kafka;

/// Limits that no law reaches.
pub(crate) const WIDE: Limits = Limits { records: 20_000, bytes: 64 << 20 };

/// A record with a number as its value.
pub(crate) fn numbered(topic: &str, number: usize) -> Record {
    Record::new(topic).with_value(number.to_string())
}

/// Waits for readiness and calls.
pub(crate) async fn call<T: Transport>(transport: &mut T, record: Record) -> T::Future {
    transport.ready().await.expect("a transport is not finished").call(record)
}

/// Fails instead of hanging.
pub(crate) async fn within<F: Future>(patience: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(patience, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not done within {patience:?}"),
    }
}

/// Silences the broker of a law. A cluster that somebody else runs cannot be silenced: then a line says that the law does
/// not run, and the result is false.
pub(crate) async fn silenced(kafka: &dyn Kafka, law: &str) -> bool {
    if kafka.silence().await {
        return true;
    }
    let external = std::env::var_os("KAFKA_BROKERS").is_some();
    assert!(external, "{law}: the broker cannot be silenced, though the tests have started it");
    kafka_tower_test_cluster::skipped(&format!("the law {law} does not run: the broker cannot be silenced"));
    false
}

/// Unwraps a delivery.
pub(crate) fn delivered(outcome: Result<Delivery, Error>) -> Delivery {
    outcome.unwrap_or_else(|error| panic!("not delivered: {error:#}"))
}

/// Each number below `count` once.
pub(crate) fn all_once(mut numbers: Vec<usize>, count: usize) {
    numbers.sort_unstable();
    let repeated: Vec<_> = numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).take(10).collect();
    assert!(repeated.is_empty(), "more than once: {repeated:?}, …");
    let lost: Vec<_> = (0..count).filter(|number| numbers.binary_search(number).is_err()).take(10).collect();
    assert!(lost.is_empty(), "lost: {lost:?}, … of {count}");
}

/// Makes a test of each law: `run_laws!([attribute] subject)`, where the subject is a future of an `Option`;
/// `None` skips.
#[macro_export]
macro_rules! run_laws {
    ([$attribute:meta] $subject:expr) => {
        $crate::run_laws!(@each [$attribute] $subject;
            call_order_is_log_order
            dropped_futures_deliver_and_give_their_room_back
            flush_waits_for_earlier_records
            the_gate_is_exact_and_always_wakes
            back_pressure_is_a_pending_that_wakes
            every_error_states_its_persistence
            a_deadline_ends_the_waiting_truthfully
            close_delivers_everything
            close_reports_what_it_could_not_deliver
            dropping_the_last_handle_resolves_all
            records_arrive_as_they_were
            keys_choose_partitions_as_java_does
            tickets_are_checked_and_accounted_for
            a_close_aborts_an_open_transaction
            dropping_the_last_handle_aborts_an_open_transaction
        );
    };
    (@each $attributes:tt $subject:expr; $($law:ident)*) => {
        $($crate::run_laws!(@one $attributes $subject; $law);)*
    };
    (@one [$attribute:meta] $subject:expr; $law:ident) => {
        #[$attribute]
        async fn $law() {
            if let Some(subject) = $subject.await {
                $crate::laws::$law(&subject).await;
            }
        }
    };
}
