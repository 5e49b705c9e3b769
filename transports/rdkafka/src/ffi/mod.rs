//! All `unsafe` code of this project: librdkafka functions that the binding does not offer, or offers with undefined
//! behaviour.
//!
//! The binding converts librdkafka's error codes into a Rust enum that does not have all of them: in the delivery
//! callback, the error callback and the metadata. A code that the enum does not have (from a newer broker or a proxy)
//! is undefined behaviour. This module reads every code as an integer: [`raw`] declares the functions with C's integer
//! type, and fields are read through pointers of that type.
//!
//! It also offers what the binding does not: the persistence status of a message, handing over a payload without a
//! copy, topic handles, and a flush that does not wait 100 ms.

mod activity;
mod admin_request;
mod bootstrap;
mod client;
pub(crate) mod consumer;
mod groups;
mod inspect;
mod instance;
#[cfg(feature = "mock-cluster")]
pub(crate) mod mock;
mod produce;
mod queue;
mod raw;
mod token_target;
mod topics;
mod transactions;

pub(crate) use client::{Client, TopicMetadata};
pub(crate) use groups::{DescribedGroup, DescribedMember, EARLIEST, LATEST};
pub(crate) use inspect::{DescribedCluster, DescribedPartition, DescribedTopic, Operation};
pub(crate) use instance::{Instance, text_of};
pub(crate) use queue::{Event, Queue, Report};
pub(crate) use token_target::TokenTarget;
pub(crate) use transactions::TransactionError;
