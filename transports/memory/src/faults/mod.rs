//! Faults from a seed. Each place draws its faults independently, so that removing one fault changes no other.

pub(crate) mod draw;
mod kind;
pub(crate) mod plan;

pub use kind::{Fault, FaultKind, FaultPlace, Faults};
