//! The in-memory Kafka for tests.

pub use kafka_tower_memory::*;

#[cfg(feature = "sim")]
#[cfg_attr(docsrs, doc(cfg(feature = "sim")))]
pub mod sim;
