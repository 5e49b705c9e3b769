//! Flush and close.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::{RecordTransport, TenantControl};
use kafka_tower_core::{
    CloseReport, Control, ControlFuture, InFlight, Result, TransactionControl, TransactionEnd, UnseenFailures,
};
use tokio::time::{Instant, timeout_at};

use super::future::Owner;
use super::inner::Lane;

/// Part of a close's time, at most, that is kept for the transports below: they abort what the layer gave up.
const RESERVE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct BatchControl(Arc<Owner>);

impl BatchControl {
    pub(super) fn new(owner: Arc<Owner>) -> Self {
        Self(owner)
    }

    fn controls(&self) -> Vec<Arc<dyn Control>> {
        self.0.0.lanes.iter().map(Lane::control).collect()
    }
}

impl Control for BatchControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        let inner = &self.0.0;
        let (flush, urgent) = (inner.flush(), inner.urgent());
        Box::pin(async move {
            flush.await;
            drop(urgent);
            Ok(())
        })
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        let inner = &self.0.0;
        let waiter = inner.ledger().closing().begin(None);
        inner.gate().close();
        inner.notify_lanes();
        let flush = inner.flush();
        let end = Instant::from_std(later(inner.now(), within));
        let drained = end - (within / 4).min(RESERVE);
        Box::pin(async move {
            if timeout_at(drained, flush).await.is_err() {
                inner.give_up();
                inner.flush().await;
            }
            let left = end.saturating_duration_since(Instant::now());
            let controls = self.controls();
            let closed = all(controls.iter().map(|control| control.close(left)).collect()).await;
            inner.ledger().closing().transaction_ended(worst(closed));
            Ok(waiter.report())
        })
    }

    fn unseen(&self) -> UnseenFailures {
        self.0.0.ledger().unseen_failures()
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.0.0.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.0.0.gate().in_flight()
    }

    fn last_error(&self) -> Option<String> {
        let trouble = || self.0.0.lanes.iter().find_map(Lane::trouble).map(|trouble| trouble.to_string());
        self.controls().iter().find_map(|control| control.last_error()).or_else(trouble)
    }

    fn generation(&self) -> u64 {
        self.0.0.lanes.iter().map(Lane::generation).sum()
    }

    fn open_tenant(&self) -> Option<Arc<dyn Control>> {
        TenantControl::open(&self.0.0, Arc::new(Self(Arc::clone(&self.0))))
    }

    /// None: the layer begins and ends the transactions.
    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}

/// Awaits all closes, which have started.
async fn all(mut open: Vec<ControlFuture<'_, CloseReport>>) -> Vec<Result<CloseReport>> {
    let mut done: Vec<Option<Result<CloseReport>>> = open.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, done) in open.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(report) = future.as_mut().poll(cx) {
                *done = Some(report);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Returns the end of the lanes' transactions that says least: an unknown one before an aborted one. A close that failed
/// says nothing about a transaction. The records are in the layer's own report.
fn worst(closed: Vec<Result<CloseReport>>) -> Option<TransactionEnd> {
    let mut worst = None;
    for report in closed {
        let end = report.map_or_else(|error| Some(TransactionEnd::Unknown(error)), |report| report.transaction);
        let rank = |end: &Option<TransactionEnd>| match end {
            None => 0,
            Some(TransactionEnd::Committed) => 1,
            Some(TransactionEnd::Aborted) => 2,
            Some(_) => 3,
        };
        if rank(&end) > rank(&worst) {
            worst = end;
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{Error, ErrorKind};

    use super::*;

    fn ended(end: TransactionEnd) -> CloseReport {
        let mut report = CloseReport::default();
        report.transaction = Some(end);
        report
    }

    #[tokio::test(start_paused = true)]
    async fn closes_that_end_at_different_times_are_all_awaited() {
        let close = |ms| -> ControlFuture<'static, CloseReport> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(ended(TransactionEnd::Committed))
            })
        };
        let start = Instant::now();
        assert_eq!(all(vec![close(1), close(3), close(0)]).await.len(), 3);
        assert_eq!(start.elapsed(), Duration::from_millis(3));
    }

    #[test]
    fn an_unknown_end_of_one_lane_is_reported() {
        let error = || Error::new(ErrorKind::Timeout, "no answer");
        let committed = || Ok(ended(TransactionEnd::Committed));
        assert!(worst(vec![Ok(CloseReport::default())]).is_none());
        assert!(matches!(worst(vec![committed(), Ok(ended(TransactionEnd::Aborted))]), Some(TransactionEnd::Aborted)));
        let unknown = [Ok(ended(TransactionEnd::Unknown(error()))), Err(error())];
        for unknown in unknown {
            assert!(matches!(worst(vec![unknown, committed()]), Some(TransactionEnd::Unknown(_))));
        }
    }
}
