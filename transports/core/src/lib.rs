//! The vocabulary and the contract of kafka-tower.
//!
//! It stands among the transports because it is the socket that they fit: a layer speaks these types
//! and never a vendor's, and a transport is anything that keeps the laws of [`Transport`].
//!
//! | type | what |
//! |---|---|
//! | [`SinkMessage`] | what a user holds: a value or a tombstone, key, headers, partition, time stamp, deadline |
//! | [`Record`] | the same, encoded: cheap to clone |
//! | [`Delivery`] | where the record is: topic, partition, offset |
//! | [`Error`] | what happened, what can be done, whether the record may be in the log |
//! | [`Gate`](gate::Gate) | admission in records and bytes, shared by all transports |
//! | [`Transport`] | a `tower::Service<Record>` with laws |
//! | [`Control`] | flush, close, partition counts; [`TransactionControl`] beside it |
//! | [`handover`] | how a sink learns whether the transport has a record |
//! | [`outstanding`] | what was begun and has not ended: what a flush waits for |
//! | [`unanswered`] | how a layer learns of a record whose caller went away or got a time-out, and of its late report |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod control;
mod delivery;
pub mod error;
pub mod gate;
pub mod handover;
mod headers;
mod message;
pub mod outstanding;
pub mod partitioner;
mod record;
pub mod text;
mod timestamp;
mod transaction;
mod transport;
pub mod unanswered;
pub mod validate;

pub use control::{CloseReport, Control, ControlFuture, InFlight, UnansweredSend, Undelivered};
pub use delivery::Delivery;
pub use error::{BoxError, Error, ErrorKind, Persistence, Recovery, Result, Scope};
pub use headers::{Header, Headers};
pub use message::{Envelope, SinkMessage};
pub use record::Record;
pub use timestamp::Timestamp;
pub use transaction::{ConsumerGroup, TopicOffset, TransactionControl, TransactionEnd};
pub use transport::Transport;
