//! The laws of [`Transport`](kafka_tower_core::Transport), one function each.
//!
//! A law returns `Ok` if the transport keeps it, panics if it is broken, and returns [`NotApplicable`] if it cannot run.
//! Run them in a tokio runtime with time enabled; with a paused clock only if the transport and its broker take their
//! time from tokio.
//!
//! [`law_tests!`](crate::law_tests) makes a test of each law, and [`all`] runs them one after the other.

mod admission;
mod closing;
mod errors;
mod fidelity;
mod handover;
mod law;
mod macros;
mod order;
mod report;
mod support;
mod transactions;

pub use admission::{
    back_pressure_is_a_pending_that_wakes, the_gate_is_exact_and_always_wakes,
    the_limits_are_exact_in_records_and_bytes,
};
pub use closing::{
    close_delivers_everything, close_reports_what_it_could_not_deliver, dropping_the_last_handle_resolves_all,
};
pub use errors::{
    a_deadline_ends_the_waiting_truthfully, an_error_gives_its_record_back, every_error_states_its_persistence,
};
pub use fidelity::{keys_choose_partitions_as_java_does, records_arrive_as_they_were};
pub use handover::acceptance_is_reported;
pub use law::Law;
pub use order::{
    call_order_is_log_order, dropped_futures_deliver_and_give_their_room_back, flush_waits_for_earlier_records,
};
pub use report::{Report, all};
pub use transactions::{
    a_close_aborts_an_open_transaction, dropping_the_last_handle_aborts_an_open_transaction,
    tickets_are_checked_and_accounted_for,
};

use crate::NotApplicable;

/// Result of a law that was not broken.
pub type Applied = Result<(), NotApplicable>;
