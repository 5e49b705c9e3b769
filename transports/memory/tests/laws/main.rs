//! The memory transport as used in a test of a stack, mostly with a paused clock: no test sleeps.
#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod batches;
mod close;
mod deadline;
mod determinism;
mod leaving;
mod locks;
mod order;
mod resend;
mod room;
mod script;
mod support;
mod threads;
