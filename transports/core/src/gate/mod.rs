//! Admission by number of records and bytes: exact back-pressure without lost wake-ups.
//!
//! A [`Gate`] counts the records that a transport has accepted and not settled. [`GateHandle::poll_ready`] is a hint
//! that reserves nothing, so an idle ready handle starves no other. [`GateHandle::call`] admits a record if it fits
//! and parks it otherwise, first in, first out. The delivery report returns the room with [`Gated::release`], which
//! hands over parked records and wakes waiting handles. A transport implements [`Gated`] to take the admitted records.
//!
//! # Rules
//!
//! - A handle is ready if there is room and no record is parked. Newcomers queue behind the handles that wait.
//! - A record larger than the whole limit is refused. A record that fits is admitted. Any other record is parked, at
//!   most one per handle (while a record is parked, its handle is not ready).
//! - A release hands over parked records from the front, then wakes as many handles as it freed places, and all of
//!   them if nothing is in flight. A woken handle that finds room for two wakes the next one. A woken handle that is
//!   dropped, or whose call is refused, passes its wake-up on.
//! - Therefore idle ready handles can withhold at most one free place, and none if nothing is in flight.
//!
//! # Order
//!
//! Records of one handle are handed over in call order. The hand-over runs outside the lock: while parked records are
//! handed over, new calls are parked behind them.
//!
//! # Cancellation
//!
//! The gate holds no futures of records: dropping one has no effect here.

mod flush;
mod gated;
mod handle;
mod shared;
mod state;
mod word;

pub use flush::Flush;
pub use gated::Gated;
pub use handle::GateHandle;
pub use shared::Gate;
pub use state::{Limits, Permit, Refused};

#[cfg(test)]
mod tests;
