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
    /// The record is larger than a limit of ours, of the topic or of the broker.
    RecordTooLarge,
    /// The broker refused the record, or the batch it was in.
    Rejected,
    /// The topic or the partition does not exist, or is not visible.
    UnknownTopicOrPartition,
    /// The client may not do this.
    Authorization,
    /// The broker did not accept who we are.
    Authentication,
    /// No broker could be reached: name resolution, connection, TLS.
    Connection,
    /// Time ran out.
    Timeout,
    /// The broker could not do it now.
    Broker,
    /// The broker asks for less.
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
    /// A callback of the user panicked.
    Callback,
    /// A layer, filter or serializer of the application refused the message. Made by [`Error::refused`](super::Error::refused).
    Refused,
    /// Nothing is known of the error.
    Unknown,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// Try again: it may go well. Whether that can write twice is [`Persistence`]'s to say.
    Retry,
    /// Trying at once is of no use: wait for what is missing, or for the record's own late report.
    Wait,
    /// Abort the transaction and replay it.
    AbortTransaction,
    /// This producer is finished; make a new one.
    Fatal,
    /// This will not go well however often it is tried.
    Reject,
}

/// Whether the record may be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// It is not.
    NotPersisted,
    /// Nobody knows: sending again may write it twice.
    PossiblyPersisted,
    /// It is.
    Persisted,
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// This record.
    Record,
    /// The batch that the record was in: a neighbour may be the cause, so a record is rejected for good
    /// only after it was sent alone.
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

/// What a kind says if nothing better is known.
pub(super) struct Facts {
    pub(super) recovery: Recovery,
    pub(super) persistence: Persistence,
    pub(super) scope: Scope,
    pub(super) help: &'static str,
}

impl ErrorKind {
    pub(super) const fn facts(self) -> Facts {
        use Persistence::{NotPersisted, PossiblyPersisted};
        use Recovery::{AbortTransaction, Fatal, Reject, Retry, Wait};
        let (recovery, persistence, scope, help) = match self {
            Self::Config => (Reject, NotPersisted, Scope::Client, "correct the settings that it names"),
            Self::Serialization => (Reject, NotPersisted, Scope::Record, "correct the value or its serializer"),
            Self::InvalidRecord => (Reject, NotPersisted, Scope::Record, "correct the record"),
            Self::RecordTooLarge => {
                (Reject, NotPersisted, Scope::Record, "send less in one record, or raise the limit")
            }
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
            Self::Authorization => (Reject, NotPersisted, Scope::Topic, "let this principal write to the topic"),
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
                "the record may still arrive: do not send it again unless duplicates do no harm",
            ),
            Self::Broker => (Retry, PossiblyPersisted, Scope::Broker, "try again later; look at the broker's health"),
            Self::Throttled => (Wait, NotPersisted, Scope::Client, "send less, or raise the quota"),
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
            Self::Callback => (Wait, PossiblyPersisted, Scope::Client, "find the panic in the callback"),
            Self::Refused => (Reject, NotPersisted, Scope::Record, "send what the application's own layers accept"),
            Self::Unknown => (
                Retry,
                PossiblyPersisted,
                Scope::Record,
                "let the layer return an `Error`: `Error::refused` if it refused the message before it was sent",
            ),
        };
        Facts { recovery, persistence, scope, help }
    }

    /// The kind in `snake_case`. For metrics take [`Error::error_type`](super::Error::error_type).
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
            Self::Callback => "callback",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// The kind as a value of OpenTelemetry's `error.type`, whose name for all that has none is `_OTHER`.
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
