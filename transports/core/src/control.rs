use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Error, Record, Result, TransactionControl, TransactionEnd};

/// The future of a [`Control`] call. Control calls are rare, so that a box costs nothing that matters.
pub type ControlFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The other side of a transport: what is not a record.
///
/// The handle is taken before the layers are put on, so that no layer has to forward it. It keeps the transport alive as
/// a handle does.
pub trait Control: Send + Sync + fmt::Debug + 'static {
    /// Resolves when the fate of each record that was called before is known. Lingering batches go out at once.
    ///
    /// Errors of single records are their futures' to tell. Records called later are not waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting and nothing else.
    fn flush(&self) -> ControlFuture<'_, ()>;

    /// Closes for new records, waits at most `within` for the fate of those on their way, then gives up
    /// on the rest: what was not handed to a broker is withdrawn.
    ///
    /// Records called later fail with [`ErrorKind::Closed`](crate::ErrorKind::Closed). A second call waits for the
    /// same end, and one of the two gets the report. Afterwards nothing is [in flight](Self::in_flight).
    ///
    /// An open transaction is aborted within `within`, so that readers of committed records are not held back until its time runs out.
    /// A commit that is under way, or whose outcome is unknown, is continued and never aborted. The report says how the transaction
    /// ended. Dropping the last handle of the transport does the same within a short time of its own.
    ///
    /// The close begins with the call, as does a flush: not with the first poll.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the transport closed for new records; calling again goes on.
    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport>;

    /// Resolves when each failed record whose failure is known now was seen by its future: polled, or dropped. A layer above may send such
    /// a record again, and until then a flush has not waited for that.
    ///
    /// At once by default: a transport of one's own need not know.
    ///
    /// # Cancel safety
    ///
    /// As [`flush`](Self::flush).
    fn seen(&self) -> ControlFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// How many failed records [`seen`](Self::seen) waits for. They take no room.
    fn unseen(&self) -> usize {
        0
    }

    /// How many partitions the topic has, if that is known without asking: never blocks.
    fn partition_count(&self, topic: &str) -> Option<u32>;

    /// What is on its way.
    fn in_flight(&self) -> InFlight;

    /// Why nothing moves at the moment, in words: the last error of the client or a broker, with its age, or a broker that is
    /// silent. None if nothing is wrong, or what was has ended.
    fn last_error(&self) -> Option<String> {
        None
    }

    /// How many times the transport replaced a client of its that was stuck.
    fn generation(&self) -> u64 {
        0
    }

    /// The transactional side, if the transport was made for transactions.
    fn transactions(&self) -> Option<&dyn TransactionControl>;
}

/// What a transport has taken and not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// Records that are admitted and not settled.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Records that were called and wait for room.
    pub parked: usize,
}

/// How [`Control::close`] ended. Each record that was on its way when the close began counts once, by its final fate.
///
/// Its `Debug` is one line: the counts, and the topic and error of the first few records. The records themselves are in
/// [`undelivered`](Self::undelivered).
#[derive(Default)]
#[non_exhaustive]
#[must_use = "it holds the records that were not delivered"]
pub struct CloseReport {
    /// Records delivered while closing.
    pub delivered: u64,
    /// Records that are not in the log.
    pub failed: u64,
    /// Records that may be in the log.
    pub unknown: u64,
    /// Sends of a sink that had no answer when the time was over, and whose record the transport did not have: they backed off, their
    /// serializer waited, or a layer kept them, as tower's `Buffer` does. Their callers get the outcome if they go on to poll. A record
    /// that such a layer has handed over meanwhile counts above as well. Also sends that had failed and were not polled since.
    pub unfinished: u64,
    /// What is known of those of `unfinished`.
    pub unanswered: Vec<UnansweredSend>,
    /// How a transaction ended that was open when the close began. Records counted as `delivered` belong to it.
    pub transaction: Option<TransactionEnd>,
    /// The records of `failed` and `unknown`, with their errors.
    pub undelivered: Vec<Undelivered>,
}

