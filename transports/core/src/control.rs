use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::outstanding::Outstanding;
use crate::{ControlFuture, Error, Record, Result, Tenant, TransactionControl, TransactionEnd};

/// Control handle of a transport: flush, close, and what is known about its state.
///
/// The handle is taken before the layers are applied, so no layer has to forward these calls. It keeps the transport
/// alive as a service handle does.
// One trait, although a consumer needs only the partition counts, the last error and the generation: a trait for all
// clients would cost each transport a second `impl`, and no code takes both kinds (Rust 1.85 has no `dyn` upcasting).
pub trait Control: Send + Sync + fmt::Debug + 'static {
    /// Resolves when every record called before `flush` is settled. Lingering batches are sent at once.
    ///
    /// Per-record errors are reported by the records' own futures. The flush does not wait for records called later.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting and has no other effect.
    fn flush(&self) -> ControlFuture<'_, ()>;

    /// Rejects new records, waits at most `within` until the records in flight are settled, then gives up the rest:
    /// records that were not handed to a broker are withdrawn.
    ///
    /// Records called later fail with [`ErrorKind::Closed`](crate::ErrorKind::Closed). A second call waits for the
    /// same end, and one of the two calls gets the report. Afterwards nothing is [in flight](Self::in_flight).
    ///
    /// An open transaction is aborted within `within`, so that it does not hold back `read_committed` consumers until
    /// it times out. A commit that has started, or whose outcome is unknown, is continued and never aborted. The
    /// report says how the transaction ended. Dropping the last handle of the transport does the same within a short
    /// time of its own.
    ///
    /// Close and flush start when the method is called, not at the first poll of the future.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the transport closed for new records. Calling `close` again continues the close.
    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport>;

    /// The records that have failed so far and whose futures were neither polled nor dropped since. A layer above may
    /// still send such a record again, and [`flush`](Self::flush) does not wait for that.
    ///
    /// Default: none. A custom transport need not track this.
    fn unseen(&self) -> UnseenFailures {
        UnseenFailures::default()
    }

    /// Number of partitions of the topic, if it is known without asking the cluster. Never blocks.
    fn partition_count(&self, topic: &str) -> Option<u32>;

    /// Counts of the records that are in flight.
    fn in_flight(&self) -> InFlight;

    /// Describes why nothing moves at the moment: the last error of the client or a broker, with its age, or a broker
    /// that does not answer. `None` if there is no such problem or it has ended.
    fn last_error(&self) -> Option<String> {
        None
    }

    /// Number of times the transport has replaced its client: because it was stuck, because it had ended by a fatal error,
    /// or because a late request of the previous transaction could have changed the next one.
    fn generation(&self) -> u64 {
        0
    }

    /// The type of the transport whose errors contain their [records](Error::take_record): of `MyTransport`, it is
    /// `Some(TypeId::of::<MyTransport>())`. A sink over a transport of that type keeps no copy of a record for its retries. It is a
    /// type, because a layer around the transport has errors of its own, which contain no record.
    ///
    /// Default: none. [`DeliveryFuture`](crate::ledger::DeliveryFuture) adds the record to an error.
    fn giver(&self) -> Option<TypeId> {
        None
    }

    /// Opens a control for one of several sinks that share this transport. Its [`tenant`](Self::tenant) is the mark of the
    /// sink's records, and its `flush`, `close`, `unseen` and `in_flight` are about those records alone. Its close refuses
    /// later records of the tenant, and gives up those that are left when the time is over; it ends nothing else. Dropping
    /// it has no effect on the records.
    ///
    /// `None`: the transport cannot tell the records of sinks apart, which is the default, or 65,535 tenants are open. A
    /// transport with a [ledger](crate::ledger) opens a [`TenantControl`](crate::ledger::TenantControl).
    fn open_tenant(&self) -> Option<Arc<dyn Control>> {
        None
    }

    /// The tenant whose records this is about. Default: none, for all records.
    fn tenant(&self) -> Tenant {
        Tenant::default()
    }

    /// Transaction calls, if the transport was created for transactions. The handle keeps the transport alive as this
    /// one does.
    fn transactions(&self) -> Option<Arc<dyn TransactionControl>>;
}

impl dyn Control {
    /// Whether the errors of a service of type `S` contain their records: it is the transport of this control, and not a layer
    /// around it. See [`giver`](Control::giver).
    #[must_use]
    pub fn gives_records_back<S: 'static>(&self) -> bool {
        self.giver() == Some(TypeId::of::<S>())
    }
}

