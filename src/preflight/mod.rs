//! Tries configurations against a cluster: sends nothing, reads nothing, joins no group.

mod found;
#[cfg(feature = "rdkafka")]
mod sink;
pub(crate) mod source;
mod text;

#[cfg(feature = "rdkafka")]
pub use sink::{PreflightReport, preflight};
