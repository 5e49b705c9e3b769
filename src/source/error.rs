use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use kafka_tower_core::source::{Notice, Span};
use kafka_tower_core::text::count;
use kafka_tower_core::{BoxError, Error, ErrorKind, RawRecord, TopicPartition};
use kafka_tower_layers::dead_letter::FailedRecord;
use tower_service::Service;

use super::failure::Failure;
use super::letters;
use super::log::Event;
use super::{Acked, Receipt, SourceCloseReport};

/// Error of a source. One pointer wide.
///
/// An error with the recovery [`Settle`](SourceRecovery::Settle) holds a record: [`dead_letter`](Self::dead_letter) or
/// [`skip`](Self::skip) settle it. If the error is dropped instead, the record is delivered again after a back-off, and its
/// partition waits until then.
#[must_use = "the record of an error that is dropped comes again"]
pub struct SourceError(Box<Inner>);

struct Inner {
    kind: SourceErrorKind,
    message: String,
    help: &'static str,
    partitions: Vec<TopicPartition>,
    offset: Option<i64>,
    failed: Option<(FailedRecord, Receipt)>,
    source: Option<BoxError>,
    report: Option<SourceCloseReport>,
}

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
    /// A method of the [`RebalanceListener`](super::RebalanceListener) failed, panicked, or was not ready in time.
    Listener,
    /// The client cannot read at present, for this reason, and goes on trying: for example
    /// [`Authorization`](ErrorKind::Authorization), [`Authentication`](ErrorKind::Authentication), or
    /// [`Connection`](ErrorKind::Connection) if no broker can be reached. Once for each cause, and not with each attempt.
    Client(ErrorKind),
    /// The client has ended by itself, for example because another member has taken its `group_instance_id`.
    Failed,
    /// A message was not handled: the service or handler answered with an error, or panicked.
    Handler,
    /// A message was not handled within [`record_timeout`](super::Serve::record_timeout).
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

/// How to go on after a [`SourceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceRecovery {
    /// Settle the [record](SourceError::record) of the error: its partition waits for that. Others can be received.
    Settle,
    /// [Seek](super::KafkaSource::seek) in the partition of the error, which waits for that. Others can be received.
    Seek,
    /// Go on receiving: the source goes on by itself.
    Continue,
    /// Stop: the source has ended.
    Stop,
}

impl SourceError {
    pub(super) fn decode(record: RawRecord, receipt: Receipt, attempt: u32, source: Error) -> Self {
        let message = format!("the record could not be decoded: {record}");
        let help = "skip or dead-letter it, or correct the deserializer and restart: until then its partition waits";
        let failed = FailedRecord::new(record, "Decode", "the record could not be decoded")
            .with_attempts(attempt)
            .with_group(Arc::clone(receipt.group()));
        Self::of_failed(SourceErrorKind::Decode, message, help, failed, receipt, source)
    }

    pub(super) fn dead_letter_failed(failed: FailedRecord, receipt: Receipt, source: Error) -> Self {
        let may_be = if source.may_be_written() { "may not have been delivered" } else { "was not delivered" };
        let message = format!("the dead letter {may_be}: {}", failed.record);
        let help = "correct the cause and drop this error, which sends it again after a back-off; its partition waits";
        Self::of_failed(SourceErrorKind::DeadLetter, message, help, failed, receipt, source)
    }

    fn of_failed(
        kind: SourceErrorKind,
        message: String,
        help: &'static str,
        failed: FailedRecord,
        receipt: Receipt,
        source: Error,
    ) -> Self {
        let mut error = Self::of(kind, message, help, vec![receipt.at().clone()], Some(source));
        error.0.offset = Some(receipt.offset());
        error.0.failed = Some((failed, receipt));
        error
    }

    /// A message that [`serve`](super::KafkaSource::serve) or [`transactional`](super::KafkaSource::transactional) gives up.
    pub(super) fn not_handled(at: &TopicPartition, offset: i64, attempt: u32, failure: Failure) -> Self {
        let (_, what) = failure.own_texts();
        let (kind, source) = match failure {
            Failure::Error(error) => (SourceErrorKind::Handler, Some(error)),
            Failure::Panicked => (SourceErrorKind::Handler, None),
            Failure::TimedOut(_) => (SourceErrorKind::Timeout, None),
        };
        let message = format!("the message at offset {offset} of {at} was not handled: {what} (attempt {attempt})");
        let help = "correct the cause and start again, which reads it again; or choose another failure policy";
        let mut error = Self::of(kind, message, help, vec![at.clone()], None);
        (error.0.offset, error.0.source) = (Some(offset), source);
        error
    }

