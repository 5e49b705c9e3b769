use std::fmt;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration cannot work.
    Config,
    /// The value could not be encoded.
    Serialization,
    /// The record is malformed: topic name, partition, header.
    InvalidRecord,
    /// The record exceeds a size limit of the sink, the topic or the broker.
    RecordTooLarge,
    /// The broker refused the record, or the batch it was in.
    Rejected,
    /// The topic or partition does not exist, or the client may not see it.
    UnknownTopicOrPartition,
    /// The client is not authorized for the operation.
    Authorization,
    /// The broker did not accept the client's identity.
    Authentication,
    /// No broker could be reached: name resolution, connection or TLS failed.
    Connection,
    /// Time ran out.
    Timeout,
    /// The broker could not process the request at the moment.
    Broker,
    /// The broker throttles the client because of a quota.
    Throttled,
    /// The circuit breaker is open.
    CircuitOpen,
    /// A bulkhead, a load shedder or a queue has no room.
    Overloaded,
    /// The sink or the transport was closed, or its last handle dropped.
    Closed,
    /// Another producer with the same transactional id took over, or the transaction timed out.
    Fenced,
    /// The transaction cannot go on, or was not in the state for the call.
    Transaction,
    /// The producer cannot go on.
    Fatal,
    /// A layer, filter or serializer of the application refused the message. See
    /// [`Error::refused`](super::Error::refused).
    Refused,
    /// An error that is not known to this library.
    Unknown,
}

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// Try again: it may succeed. [`Persistence`] says whether that can write the record twice.
    Retry,
    /// Trying again at once does not help: wait until the obstacle is gone, or for the record's late report.
    Wait,
    /// Abort the transaction and replay it.
    AbortTransaction,
    /// The producer cannot be used any more: create a new one.
    Fatal,
    /// Do not retry: the same attempt never succeeds.
    Reject,
}

impl Recovery {
    /// The recovery in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Wait => "wait",
            Self::AbortTransaction => "abort_transaction",
            Self::Fatal => "fatal",
            Self::Reject => "reject",
        }
    }
}

/// Whether the record may be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// The record is not in the log.
    NotPersisted,
    /// The record may be in the log: sending it again may write it twice.
    PossiblyPersisted,
    /// The record is in the log.
    Persisted,
}

impl Persistence {
    /// The persistence in `snake_case`, for attributes and documents. `Display` is for sentences.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPersisted => "not_persisted",
            Self::PossiblyPersisted => "possibly_persisted",
            Self::Persisted => "persisted",
        }
    }
}

/// What an error applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// This record.
    Record,
    /// The batch that contained the record. Another record of the batch may be the cause, so a record is rejected for
    /// good only after it failed isolated (alone in its batch).
    Batch,
    /// The partition.
    Partition,
    /// The topic.
    Topic,
    /// A broker.
    Broker,
    /// The client.
    Client,
}

/// Default properties of an error kind.
pub(crate) struct Facts {
    pub(crate) recovery: Recovery,
    pub(super) persistence: Persistence,
    pub(super) scope: Scope,
    pub(super) help: &'static str,
}

impl ErrorKind {
    pub(crate) const fn facts(self) -> Facts {
        use Persistence::{NotPersisted, PossiblyPersisted};
        use Recovery::{AbortTransaction, Fatal, Reject, Retry, Wait};
        let (recovery, persistence, scope, help) = match self {
            Self::Config => (Reject, NotPersisted, Scope::Client, "correct the settings that the message names"),
            Self::Serialization => (Reject, NotPersisted, Scope::Record, "correct the value or its serializer"),
            Self::InvalidRecord => (Reject, NotPersisted, Scope::Record, "correct the record"),
            Self::RecordTooLarge => (Reject, NotPersisted, Scope::Record, "send a smaller record, or raise the limit"),
            Self::Rejected => (
                Reject,
                NotPersisted,
                Scope::Batch,
                "send the record alone to learn whether it or a neighbour in its batch is refused",
            ),
            Self::UnknownTopicOrPartition => (
                Reject,
                NotPersisted,
                Scope::Topic,
                "create the topic or correct its name: kafka-topics.sh --create --topic NAME",
            ),
            Self::Authorization => (Reject, NotPersisted, Scope::Topic, "grant this principal WRITE on the topic"),
            Self::Authentication => {
                (Fatal, NotPersisted, Scope::Client, "check user name, password and `sasl.mechanism`")
            }
            Self::Connection => {
                (Retry, PossiblyPersisted, Scope::Broker, "check that the broker runs and is reachable")
            }
            Self::Timeout => (
                Wait,
                PossiblyPersisted,
                Scope::Record,
                "the record may still arrive: send it again only if a duplicate does no harm",
            ),
            Self::Broker => (Retry, PossiblyPersisted, Scope::Broker, "try again later; check the broker's health"),
            Self::Throttled => (Wait, NotPersisted, Scope::Client, "send at a lower rate, or raise the quota"),
            Self::CircuitOpen => (Wait, NotPersisted, Scope::Client, "wait for the circuit breaker to close"),
            Self::Overloaded => (Wait, NotPersisted, Scope::Client, "wait for room, or raise the limit"),
            Self::Closed => (Fatal, NotPersisted, Scope::Client, "create a new sink"),
            Self::Fenced => (
                Fatal,
                PossiblyPersisted,
                Scope::Client,
                "make the transactional id unique per producer, or the transaction shorter than its time-out",
            ),
            Self::Transaction => (AbortTransaction, NotPersisted, Scope::Client, "abort the transaction and replay it"),
            Self::Fatal => (Fatal, PossiblyPersisted, Scope::Client, "create a new sink"),
            Self::Refused => {
                (Reject, NotPersisted, Scope::Record, "send a message that the application's own layers accept")
            }
            Self::Unknown => (
                Retry,
                PossiblyPersisted,
                Scope::Record,
                "let the layer return an `Error`: `Error::refused` if it refused the message before it was sent",
            ),
        };
        Facts { recovery, persistence, scope, help }
    }

    /// The kind in `snake_case`. For metrics use [`Error::error_type`](super::Error::error_type).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Serialization => "serialization",
            Self::InvalidRecord => "invalid_record",
            Self::RecordTooLarge => "record_too_large",
            Self::Rejected => "rejected",
            Self::UnknownTopicOrPartition => "unknown_topic_or_partition",
            Self::Authorization => "authorization",
            Self::Authentication => "authentication",
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Broker => "broker",
            Self::Throttled => "throttled",
            Self::CircuitOpen => "circuit_open",
            Self::Overloaded => "overloaded",
            Self::Closed => "closed",
            Self::Fenced => "fenced",
            Self::Transaction => "transaction",
            Self::Fatal => "fatal",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// The kind as a value of OpenTelemetry's `error.type`; `_OTHER` is the convention's value for errors without a
    /// name.
    pub(super) const fn error_type(self) -> &'static str {
        match self {
            Self::Unknown => "_OTHER",
            named => named.as_str(),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPersisted => "not written",
            Self::PossiblyPersisted => "may have been written",
            Self::Persisted => "written",
        })
    }
}
