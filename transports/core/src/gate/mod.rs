//! Admission in records and in bytes: back-pressure that is exact and always wakes.
//!
//! A [`Gate`] counts what a transport has taken and not settled. [`GateHandle::poll_ready`] is a hint that
//! reserves nothing, so that a handle which is ready and idle starves nobody; [`GateHandle::call`] admits what fits
//! and parks the rest, first in first out. The delivery report gives the room back with [`Gate::release`], which
//! hands over parked records and wakes those who wait.
//!
//! # Rules
//!
//! - Ready if there is room and nothing is parked; newcomers queue behind those who wait.
//! - A record larger than the whole limit is refused; what fits is admitted; else it is parked, at most one a handle
//!   (a handle whose record is parked is not ready).
//! - A release hands over parked heads, then wakes as many as it freed, and all when nothing is in flight. One who
//!   is woken and finds room for two tells the next; one who is woken and dropped passes its turn on.
//! - So at most one free place can be withheld by handles that are ready and idle, and none when nothing is in flight.
//!
//! # Order
//!
//! Records of one handle are handed over in call order. The hand-over runs outside the lock: while parked records
//! are handed over, new calls are parked behind them.
//!
//! # Cancellation
//!
//! The gate knows no futures: dropping one changes nothing here.

mod flush;
mod handle;
mod shared;
mod state;

pub use flush::Flush;
pub use handle::GateHandle;
pub use shared::Gate;
pub use state::{Limits, Permit, Refused};

#[cfg(test)]
mod tests;
