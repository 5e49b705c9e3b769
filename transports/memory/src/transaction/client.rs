//! A producer's view of its own transaction. No clock, no lock, no async.
//!
//! ```text
//! New --init--> Ready --begin--> Open --commit--> Committing --answer--> Ready
//!                                  |                   |
//!                                  +--a record failed--+--> MustAbort --abort--> Aborting --answer--> Ready
//! ```
//! Fencing and closing end it from any phase.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Result, TransactionEnd};

use super::coordinator::Identity;
use crate::errors::transaction as errors;

#[derive(Debug)]
pub(crate) struct TxnClient {
    pub(crate) id: Arc<str>,
    /// `transaction.timeout.ms`.
    pub(crate) timeout: Duration,
    identity: Option<Identity>,
    phase: Phase,
    /// Partitions registered with the coordinator in this transaction.
    registered: BTreeSet<(Arc<str>, i32)>,
    has_offsets: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    New,
    Ready,
    Open,
    MustAbort(Error),
    /// `asked`: a request was sent, whose answer may be lost.
    Committing {
        asked: bool,
    },
    Aborting,
    Finished(Error),
    /// The transport was closed; contains how that ended the transaction.
    Closed(TransactionEnd),
}

/// How a close has to end a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtClose {
    Abort,
    /// An abort could undo a commit that the coordinator has carried out: only the commit may be continued.
    Commit,
}

/// Whether a request to the broker is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Yes, with this identity.
    As(Identity),
    /// No: nothing was registered there, so nothing has to end.
    Nothing,
}

impl TxnClient {
    pub(crate) fn new(id: Arc<str>, timeout: Duration) -> Self {
        let (registered, has_offsets) = (BTreeSet::new(), false);
        Self { id, timeout, identity: None, phase: Phase::New, registered, has_offsets }
    }

    pub(crate) fn may_init(&self) -> Result<()> {
        match &self.phase {
            Phase::New => Ok(()),
            Phase::Finished(error) => Err(error.clone()),
            _ => Err(errors::misuse("init", "init was already called")),
        }
    }

    /// Whether the producer has ended, and a new one with its id may go on: no other producer has the id.
    pub(crate) fn is_replaceable(&self) -> bool {
        matches!(&self.phase, Phase::Finished(error) if error.kind() != ErrorKind::Fenced)
    }

    pub(crate) fn initialized(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.phase = Phase::Ready;
    }

    pub(crate) fn begin(&mut self) -> Result<()> {
        match &self.phase {
            Phase::Ready => {}
            Phase::New => return Err(errors::misuse("begin", "call init first")),
            Phase::Open => return Err(errors::misuse("begin", "a transaction is already open")),
            Phase::MustAbort(_) => return Err(errors::misuse("begin", "abort the failed transaction first")),
            Phase::Committing { .. } => return Err(errors::under_way("begin", "commit")),
            Phase::Aborting => return Err(errors::under_way("begin", "abort")),
            Phase::Finished(error) => return Err(error.clone()),
            Phase::Closed(_) => return Err(errors::call_after_close("begin")),
        }
        self.phase = Phase::Open;
        self.registered.clear();
        self.has_offsets = false;
        Ok(())
    }