    /// A message that should be dead-lettered and cannot be.
    pub(super) fn no_dead_letter(at: &TopicPartition, offset: i64, why: &str, help: &'static str) -> Self {
        let message = format!("the message at offset {offset} of {at} was not dead-lettered: {why}");
        let mut error = Self::of(SourceErrorKind::DeadLetter, message, help, vec![at.clone()], None);
        error.0.offset = Some(offset);
        error
    }

    /// The service is not ready for messages any more.
    pub(super) fn service_ended(source: Option<BoxError>) -> Self {
        let message = "the service does not take messages any more: its `poll_ready` failed".to_owned();
        let help = "correct the cause and start again: messages that were not handled are read again";
        let mut error = Self::of(SourceErrorKind::Service, message, help, Vec::new(), None);
        error.0.source = source;
        error
    }

    /// The source was closed because of this error.
    pub(super) fn closed_with(mut self, report: SourceCloseReport) -> Self {
        self.0.report = Some(report);
        self
    }

    /// The sink can begin no transaction any more.
    pub(super) fn transaction(source: Error) -> Self {
        let (kind, message, help) = match source.kind() {
            ErrorKind::Fenced => (
                SourceErrorKind::Fenced,
                "the brokers refuse the transactional id of the sink",
                "stop the other producer that has it; if there is none, make transactions shorter, and restart: what is not \
                 committed is read again",
            ),
            _ => (
                SourceErrorKind::Transaction,
                "a transaction was given up",
                "remove the cause, and restart: what is not committed is read again",
            ),
        };
        Self::of(kind, message.to_owned(), help, Vec::new(), Some(source))
    }

    /// An aborted transaction contained the messages of these partitions.
    pub(super) fn about(mut self, spans: &[Span]) -> Self {
        self.0.partitions = spans.iter().map(|span| span.at.clone()).collect();
        if !self.0.partitions.is_empty() {
            self.0.message.push_str(": ");
            self.0.message.push_str(&list(&self.0.partitions));
        }
        self
    }

    /// The group's committed offsets are those of somebody else.
    pub(super) fn moved(spans: &[Span], source: Error) -> Self {
        let message = "it is unknown how a transaction ended, and other offsets than its own were committed".to_owned();
        let help = "find out who else commits offsets of this group, and compare the output with the input";
        Self::of(SourceErrorKind::Transaction, message, help, Vec::new(), Some(source)).about(spans)
    }

    pub(super) fn not_transactional() -> Self {
        let message = "`transactional` needs a source that commits in transactions".to_owned();
        Self::of(SourceErrorKind::Config, message, "set `commit` to `Transaction`", Vec::new(), None)
    }

    pub(super) fn with_dead_letters() -> Self {
        let message = "`transactional` has no policy with a dead letter service".to_owned();
        let help = "use `Transactional::dead_letters`, which sends dead letters in the transaction, and another policy";
        Self::of(SourceErrorKind::Config, message, help, Vec::new(), None)
    }

    pub(super) fn foreign_stack() -> Self {
        let message = "a sink over a stack of your own sends no dead letters of `transactional`".to_owned();
        let help = "make the sink with its builder, or make the dead letter one of the handler's outputs";
        Self::of(SourceErrorKind::Config, message, help, Vec::new(), None)
    }

    /// The dead letter of a message of [`transactional`](super::KafkaSource::transactional) is refused.
    pub(super) fn letter_refused(at: &TopicPartition, offset: i64, source: Error) -> Self {
        let help = "correct the cause and start again: the message is not settled";
        let mut error = Self::no_dead_letter(at, offset, "it is refused", help);
        error.0.source = Some(source.into());
        error
    }

    pub(super) fn in_transactions() -> Self {
        let message = "a source whose `commit` is `Transaction` is read by `transactional` only".to_owned();
        let help = "call `transactional`, or set `commit` to another strategy";
        Self::of(SourceErrorKind::Config, message, help, Vec::new(), None)
    }

    pub(super) fn closed() -> Self {
        Self::of(SourceErrorKind::Closed, "the source was closed".to_owned(), "build a new source", Vec::new(), None)
    }

    /// A message was acknowledged too late for its commit.
    pub(super) fn stale(at: &TopicPartition) -> Self {
        let message = format!("the message of {at} was not committed, because it is read again");
        let help = "go on: its partition was given to another member, or it was given back before";
        Self::of(SourceErrorKind::PartitionsLost, message, help, vec![at.clone()], None)
    }

    /// The application keeps the offsets.
    pub(super) fn no_commits() -> Self {
        let message = "nothing is committed by itself: `commit` is `Checkpoint`".to_owned();
        Self::of(
            SourceErrorKind::Config,
            message,
            "call `commit_checkpoint`, or use another strategy",
            Vec::new(),
            None,
        )
    }

