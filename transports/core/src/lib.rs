//! Types and the transport contract of kafka-tower.
//!
//! Layers use these types and never a vendor's. A transport is any service that keeps the laws of [`Transport`];
//! the package `kafka-tower-testkit` proves it.
//!
//! | item | purpose |
//! |---|---|
//! | [`SinkMessage`] | what a user sends: a value or a tombstone, key, headers, partition, timestamp, deadline |
//! | [`IntoKey`] | what can be a message's key, and its bytes |
//! | [`KafkaMessage`] | a type whose messages have a topic and a key of their own |
//! | [`Record`] | the encoded message, cheap to clone |
//! | [`Delivery`] | where the record was written: topic, partition, offset |
//! | [`Error`] | what happened, what can be done, whether the record may be in the log |
//! | [`codes`] | Kafka's error codes, and what each one says about the log |
//! | [`error::HttpProblem`] | how an HTTP service answers a request whose send failed |
//! | [`error::transport`] | the errors that every transport makes, such as a time-out |
//! | [`clock`] | a cheap clock for the times of records |
//! | [`Gate`](gate::Gate) | admission by records and bytes, shared by all transports |
//! | [`Transport`] | a `tower::Service<Record>` with laws |
//! | [`ConsumerTransport`], [`Consumer`] | the reading side of a transport, with laws of its own |
//! | [`RawRecord`] | a record as it was read, with owned bytes |
//! | [`source`] | the decisions of a source: what may be committed, and when |
//! | [`IntoTransport`] | a transport together with its control, as a sink's builder takes it |
//! | [`Control`] | flush, close, partition counts; [`TransactionControl`] for transactions |
//! | [`Tenant`] | tells the records of sinks apart that share a transport |
//! | [`handover`] | tells a sink whether the transport has accepted a record |
//! | [`ticket`] | follows a send of a transaction from the sink to the transport, through queues and tasks |
//! | [`ledger`] | outcomes, deadlines and close of a transport that settles record by record |
//! | [`outstanding`] | open sends, by epoch: what a flush waits for |
//! | [`recent_errors`] | errors that a transport retries, by which a time-out names its cause |
//! | [`log_dedup`] | which log lines are logged, and which are only counted |
//! | [`unanswered`] | tells a layer about a record whose caller dropped its future or got a time-out, and about its late report |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod clock;
pub mod codes;
mod consumer;
mod control;
mod control_future;
mod delivery;
pub mod error;
pub mod gate;
pub mod handover;
mod headers;
mod into_transport;
mod kafka_message;
mod key;
pub mod ledger;
pub mod log_dedup;
mod message;
pub mod outstanding;
pub mod partitioner;
mod raw_record;
pub mod recent_errors;
mod record;
#[doc(hidden)]
pub mod sharded;
pub mod source;
#[doc(hidden)]
pub mod sync;
mod tenant;
pub mod text;
pub mod ticket;
mod timestamp;
mod token;
mod topic_pattern;
mod transaction;
mod transport;
pub mod unanswered;
mod unanswered_send;
pub mod validate;
#[doc(hidden)]
pub mod wakers;
pub mod wrong_protocol;

pub use consumer::{
    Assignment, Batch, BatchSink, CommitAnswer, CommitTicket, Consumer, ConsumerEvents, ConsumerInspection,
    ConsumerTransport, FoundBroker, FoundGroup, FoundMember, FoundPartition, FoundSourceTopic, GroupEvent, Isolation,
    LogRange, OffsetReset, RecordRef, SeekTo, Subscription, TopicPartition,
};
pub use control::{CloseReport, Control, InFlight, Undelivered, UnseenFailures};
pub use control_future::ControlFuture;
pub use delivery::Delivery;
#[doc(hidden)]
pub use error::with_causes;
pub use error::{BoxError, Error, ErrorKind, HttpProblem, Persistence, Recovery, Result, Scope};
pub use headers::{Header, Headers};
pub use into_transport::IntoTransport;
pub use kafka_message::KafkaMessage;
#[doc(hidden)]
pub use kafka_message::derive as __derive;
pub use key::IntoKey;
pub use message::{Envelope, SinkMessage};
pub use raw_record::RawRecord;
pub use record::Record;
pub use tenant::Tenant;
pub use timestamp::{Timestamp, TimestampType};
pub use token::{OauthToken, TokenFuture, TokenProvider};
pub use topic_pattern::TopicPattern;
pub use transaction::{ConsumerGroup, TopicOffset, TransactionControl, TransactionEnd};
pub use transport::Transport;
pub use unanswered_send::UnansweredSend;