/// A record that was not delivered, or of which that is not known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// The record as the transport got it.
    pub record: Record,
    /// Why, and whether it may be in the log.
    pub error: Error,
}

/// A send that had no answer when the time of a close was over.
///
/// Its `Debug` has the size of the key in place of the key, as a [`Record`]'s.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct UnansweredSend {
    /// The topic, if the message named one or a layer of this project keeps its record.
    pub topic: Option<Arc<str>>,
    /// The key, likewise.
    pub key: Option<Bytes>,
}

impl UnansweredSend {
    /// Of a topic and a key, as far as they are known.
    #[must_use]
    pub fn new(topic: Option<Arc<str>>, key: Option<Bytes>) -> Self {
        Self { topic, key }
    }
}

impl CloseReport {
    /// Whether each record was delivered, and no transaction was left without a known end. An aborted transaction is a known end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.undelivered.is_empty()
            && self.failed == 0
            && self.unknown == 0
            && self.unfinished == 0
            && !matches!(self.transaction, Some(TransactionEnd::Unknown(_)))
    }

    /// Counts a record's fate; keeps the record if it was not delivered.
    pub fn count<T>(&mut self, record: Record, outcome: &Result<T>) {
        match outcome {
            Ok(_) => self.delivered += 1,
            Err(error) => {
                match error.persistence() {
                    crate::Persistence::NotPersisted => self.failed += 1,
                    _ => self.unknown += 1,
                }
                self.undelivered.push(Undelivered { record, error: error.clone() });
            }
        }
    }
}

impl fmt::Debug for UnansweredSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_bytes = self.key.as_ref().map(Bytes::len);
        f.debug_struct("UnansweredSend").field("topic", &self.topic).field("key_bytes", &key_bytes).finish()
    }
}

/// The most records that `Debug` names.
const SHOWN: usize = 3;

impl fmt::Debug for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown: Vec<String> = self.undelivered.iter().take(SHOWN).map(Undelivered::line).collect();
        if let more @ 1.. = self.undelivered.len().saturating_sub(SHOWN) {
            shown.push(format!("and {more} more"));
        }
        f.debug_struct("CloseReport")
            .field("delivered", &self.delivered)
            .field("failed", &self.failed)
            .field("unknown", &self.unknown)
            .field("unfinished", &self.unfinished)
            .field("undelivered", &shown)
            .finish()
    }
}

impl Undelivered {
    fn line(&self) -> String {
        format!("{}: {} ({})", self.record.topic, self.error.message(), self.error.persistence())
    }
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} delivered, {} not written, {} may have been written", self.delivered, self.failed, self.unknown)?;
        if self.unfinished > 0 {
            write!(f, ", {} waited to be sent", self.unfinished)?;
        }
        match &self.transaction {
            None => Ok(()),
            Some(end) => write!(f, "; {end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn debug_of_an_unanswered_send_has_no_key() {
        let send = UnansweredSend::new(Some("orders".into()), Some("secret".into()));
        assert_eq!(format!("{send:?}"), "UnansweredSend { topic: Some(\"orders\"), key_bytes: Some(6) }");
    }

    #[test]
    fn debug_shows_the_counts_and_the_first_few_records_only() {
        let mut report = CloseReport::default();
        for _ in 0..5_000 {
            let record = Record::new("orders").with_value("secret");
            report.count(record, &Err::<(), _>(Error::new(ErrorKind::Connection, "cut").with_source("secret")));
        }
        assert_eq!(
            format!("{report:?}"),
            "CloseReport { delivered: 0, failed: 0, unknown: 5000, unfinished: 0, undelivered: [\
             \"orders: cut (may have been written)\", \"orders: cut (may have been written)\", \
             \"orders: cut (may have been written)\", \"and 4997 more\"] }"
        );
    }
}