    /// The place where a partition begins was not found. It is looked up again.
    pub(super) fn not_located(at: &TopicPartition, source: BoxError) -> Self {
        let message = format!("the place where {at} begins was not found");
        let help = "go on: it is looked up again, and until then the partition waits";
        let mut error = Self::of(SourceErrorKind::Seek, message, help, vec![at.clone()], None);
        error.0.source = Some(source);
        error
    }

    /// A method of the application's listener was not successful.
    pub(super) fn listener(method: &'static str, partitions: &[TopicPartition], failure: Failure) -> Self {
        let what = match &failure {
            Failure::Error(_) => "failed".to_owned(),
            Failure::Panicked => "panicked".to_owned(),
            Failure::TimedOut(time) => format!("was not ready within {time:?}"),
        };
        let message = format!("`{method}` of the listener {what}: {}", list(partitions));
        let help = match method {
            "assigned" => "go on: it is repeated, and until then the partitions wait",
            "revoked" => "go on: what was settled since the last commit is read again by the next owner",
            _ => "go on: the partitions are given back in any case",
        };
        let mut error = Self::of(SourceErrorKind::Listener, message, help, partitions.to_vec(), None);
        if let Failure::Error(source) = failure {
            error.0.source = Some(source);
        }
        error
    }

    /// The end of a partition was not found.
    pub(super) fn no_end(at: &TopicPartition, source: Error) -> Self {
        let message = format!("the end of {at} was not found");
        Self::of(SourceErrorKind::Seek, message, "repeat it", vec![at.clone()], Some(source))
    }

    /// Without a source, the partition or the offset is to blame.
    pub(super) fn not_sought(at: &TopicPartition, source: Option<Error>) -> Self {
        let (message, help) = match source {
            Some(_) => (format!("the place to seek to in {at} was not found"), "repeat it"),
            None => (
                format!("no seek in {at}: the source does not read it, or the offset is negative"),
                "seek in the partitions of `assignment()`",
            ),
        };
        Self::of(SourceErrorKind::Seek, message, help, vec![at.clone()], source)
    }

    /// The error of a notice. `None` for one that is only logged.
    pub(super) fn of_notice(notice: Notice) -> Option<Self> {
        match notice {
            Notice::Lost(partitions) => {
                let message = format!("lost {}: {}", count(partitions.len(), "partition"), list(&partitions));
                let help = "go on: messages that were not committed are read again";
                Some(Self::of(SourceErrorKind::PartitionsLost, message, help, partitions, None))
            }
            Notice::Gone(partitions) => {
                let message = format!(
                    "acknowledged messages were not committed before their partitions were given back or lost: {}",
                    list(&partitions)
                );
                let help = "go on: the messages are read again";
                Some(Self::of(SourceErrorKind::PartitionsLost, message, help, partitions, None))
            }
            Notice::NotCommitted(partitions, source) => {
                let what = if source.is_some() { "was refused" } else { "had no answer in time" };
                let message = format!("a commit {what}: {}", list(&partitions));
                let help = "go on: the offsets are committed again; after a crash their messages are read again";
                Some(Self::of(SourceErrorKind::Commit, message, help, partitions, source))
            }
            Notice::Behind(partitions) => {
                let message = format!(
                    "a message was not committed in time: others before it are not settled: {}",
                    list(&partitions)
                );
                let help = "go on: it is committed when they are acknowledged";
                Some(Self::of(SourceErrorKind::Commit, message, help, partitions, None))
            }
            Notice::Moved(partitions) => {
                let message = format!("a commit was overtaken by a seek: {}", list(&partitions));
                let help = "go on: what the seek asked for is committed";
                Some(Self::of(SourceErrorKind::Commit, message, help, partitions, None))
            }
            Notice::Restarted(at, from) => {
                let message = format!(
                    "the log of {at} was truncated, or its topic was created again: it is read from offset {from}"
                );
                let help = "go on: what was truncated is lost, and acknowledging messages of before has no effect";
                let mut error = Self::of(SourceErrorKind::Restarted, message, help, vec![at], None);
                error.0.offset = Some(from);
                Some(error)
            }
            Notice::OutOfRange { at, offset, start, end } => {
                let message =
                    format!("offset {offset} of {at} is not in the log, which has those from {start} to {end}");
                let help = "`seek` in the partition, which waits for that; or set `on_out_of_range` and restart";
                let mut error = Self::of(SourceErrorKind::OffsetOutOfRange, message, help, vec![at], None);
                error.0.offset = Some(offset);
                Some(error)
            }
            Notice::Unable(source, at) => {
                let message = match &at {
                    Some(at) => format!("{at} cannot be read at present"),
                    None => "the client cannot read at present".to_owned(),
                };
                let help = "go on: it is tried again; remove the cause, which `source` names";
                let kind = SourceErrorKind::Client(source.kind());
                Some(Self::of(kind, message, help, at.into_iter().collect(), Some(source)))
            }
            Notice::Failed(source) => {
                let message = "the client has ended".to_owned();
                Some(Self::of(SourceErrorKind::Failed, message, "build a new source", Vec::new(), Some(source)))
            }
            Notice::Unsettled(_) | Notice::Skipped { .. } | Notice::Stalled(..) | Notice::GoesOn(..) => None,
        }
    }

