//! The errors that say what happened to partitions.

use kafka_tower_core::source::Notice;
use kafka_tower_core::text::count;
use kafka_tower_core::{Error, TopicPartition};

use super::{SourceError, SourceErrorKind};
use crate::source::failure::Failure;

impl SourceError {
    /// The error of a notice. `None` for one that is only logged.
    pub(in crate::source) fn of_notice(notice: Notice) -> Option<Self> {
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
                let help = source.as_ref().map_or_else(|| help.to_owned(), |source| with_help_of(help, source));
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
                let help = with_help_of("go on: it is tried again", &source);
                let kind = SourceErrorKind::Client(source.kind());
                Some(Self::of(kind, message, help, at.into_iter().collect(), Some(source)))
            }
            Notice::Failed(source) => {
                let message = "the client has ended".to_owned();
                let help = with_help_of("build a new source", &source);
                Some(Self::of(SourceErrorKind::Failed, message, help, Vec::new(), Some(source)))
            }
            Notice::Unsettled(_) | Notice::Skipped { .. } | Notice::Stalled(..) | Notice::GoesOn(..) => None,
        }
    }

    /// A method of the application's listener was not successful.
    pub(in crate::source) fn listener(method: &'static str, partitions: &[TopicPartition], failure: Failure) -> Self {
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
            error = error.caused_by(source);
        }
        error
    }
}

/// The cause prints no help of its own.
fn with_help_of(help: &str, cause: &Error) -> String {
    format!("{help}; {}", cause.help())
}

/// At most ten partitions.
pub(super) fn list(partitions: &[TopicPartition]) -> String {
    let mut shown: Vec<_> = partitions.iter().take(10).map(ToString::to_string).collect();
    if let more @ 1.. = partitions.len().saturating_sub(10) {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}
