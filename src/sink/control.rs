//! The control handle that a sink returns: the transport's, with the transactions of the sink.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{CloseReport, Control, ControlFuture, InFlight, Tenant, TransactionControl, UnseenFailures};

use super::commit_doubt::CommitDoubt;
use super::completeness::{Completeness, SinkTransactions};
use super::telemetry::{SinkTelemetry, TracedTransactions};

/// Control of a transport with transactions: its transaction calls are recorded, and refuse to commit if a send is missing.
#[derive(Debug)]
struct SinkControl {
    transport: Arc<dyn Control>,
    transactions: Arc<dyn TransactionControl>,
}

/// The transactions of a transport, which all its sinks share: a commit is refused if a send of any of them is missing.
#[derive(Clone, Debug)]
pub(super) struct SharedTransactions {
    pub(super) completeness: Completeness,
    pub(super) transactions: Arc<SinkTransactions>,
}

impl SharedTransactions {
    /// Those of a transport, if it has any.
    pub(super) fn of(transport: &Arc<dyn Control>, telemetry: &SinkTelemetry) -> Option<Self> {
        let (completeness, transactions) = (Completeness::of(&**transport)?, transport.transactions()?);
        // Telemetry is inside, so that it sees a commit only when the transport is asked for it.
        let traced = TracedTransactions::new(telemetry.clone(), Arc::new(CommitDoubt::new(transactions)));
        let transactions = Arc::new(SinkTransactions::new(completeness.clone(), traced));
        Some(Self { completeness, transactions })
    }
}

/// Returns the control handle of a sink over this transport.
pub(super) fn decorate(transport: &Arc<dyn Control>, transactions: Option<&SharedTransactions>) -> Arc<dyn Control> {
    let Some(transactions) = transactions else { return Arc::clone(transport) };
    let transactions = Arc::clone(&transactions.transactions) as Arc<dyn TransactionControl>;
    Arc::new(SinkControl { transport: Arc::clone(transport), transactions })
}

impl Control for SinkControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        self.transport.flush()
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        self.transport.close(within)
    }

    fn unseen(&self) -> UnseenFailures {
        self.transport.unseen()
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.transport.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.transport.in_flight()
    }

    fn last_error(&self) -> Option<String> {
        self.transport.last_error()
    }

    fn giver(&self) -> Option<TypeId> {
        self.transport.giver()
    }

    fn generation(&self) -> u64 {
        self.transport.generation()
    }

    fn tenant(&self) -> Tenant {
        self.transport.tenant()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        Some(Arc::clone(&self.transactions))
    }
}
