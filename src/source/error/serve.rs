//! The errors with which `serve` and `transactional` end.

use kafka_tower_core::source::Span;
use kafka_tower_core::{BoxError, Error, ErrorKind, TopicPartition};

use super::notice::list;
use super::{SourceError, SourceErrorKind};
use crate::source::failure::Failure;

impl SourceError {
    /// A message that [`serve`](crate::source::KafkaSource::serve) or [`transactional`](crate::source::KafkaSource::transactional) gives up.
    pub(in crate::source) fn not_handled(at: &TopicPartition, offset: i64, attempt: u32, failure: Failure) -> Self {
        let (_, what) = failure.own_texts();
        let (kind, source) = match failure {
            Failure::Error(error) => (SourceErrorKind::Handler, Some(error)),
            Failure::Panicked => (SourceErrorKind::Handler, None),
            Failure::TimedOut(_) => (SourceErrorKind::Timeout, None),
        };
        let message = format!("the message at offset {offset} of {at} was not handled: {what} (attempt {attempt})");
        let help = "correct the cause and start again, which reads it again; or choose another failure policy";
        let mut error = Self::of(kind, message, help, vec![at.clone()], None);
        error.0.offset = Some(offset);
        source.into_iter().fold(error, Self::caused_by)
    }

    /// A message that should be dead-lettered and cannot be.
    pub(in crate::source) fn no_dead_letter(at: &TopicPartition, offset: i64, why: &str, help: &'static str) -> Self {
        let message = format!("the message at offset {offset} of {at} was not dead-lettered: {why}");
        let mut error = Self::of(SourceErrorKind::DeadLetter, message, help, vec![at.clone()], None);
        error.0.offset = Some(offset);
        error
    }

    /// The service is not ready for messages any more.
    pub(in crate::source) fn service_ended(source: Option<BoxError>) -> Self {
        let message = "the service does not take messages any more: its `poll_ready` failed".to_owned();
        let help = "correct the cause and start again: messages that were not handled are read again";
        let error = Self::of(SourceErrorKind::Service, message, help, Vec::new(), None);
        source.into_iter().fold(error, Self::caused_by)
    }

    /// The sink can begin no transaction any more.
    pub(in crate::source) fn transaction(source: Error) -> Self {
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
    pub(in crate::source) fn about(mut self, spans: &[Span]) -> Self {
        self.0.partitions = spans.iter().map(|span| span.at.clone()).collect();
        if !self.0.partitions.is_empty() {
            self.0.message.push_str(": ");
            self.0.message.push_str(&list(&self.0.partitions));
        }
        self
    }

    /// The group's committed offsets are those of somebody else.
    pub(in crate::source) fn moved(spans: &[Span], source: Error) -> Self {
        let message = "it is unknown how a transaction ended, and other offsets than its own were committed".to_owned();
        let help = "find out who else commits offsets of this group, and compare the output with the input";
        Self::of(SourceErrorKind::Transaction, message, help, Vec::new(), Some(source)).about(spans)
    }

    pub(in crate::source) fn not_transactional() -> Self {
        let message = "`transactional` needs a source that commits in transactions".to_owned();
        Self::of(SourceErrorKind::Config, message, "set `commit` to `Transaction`", Vec::new(), None)
    }

    pub(in crate::source) fn with_dead_letters() -> Self {
        let message = "`transactional` has no policy with a dead letter service".to_owned();
        let help = "use `Transactional::dead_letters`, which sends dead letters in the transaction, and another policy";
        Self::of(SourceErrorKind::Config, message, help, Vec::new(), None)
    }

    pub(in crate::source) fn foreign_stack() -> Self {
        let message = "a sink over a stack of your own sends no dead letters of `transactional`".to_owned();
        let help = "make the sink with its builder, or make the dead letter one of the handler's outputs";
        Self::of(SourceErrorKind::Config, message, help, Vec::new(), None)
    }

    /// The dead letter of a message of [`transactional`](crate::source::KafkaSource::transactional) is refused.
    pub(in crate::source) fn letter_refused(at: &TopicPartition, offset: i64, source: Error) -> Self {
        let help = "correct the cause and start again: the message is not settled";
        Self::no_dead_letter(at, offset, "it is refused", help).caused_by(source)
    }
}
