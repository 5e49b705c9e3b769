use kafka_tower_core::ErrorKind;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// A record could not be decoded.
    Decode,
    /// A dead letter was not delivered, or not for certain. Its record is not settled.
    DeadLetter,
    /// An offset was not committed, or its commit had no answer in time.
    Commit,
    /// A place in a partition was not found, or the partition could not be read from there.
    Seek,
    /// Partitions were lost, or given back before a commit that was asked for: another member may already have read messages
    /// that were not committed.
    PartitionsLost,
    /// The log of a partition begins anew: records that were truncated are lost.
    Restarted,
    /// The next offset of a partition is not in its log any more, and `on_out_of_range` is `Fail`.
    OffsetOutOfRange,
    /// A method of the [`RebalanceListener`](crate::source::RebalanceListener) failed, panicked, or was not ready in time.
    Listener,
    /// The client cannot read at present, for this reason, and goes on trying: for example
    /// [`Authorization`](ErrorKind::Authorization), [`Authentication`](ErrorKind::Authentication), or
    /// [`Connection`](ErrorKind::Connection) if no broker can be reached. Once for each cause, and not with each attempt.
    Client(ErrorKind),
    /// The client has ended by itself, for example because another member has taken its `group_instance_id`.
    Failed,
    /// A message was not handled: the service or handler answered with an error, or panicked.
    Handler,
    /// A message was not handled within [`record_timeout`](crate::source::Serve::record_timeout).
    Timeout,
    /// The service will not be ready for messages any more.
    Service,
    /// The source was closed.
    Closed,
    /// A transaction of the sink failed for good, or its end is not known.
    Transaction,
    /// Another producer took over the sink's transactional id, or may have, because a transaction of the sink timed out.
    Fenced,
    /// The call does not fit the source's configuration.
    Config,
}

/// How to go on after a [`SourceError`](super::SourceError).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceRecovery {
    /// Settle the [record](super::SourceError::record) of the error: its partition waits for that. Others can be received.
    Settle,
    /// [Seek](crate::source::KafkaSource::seek) in the partition of the error, which waits for that. Others can be received.
    Seek,
    /// Go on receiving: the source goes on by itself.
    Continue,
    /// Stop: the source has ended.
    Stop,
}

impl SourceErrorKind {
    pub(super) fn recovery(self) -> SourceRecovery {
        match self {
            Self::Decode | Self::DeadLetter => SourceRecovery::Settle,
            Self::OffsetOutOfRange => SourceRecovery::Seek,
            Self::Commit | Self::Seek | Self::PartitionsLost | Self::Restarted | Self::Listener | Self::Client(_) => {
                SourceRecovery::Continue
            }
            Self::Failed
            | Self::Handler
            | Self::Timeout
            | Self::Service
            | Self::Closed
            | Self::Transaction
            | Self::Fenced
            | Self::Config => SourceRecovery::Stop,
        }
    }
}
