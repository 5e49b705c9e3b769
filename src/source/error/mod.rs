//! The error of a source.

mod kind;
mod notice;
mod serve;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{BoxError, Error, RawRecord, TopicPartition, with_causes};
use kafka_tower_layers::dead_letter::FailedRecord;
use tower_service::Service;

use super::letters;
use super::log::Event;
use super::{Acked, Receipt, SourceCloseReport};

pub use self::kind::{SourceErrorKind, SourceRecovery};

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
    help: Cow<'static, str>,
    partitions: Vec<TopicPartition>,
    offset: Option<i64>,
    failed: Option<(FailedRecord, Receipt)>,
    source: Option<BoxError>,
    report: Option<SourceCloseReport>,
}

impl SourceError {
    pub(in crate::source) fn decode(record: RawRecord, receipt: Receipt, attempt: u32, source: Error) -> Self {
        let message = format!("the record could not be decoded: {record}");
        let help = "skip or dead-letter it, or correct the deserializer and restart: until then its partition waits";
        let failed = FailedRecord::new(record, "Decode", "the record could not be decoded")
            .with_attempts(attempt)
            .with_group(Arc::clone(receipt.group()));
        Self::of_failed(SourceErrorKind::Decode, message, help, failed, receipt, source)
    }

    pub(in crate::source) fn dead_letter_failed(failed: FailedRecord, receipt: Receipt, source: Error) -> Self {
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

    /// The source was closed because of this error.
    pub(in crate::source) fn closed_with(mut self, report: SourceCloseReport) -> Self {
        self.0.report = Some(report);
        self
    }

    pub(in crate::source) fn in_transactions() -> Self {
        let message = "a source whose `commit` is `Transaction` is read by `transactional` only".to_owned();
        let help = "call `transactional`, or set `commit` to another strategy";
        Self::of(SourceErrorKind::Config, message, help, Vec::new(), None)
    }

    pub(in crate::source) fn closed() -> Self {
        Self::of(SourceErrorKind::Closed, "the source was closed".to_owned(), "build a new source", Vec::new(), None)
    }

    /// A message was acknowledged too late for its commit.
    pub(in crate::source) fn stale(at: &TopicPartition) -> Self {
        let message = format!("the message of {at} was not committed, because it is read again");
        let help = "go on: its partition was given to another member, or it was given back before";
        Self::of(SourceErrorKind::PartitionsLost, message, help, vec![at.clone()], None)
    }

    /// The application keeps the offsets.
    pub(in crate::source) fn no_commits() -> Self {
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
    pub(in crate::source) fn not_located(at: &TopicPartition, source: BoxError) -> Self {
        let message = format!("the place where {at} begins was not found");
        let help = "go on: it is looked up again, and until then the partition waits";
        Self::of(SourceErrorKind::Seek, message, help, vec![at.clone()], None).caused_by(source)
    }

    /// The end of a partition was not found.
    pub(in crate::source) fn no_end(at: &TopicPartition, source: Error) -> Self {
        let message = format!("the end of {at} was not found");
        Self::of(SourceErrorKind::Seek, message, "repeat it", vec![at.clone()], Some(source))
    }

    /// Without a source, the partition or the offset is to blame.
    pub(in crate::source) fn not_sought(at: &TopicPartition, source: Option<Error>) -> Self {
        let (message, help) = match source {
            Some(_) => (format!("the place to seek to in {at} was not found"), "repeat it"),
            None => (
                format!("no seek in {at}: the source does not read it, or the offset is negative"),
                "seek in the partitions of `assignment()`",
            ),
        };
        Self::of(SourceErrorKind::Seek, message, help, vec![at.clone()], source)
    }

    fn of(
        kind: SourceErrorKind,
        message: String,
        help: impl Into<Cow<'static, str>>,
        partitions: Vec<TopicPartition>,
        source: Option<Error>,
    ) -> Self {
        let (help, (offset, failed, report)) = (help.into(), Default::default());
        let error = Self(Box::new(Inner { kind, message, help, partitions, offset, failed, source: None, report }));
        source.into_iter().fold(error, Self::caused_by)
    }

    /// This error prints its help, and the cause only what happened.
    fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Error::into_cause(source));
        self
    }

    /// What happened.
    pub fn kind(&self) -> SourceErrorKind {
        self.0.kind
    }

    /// How to go on.
    pub fn recovery(&self) -> SourceRecovery {
        if self.0.report.is_some() { SourceRecovery::Stop } else { self.0.kind.recovery() }
    }

    /// One line that says what happened, without cause and help.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The message followed by the chain of causes, in one line. Do not show it to untrusted callers: a cause may contain
    /// anything.
    pub fn message_with_causes(&self) -> String {
        with_causes(self.0.message.clone(), self.source())
    }

    /// One line that says what to do.
    pub fn help(&self) -> &str {
        &self.0.help
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

    pub(in crate::source) fn into_failed(self) -> Option<(FailedRecord, Receipt)> {
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

/// One line: what happened, and what to do. The cause is not included: it is the [`source`](StdError::source), which `anyhow` and
/// `eyre` print themselves, and which prints no help of its own. `{:#}` prints the chain of causes in the same line.
impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            f.write_str(&self.message_with_causes())?;
        } else {
            f.write_str(&self.0.message)?;
        }
        write!(f, " [help: {}]", self.0.help)
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
