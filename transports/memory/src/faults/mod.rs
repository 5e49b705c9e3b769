//! Faults from a seed: what goes wrong is drawn for each place by itself, so that taking one fault away shifts no other.

pub(crate) mod draw;
mod kind;
pub(crate) mod plan;

pub use kind::{Fault, FaultKind, FaultPlace, Faults};