    fn of(
        kind: SourceErrorKind,
        message: String,
        help: &'static str,
        partitions: Vec<TopicPartition>,
        source: Option<Error>,
    ) -> Self {
        let source = source.map(BoxError::from);
        Self(Box::new(Inner { kind, message, help, partitions, offset: None, failed: None, source, report: None }))
    }

    /// What happened.
    pub fn kind(&self) -> SourceErrorKind {
        self.0.kind
    }

    /// How to go on.
    pub fn recovery(&self) -> SourceRecovery {
        match self.0.kind {
            _ if self.0.report.is_some() => SourceRecovery::Stop,
            SourceErrorKind::Decode | SourceErrorKind::DeadLetter => SourceRecovery::Settle,
            SourceErrorKind::OffsetOutOfRange => SourceRecovery::Seek,
            SourceErrorKind::Commit
            | SourceErrorKind::Seek
            | SourceErrorKind::PartitionsLost
            | SourceErrorKind::Restarted
            | SourceErrorKind::Listener
            | SourceErrorKind::Client(_) => SourceRecovery::Continue,
            SourceErrorKind::Failed
            | SourceErrorKind::Handler
            | SourceErrorKind::Timeout
            | SourceErrorKind::Service
            | SourceErrorKind::Closed
            | SourceErrorKind::Transaction
            | SourceErrorKind::Fenced
            | SourceErrorKind::Config => SourceRecovery::Stop,
        }
    }

    /// One line that says what happened, without cause and help.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// One line that says what to do.
    pub fn help(&self) -> &str {
        self.0.help
    }

    /// The partitions that the error is about.
    pub fn partitions(&self) -> &[TopicPartition] {
        &self.0.partitions
    }

    /// Partition and offset of the message that the error is about, if it is about one.
    pub fn place(&self) -> Option<(&TopicPartition, i64)> {
        self.0.partitions.first().zip(self.0.offset)
    }

    /// How the source was closed, if [`serve`](super::KafkaSource::serve) or
    /// [`transactional`](super::KafkaSource::transactional) ended with this error.
    pub fn close_report(&self) -> Option<&SourceCloseReport> {
        self.0.report.as_ref()
    }

    /// The original record, with its bytes, of an error that holds one.
    pub fn record(&self) -> Option<&RawRecord> {
        self.0.failed.as_ref().map(|(failed, _)| &failed.record)
    }

    pub(super) fn into_failed(self) -> Option<(FailedRecord, Receipt)> {
        self.0.failed
    }

    /// Sends the record to a dead letter topic, and settles it when its dead letter is delivered. `service` is usually a
    /// [`DeadLetter`](crate::layers::dead_letter) over a transport or a sink.
    ///
    /// # Errors
    ///
    /// An error of the kind [`DeadLetter`](SourceErrorKind::DeadLetter), which holds the record, if it was not delivered for
    /// certain. This error, if it holds no record.
    ///
    /// # Cancel safety
    ///
    /// The record is not settled and comes again. Its dead letter may be delivered nevertheless.
    pub async fn dead_letter<S>(self, service: S) -> Result<Acked, Self>
    where
        S: Service<FailedRecord>,
        S::Error: Into<Error>,
    {
        let Some((failed, receipt)) = self.0.failed else { return Err(self) };
        match letters::send(service, failed.clone()).await {
            Ok(()) => Ok(letters::delivered(&failed, &receipt)),
            Err(error) => Err(Self::dead_letter_failed(failed, receipt, error)),
        }
    }

    /// Settles the record without handling it: it is not delivered again. Returns the record. `None` for an error that holds
    /// none.
    ///
    /// Keep the record somewhere else, unless it may be lost. The place is logged.
    pub fn skip(self) -> Option<(RawRecord, Acked)> {
        let (FailedRecord { record, .. }, receipt) = self.0.failed?;
        let acked = receipt.skip();
        if acked == Acked::Counted {
            receipt.log(Event::Skipped, None, None);
        }
        Some((record, acked))
    }
}

/// At most ten partitions.
fn list(partitions: &[TopicPartition]) -> String {
    let mut shown: Vec<_> = partitions.iter().take(10).map(ToString::to_string).collect();
    if let more @ 1.. = partitions.len().saturating_sub(10) {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [help: {}]", self.0.message, self.0.help)
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
