//! What became of the lines.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::exit::End;
use crate::output::style::{BAD, DOUBT, GOOD};

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A broker has acknowledged it.
    Delivered,
    /// It was sent with acks=0, for which there is no answer.
    Unacknowledged,
    /// It is certainly not in the log.
    NotPersisted,
    /// It failed, and may be in the log.
    PossiblyPersisted,
}

/// How many lines, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Lines that were taken from the input.
    pub(crate) lines: u64,
    /// Blank lines between documents.
    pub(crate) blank: u64,
    pub(crate) delivered: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) not_persisted: u64,
    pub(crate) possibly_persisted: u64,
    /// Bytes of keys, values and headers of what was delivered.
    pub(crate) bytes: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, outcome: Outcome, bytes: u64) {
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Unacknowledged => self.unacknowledged += 1,
            Outcome::NotPersisted => self.not_persisted += 1,
            Outcome::PossiblyPersisted => self.possibly_persisted += 1,
        }
        if matches!(outcome, Outcome::Delivered | Outcome::Unacknowledged) {
            self.bytes += bytes;
        }
    }

    pub(crate) fn failed(&self) -> u64 {
        self.not_persisted + self.possibly_persisted
    }

    /// After a transaction that was not committed: what counted as delivered is not visible (`is_known`), or may be.
    fn without_commit(mut self, is_known: bool) -> Self {
        let written = std::mem::take(&mut self.delivered);
        if is_known {
            self.not_persisted += written + std::mem::take(&mut self.possibly_persisted);
        } else {
            self.possibly_persisted += written;
        }
        self.bytes = 0;
        self
    }
}

/// How the transaction of all lines ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransactionEnd {
    Committed,
    Aborted,
    Unknown,
}

/// The end of `send`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    r#type: &'static str,
    #[serde(flatten)]
    counts: Counts,
    /// Reading stopped before the end of the input: no later line was sent.
    stopped: bool,
    transaction: Option<TransactionEnd>,
    elapsed_ms: u64,
    interrupted: bool,
    #[serde(skip)]
    elapsed: Duration,
    #[serde(skip)]
    end: End,
}

impl Summary {
    /// `stopped`: reading stopped before the end of the input. `interrupted`: how the process ends because of a signal.
    pub(crate) fn new(
        counts: Counts,
        transaction: Option<TransactionEnd>,
        stopped: bool,
        interrupted: Option<End>,
        elapsed: Duration,
    ) -> Self {
        let counts = match transaction {
            Some(TransactionEnd::Aborted) => counts.without_commit(true),
            Some(TransactionEnd::Unknown) => counts.without_commit(false),
            Some(TransactionEnd::Committed) | None => counts,
        };
        let kept = !matches!(transaction, Some(TransactionEnd::Aborted | TransactionEnd::Unknown));
        let good = counts.failed() == 0 && !stopped && kept;
        Self {
            r#type: "summary",
            counts,
            stopped,
            transaction,
            elapsed_ms: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            interrupted: interrupted.is_some(),
            elapsed,
            end: interrupted.unwrap_or(End::of(good)),
        }
    }

    /// How the process ends.
    pub(crate) fn end(&self) -> End {
        self.end
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { lines, blank, delivered, unacknowledged, not_persisted, possibly_persisted, bytes } = self.counts;
        write!(f, "{lines} lines: {GOOD}{delivered} delivered{GOOD:#}")?;
        if blank > 0 {
            write!(f, ", {blank} blank")?;
        }
        if unacknowledged > 0 {
            write!(f, ", {unacknowledged} sent without an answer (acks=0)")?;
        }
        if not_persisted > 0 {
            write!(f, ", {BAD}{not_persisted} not written{BAD:#}")?;
        }
        if possibly_persisted > 0 {
            write!(f, ", {DOUBT}{possibly_persisted} possibly written{DOUBT:#}")?;
        }
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "; {bytes} bytes in {seconds:.1} s")?;
        if seconds > 0.0 {
            write!(f, ", {:.0} lines/s", (delivered + unacknowledged) as f64 / seconds)?;
        }
        match self.transaction {
            Some(TransactionEnd::Committed) => f.write_str("\nthe transaction was committed")?,
            Some(TransactionEnd::Aborted) => {
                write!(f, "\n{BAD}the transaction was aborted{BAD:#}: send all lines again")?
            }
            Some(TransactionEnd::Unknown) => write!(
                f,
                "\n{DOUBT}it is unknown whether the transaction was committed{DOUBT:#}: read the topic before you send a line again"
            )?,
            None => {}
        }
        if self.stopped {
            write!(f, "\n{BAD}stopped{BAD:#}: no line after line {lines} was sent")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(outcomes: &[Outcome]) -> Counts {
        let mut counts = Counts { lines: outcomes.len() as u64, ..Default::default() };
        outcomes.iter().for_each(|outcome| counts.add(*outcome, 10));
        counts
    }

    fn summary(counts: Counts, transaction: Option<TransactionEnd>) -> Summary {
        Summary::new(counts, transaction, false, None, Duration::from_secs(2))
    }

    #[test]
    fn only_lines_that_failed_make_the_end_bad() {
        use Outcome::{Delivered, NotPersisted, PossiblyPersisted, Unacknowledged};
        let end = |outcomes: &[Outcome]| summary(counts(outcomes), None).end();
        assert_eq!(end(&[Delivered, Unacknowledged]), End::Good);
        assert_eq!(end(&[]), End::Good);
        assert_eq!(end(&[Delivered, NotPersisted]), End::Failed);
        assert_eq!(end(&[Delivered, PossiblyPersisted]), End::Failed);
        let left = Summary::new(counts(&[Delivered]), None, true, None, Duration::ZERO);
        assert_eq!(left.end(), End::Failed);
        let stopped = Summary::new(counts(&[Delivered]), None, true, Some(End::Interrupted(2)), Duration::ZERO);
        assert_eq!(stopped.end(), End::Interrupted(2));
        assert!(stopped.to_string().ends_with("no line after line 1 was sent"), "{stopped}");
    }

    #[test]
    fn nothing_of_an_aborted_transaction_was_written() {
        let all = counts(&[Outcome::Delivered, Outcome::Delivered, Outcome::PossiblyPersisted]);
        let aborted = summary(all, Some(TransactionEnd::Aborted));
        assert_eq!((aborted.counts.delivered, aborted.counts.not_persisted, aborted.counts.bytes), (0, 3, 0));
        let unknown = summary(all, Some(TransactionEnd::Unknown));
        assert_eq!((unknown.counts.delivered, unknown.counts.possibly_persisted), (0, 3));
        let committed = summary(counts(&[Outcome::Delivered]), Some(TransactionEnd::Committed));
        assert_eq!((committed.counts.delivered, committed.end()), (1, End::Good));
        assert_eq!(summary(counts(&[]), Some(TransactionEnd::Unknown)).end(), End::Failed);
    }

    #[test]
    fn the_document_has_the_documented_names() {
        let document = serde_json::to_value(summary(counts(&[Outcome::Delivered]), None)).unwrap();
        let names: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "blank",
            "bytes",
            "delivered",
            "elapsed_ms",
            "interrupted",
            "lines",
            "not_persisted",
            "possibly_persisted",
            "stopped",
            "transaction",
            "type",
            "unacknowledged",
        ];
        assert_eq!(names, documented);
    }
}
