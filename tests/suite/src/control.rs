//! Controls of a transport whose transactions are replaced by a test's own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{
    CloseReport, ConsumerGroup, Control, ControlFuture, InFlight, TopicOffset, TransactionControl, UnseenFailures,
};

/// A transport's control with other transactions.
#[derive(Debug)]
pub struct WithTransactions {
    /// The control of everything else.
    pub below: Arc<dyn Control>,
    /// Its transactions.
    pub transactions: Arc<dyn TransactionControl>,
}

impl Control for WithTransactions {
    fn flush(&self) -> ControlFuture<'_, ()> {
        self.below.flush()
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        self.below.close(within)
    }

    fn unseen(&self) -> UnseenFailures {
        self.below.unseen()
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.below.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.below.in_flight()
    }

    fn last_error(&self) -> Option<String> {
        self.below.last_error()
    }

    fn generation(&self) -> u64 {
        self.below.generation()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        Some(Arc::clone(&self.transactions))
    }
}

/// Replaces the `begin` of a control with transactions. The function gets the transactions below.
///
/// # Panics
///
/// If the control has no transactions.
pub fn with_begin<F>(below: Arc<dyn Control>, begin: F) -> Arc<dyn Control>
where
    F: Fn(Arc<dyn TransactionControl>, Duration) -> ControlFuture<'static, ()> + Send + Sync + 'static,
{
    let transactions = below.transactions().expect("a control with transactions");
    Arc::new(WithTransactions { below, transactions: Arc::new(WithBegin { below: transactions, begin }) })
}

struct WithBegin<F> {
    below: Arc<dyn TransactionControl>,
    begin: F,
}

impl<F> fmt::Debug for WithBegin<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.below.fmt(f)
    }
}

impl<F> TransactionControl for WithBegin<F>
where
    F: Fn(Arc<dyn TransactionControl>, Duration) -> ControlFuture<'static, ()> + Send + Sync + 'static,
{
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        (self.begin)(Arc::clone(&self.below), within)
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.commit(within)
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.abort(within)
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.below.send_offsets(offsets, group, within)
    }
}
