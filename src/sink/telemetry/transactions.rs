use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{
    ConsumerGroup, Control, ControlFuture, Error, ErrorKind, Result, TopicOffset, TransactionControl,
};

use super::SinkTelemetry;

/// The transactions of a transport, whose begin, commit and abort are recorded.
#[derive(Debug)]
pub(in crate::sink) struct TracedTransactions {
    telemetry: SinkTelemetry,
    transport: Arc<dyn TransactionControl>,
}

impl TracedTransactions {
    pub(in crate::sink) fn new(telemetry: SinkTelemetry, transport: Arc<dyn TransactionControl>) -> Self {
        Self { telemetry, transport }
    }

    /// Records a commit that the transport was not asked for.
    pub(in crate::sink) fn refused(&self, error: &Error) {
        self.telemetry.committed(&Err(error.clone()));
    }
}

/// The transaction calls of a transport.
///
/// # Errors
///
/// `Config` if it was not created for transactions.
pub(in crate::sink) fn transactions(control: &dyn Control) -> Result<Arc<dyn TransactionControl>> {
    control.transactions().ok_or_else(no_transactions)
}

/// Error of a call for transactions that the sink does not have.
pub(in crate::sink) fn no_transactions() -> Error {
    Error::new(ErrorKind::Config, "this sink has no transactions")
        .with_help("set `enable_transactions` and a `transactional_id`; your own transport must support them too")
}

impl TransactionControl for TracedTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.transport.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            self.transport.begin(within).await?;
            self.telemetry.begun();
            Ok(())
        })
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            self.telemetry.committing();
            let result = self.transport.commit(within).await;
            self.telemetry.committed(&result);
            result
        })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            self.telemetry.aborting();
            let result = self.transport.abort(within).await;
            self.telemetry.aborted(&result);
            result
        })
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.transport.send_offsets(offsets, group, within)
    }
}