    /// Whether a record, or a consumer's offsets, may join the transaction.
    pub(crate) fn may_join(&self, what: &'static str) -> Result<()> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::New | Phase::Ready => Err(errors::misuse(what, "no transaction is open")),
            Phase::MustAbort(cause) => Err(errors::must_abort(what, cause)),
            Phase::Committing { .. } => Err(errors::under_way(what, "commit")),
            Phase::Aborting => Err(errors::under_way(what, "abort")),
            Phase::Finished(error) => Err(error.clone()),
            Phase::Closed(_) => Err(errors::call_after_close(what)),
        }
    }

    /// Returns the identity for appending a record that joined before, and whether the coordinator knows the
    /// partition.
    pub(crate) fn append(&mut self, topic: &Arc<str>, partition: i32) -> Result<(Identity, bool)> {
        match (&self.phase, self.identity) {
            (Phase::Open | Phase::MustAbort(_) | Phase::Committing { .. } | Phase::Aborting, Some(identity)) => {
                let known = self.registered.contains(&(Arc::clone(topic), partition));
                Ok((identity, known))
            }
            (Phase::Finished(error), _) => Err(error.clone()),
            _ => Err(errors::misuse("send", "its transaction has ended")),
        }
    }

    pub(crate) fn registered(&mut self, topic: &Arc<str>, partition: i32) {
        self.registered.insert((Arc::clone(topic), partition));
    }

    /// Records that a record of the transaction failed: the whole transaction must be aborted.
    pub(crate) fn record_failed(&mut self, error: &Error) {
        match self.phase {
            Phase::Open | Phase::Committing { asked: false } if error.kind() == ErrorKind::Fenced => {
                self.phase = Phase::Finished(error.clone());
            }
            Phase::Open | Phase::Committing { asked: false } => self.phase = Phase::MustAbort(error.clone()),
            _ => {}
        }
    }

    /// Starts or continues a commit: the transaction accepts no more records.
    pub(crate) fn begin_commit(&mut self) -> Result<()> {
        match &self.phase {
            Phase::Open => self.phase = Phase::Committing { asked: false },
            Phase::Committing { .. } => {}
            Phase::New | Phase::Ready => return Err(errors::misuse("commit", "no transaction is open")),
            Phase::MustAbort(cause) => return Err(errors::must_abort("commit", cause)),
            Phase::Aborting => return Err(errors::under_way("commit", "abort")),
            Phase::Finished(error) | Phase::Closed(TransactionEnd::Unknown(error)) => return Err(error.clone()),
            Phase::Closed(TransactionEnd::Committed) => {}
            Phase::Closed(_) => return Err(errors::call_after_close("commit")),
        }
        Ok(())
    }

    pub(crate) fn begin_abort(&mut self) -> Result<()> {
        match &self.phase {
            Phase::Open | Phase::MustAbort(_) => self.phase = Phase::Aborting,
            Phase::Aborting => {}
            Phase::New | Phase::Ready => return Err(errors::misuse("abort", "no transaction is open")),
            Phase::Committing { .. } => return Err(errors::under_way("abort", "commit")),
            Phase::Finished(error) | Phase::Closed(TransactionEnd::Unknown(error)) => return Err(error.clone()),
            Phase::Closed(TransactionEnd::Aborted) => {}
            Phase::Closed(_) => return Err(errors::call_after_close("abort")),
        }
        Ok(())
    }

    /// Called when all records have their reports. Returns what to request from the coordinator.
    ///
    /// # Errors
    ///
    /// If a record failed meanwhile.
    pub(crate) fn ask_end(&mut self, commit: bool) -> Result<Ask> {
        match &mut self.phase {
            Phase::Committing { asked } if commit => *asked = true,
            Phase::Aborting if !commit => {}
            Phase::MustAbort(cause) => return Err(errors::must_abort("commit", cause)),
            Phase::Finished(error) => return Err(error.clone()),
            // Another call of the same kind has ended it meanwhile.
            _ => return Ok(Ask::Nothing),
        }
        match self.identity {
            Some(identity) if self.has_offsets || !self.registered.is_empty() => Ok(Ask::As(identity)),
            _ => Ok(Ask::Nothing),
        }
    }

    /// Whether a commit request was sent before.
    pub(crate) fn was_asked(&self) -> bool {
        matches!(self.phase, Phase::Committing { asked: true })
    }

    /// Records that the transaction ended as requested.
    pub(crate) fn ended(&mut self) {
        if matches!(self.phase, Phase::Committing { .. } | Phase::Aborting) {
            self.phase = Phase::Ready;
        }
    }

    /// Records a refusal by the broker after which only an abort can follow.
    pub(crate) fn failed(&mut self, error: &Error) {
        self.phase = Phase::MustAbort(error.clone());
    }

    /// Marks the producer as unusable.
    pub(crate) fn finish(&mut self, error: &Error) {
        self.phase = Phase::Finished(error.clone());
    }

    /// How a close has to end the open transaction, if there is one.
    pub(crate) fn at_close(&self) -> Option<AtClose> {
        match self.phase {
            Phase::Open | Phase::MustAbort(_) | Phase::Aborting => Some(AtClose::Abort),
            Phase::Committing { .. } => Some(AtClose::Commit),
            Phase::New | Phase::Ready | Phase::Finished(_) | Phase::Closed(_) => None,
        }
    }

    /// Records how the close ended the transaction: later calls get that result.
    pub(crate) fn closed(&mut self, end: TransactionEnd) {
        self.phase = Phase::Closed(end);
    }

    pub(crate) fn ask_offsets(&self) -> Result<Identity> {
        self.may_join("send_offsets")?;
        self.identity.ok_or_else(|| errors::misuse("send_offsets", "call init first"))
    }

    pub(crate) fn has_offsets(&mut self) {
        self.has_offsets = true;
    }
}

#[cfg(test)]
mod tests;