/// Failed records whose futures were neither polled nor dropped: [`Control::unseen`]. It covers the failures before it was
/// taken, and not later ones.
#[derive(Clone, Debug, Default)]
pub struct UnseenFailures(Option<(Arc<Outstanding<Tenant>>, u64, Tenant)>);

impl UnseenFailures {
    /// Takes the failures that a transport has entered into `failures` so far.
    #[must_use]
    pub fn of(failures: &Arc<Outstanding<Tenant>>) -> Self {
        Self::of_tenant(failures, Tenant::default())
    }

    /// Takes those of one tenant, or with none those of all.
    #[must_use]
    pub fn of_tenant(failures: &Arc<Outstanding<Tenant>>, tenant: Tenant) -> Self {
        Self(Some((Arc::clone(failures), failures.next_epoch(), tenant)))
    }

    /// Number of these failures that are still unseen.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |(failures, epoch, tenant)| {
            failures.count_before(*epoch, |failure| tenant.is_none() || failure == tenant)
        })
    }

    /// Resolves when all these failures were seen. For one tenant it also waits for those of the others.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting and has no other effect.
    pub async fn seen(&self) {
        if let Some((failures, epoch, _)) = self.0.as_ref().filter(|_| self.count() > 0) {
            failures.settled(*epoch).await;
        }
    }
}

/// Counts of the records that a transport has accepted and not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// Records that are admitted and not settled.
    pub records: usize,
    /// Bytes of the admitted records.
    pub bytes: usize,
    /// Records that were called and are parked, waiting for room.
    pub parked: usize,
}

/// Result of [`Control::close`]. Each record that was in flight when the close began counts once, by its final
/// outcome.
///
/// `Debug` prints one line: the counts, the end of the transaction, and the topic and error of the first few records. The
/// records themselves are in [`undelivered`](Self::undelivered).
#[derive(Default)]
#[non_exhaustive]
#[must_use = "it holds the records that were not delivered"]
pub struct CloseReport {
    /// Records delivered during the close.
    pub delivered: u64,
    /// Records that are not in the log.
    pub failed: u64,
    /// Records that may be in the log.
    pub unknown: u64,
    /// How the transaction ended that was open when the close began. Records counted as `delivered` belong to it.
    pub transaction: Option<TransactionEnd>,
    /// The records counted in `failed` and `unknown`, with their errors.
    pub undelivered: Vec<Undelivered>,
}

/// A record that was not delivered, or whose outcome is unknown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// The record as the transport received it.
    pub record: Record,
    /// The cause, and whether the record may be in the log.
    pub error: Error,
}

impl CloseReport {
    /// Whether every record was delivered and the outcome of every transaction is known. An aborted transaction has a
    /// known outcome.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.undelivered.is_empty()
            && self.failed == 0
            && self.unknown == 0
            && !matches!(self.transaction, Some(TransactionEnd::Unknown(_)))
    }

    /// Counts the outcome of a record, and keeps the record if it was not delivered.
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

/// Maximum number of records that `Debug` lists.
const SHOWN: usize = 3;

impl fmt::Debug for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown: Vec<String> = self.undelivered.iter().take(SHOWN).map(Undelivered::line).collect();
        if let more @ 1.. = self.undelivered.len().saturating_sub(SHOWN) {
            shown.push(format!("and {more} more"));
        }
        let mut line = f.debug_struct("CloseReport");
        line.field("delivered", &self.delivered).field("failed", &self.failed).field("unknown", &self.unknown);
        if let Some(end) = &self.transaction {
            line.field("transaction", end);
        }
        line.field("undelivered", &shown).finish()
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
    fn debug_shows_the_counts_and_the_first_few_records_only() {
        let mut report = CloseReport::default();
        for _ in 0..5_000 {
            let record = Record::new("orders").with_value("secret");
            report.count(record, &Err::<(), _>(Error::new(ErrorKind::Connection, "cut").with_source("secret")));
        }
        assert_eq!(
            format!("{report:?}"),
            "CloseReport { delivered: 0, failed: 0, unknown: 5000, undelivered: [\
             \"orders: cut (may have been written)\", \"orders: cut (may have been written)\", \
             \"orders: cut (may have been written)\", \"and 4997 more\"] }"
        );
    }
}
