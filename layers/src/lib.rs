//! The middleware of kafka-tower: what stands between a typed message and a Kafka transport.
//!
//! Each layer is a folder and a feature. Its `mod.rs` says what it does, where it belongs in a stack, what
//! cancelling does and which errors it makes. A layer decides on the facts of an [`Error`](kafka_tower_core::Error),
//! never on a vendor's code, and works over any transport.
//!
//! | layer | feature | what |
//! |---|---|---|
//! | [`serialize`] | `serialize`, `json` | a typed message becomes a record |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "serialize")]
#[cfg_attr(docsrs, doc(cfg(feature = "serialize")))]
pub mod serialize;
