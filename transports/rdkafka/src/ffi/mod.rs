//! All `unsafe` of this project: what the binding does not offer, or offers with undefined behaviour.
//!
//! The binding turns librdkafka's error codes into a Rust enum with holes, in the delivery callback, the error
//! callback and the metadata alike. A code that it does not know (a newer broker, a proxy) is undefined behaviour
//! there. Here codes are integers, from the first read on: [`raw`] declares the functions anew with the integers
//! that C has, and fields are read through pointers of that type.
//!
//! The other reasons: the persistence status of a message, the hand-over of a payload without copying it, topic
//! handles, and a flush that does not wait 100 ms.

mod activity;
mod client;
mod inspect;
#[cfg(feature = "mock-cluster")]
pub(crate) mod mock;
mod produce;
mod question;
mod queue;
mod raw;
mod topics;
mod transactions;

pub(crate) use client::{Client, Instance, TopicMetadata, text_of};
pub(crate) use inspect::{Seen, SeenPartition};
pub(crate) use queue::{Event, Queue, Report};
pub(crate) use transactions::TxnError;
