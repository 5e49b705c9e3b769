use std::time::Duration;

use kafka_tower_core::{ConsumerGroup, ControlFuture, TopicOffset, TransactionControl};

use super::super::deadline;
use super::super::telemetry::TracedTransactions;
use super::{Completeness, ended_meanwhile};

/// The transactions of a transport, whose commit is refused if a send is missing.
///
/// Outside of the telemetry: a commit counts as started only when the transport is asked.
#[derive(Debug)]
pub(in crate::sink) struct CompleteTransactions {
    completeness: Completeness,
    transactions: TracedTransactions,
}

impl CompleteTransactions {
    pub(in crate::sink) fn new(completeness: Completeness, transactions: TracedTransactions) -> Self {
        Self { completeness, transactions }
    }
}

impl TransactionControl for CompleteTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.transactions.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            let was_open = self.completeness.beginning();
            let result = self.transactions.begin(within).await;
            self.completeness.begun(was_open, &result);
            result
        })
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            let begun = deadline::now();
            let transaction = match self.completeness.committing(within).await {
                Ok(Some(transaction)) => transaction,
                // Another transaction may be open by now, so the transport is not asked.
                Ok(None) => return Err(ended_meanwhile()),
                Err(error) => {
                    self.transactions.refused(&error);
                    return Err(error);
                }
            };
            let left = within.saturating_sub(deadline::now().saturating_duration_since(begun));
            let result = self.transactions.commit(left).await;
            self.completeness.committed(transaction, &result);
            result
        })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            let transaction = self.completeness.aborting();
            let result = self.transactions.abort(within).await;
            self.completeness.aborted(transaction, &result);
            result
        })
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.transactions.send_offsets(offsets, group, within)
    }
}
