use std::sync::Arc;

use kafka_tower_core::unanswered::{LateObserver, Unanswered};
use kafka_tower_core::{Error, Result};

use super::evidence::{Evidence, Record, judge};
use super::inner::BreakerInner;
use super::state::Ticket;
use super::{Outcome, errors};

/// Permission for one call, without the breaker that gave it.
#[derive(Debug)]
pub(crate) struct Admitted {
    ticket: Ticket,
    /// Number of deliveries through the breaker before the call.
    deliveries: u32,
}

impl Admitted {
    #[inline]
    pub(super) fn new(ticket: Ticket, deliveries: u32) -> Self {
        Self { ticket, deliveries }
    }

    /// Makes an admission, which counts. `shared` must be the breaker that admitted the call.
    #[inline]
    pub(crate) fn admission(&self, shared: &Arc<BreakerInner>) -> Admission {
        let admitted = Self { ticket: self.ticket.again(), deliveries: self.deliveries };
        Admission { shared: Some(Arc::clone(shared)), admitted }
    }

    /// Records the success of the call.
    #[cfg(feature = "record-stack")]
    #[inline]
    pub(crate) fn succeed(&self, shared: &BreakerInner) {
        shared.succeed(&self.ticket);
    }
}

/// Permission for one call. It counts at most once. If it is dropped without a result, for example because the
/// service below or a classifier panics, it is neutral and frees a probe's place.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `None` if it has already counted.
    shared: Option<Arc<BreakerInner>>,
    admitted: Admitted,
}

impl Admission {
    /// Takes this admission, unless it has counted or was taken.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Self> {
        let shared = self.shared.take()?;
        let admitted = Admitted { ticket: self.admitted.ticket.again(), deliveries: self.admitted.deliveries };
        Some(Self { shared: Some(shared), admitted })
    }

    /// Leaves it to the caller that the call counts.
    pub(super) fn into_admitted(mut self) -> Admitted {
        self.shared = None;
        Admitted { ticket: self.admitted.ticket.again(), deliveries: self.admitted.deliveries }
    }

    /// Whether the breaker is in the period in which the call was admitted.
    pub(super) fn is_current(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_current(&self.admitted.ticket))
    }

    /// Begins the lease of a probe that was admitted before its call.
    pub(super) fn called(&self) {
        if let Some(shared) = &self.shared {
            shared.called(&self.admitted.ticket);
        }
    }

    #[inline]
    pub(super) fn succeed(mut self) {
        if let Some(shared) = self.shared.take() {
            shared.succeed(&self.admitted.ticket);
        }
    }

    /// Records a result whose outcome the classifier has decided.
    pub(crate) fn settle<R>(mut self, outcome: Outcome, result: &Result<R>) {
        let Some(shared) = self.shared.take() else { return };
        if let Some(unanswered) = result.as_ref().err().and_then(Error::unanswered) {
            follow(&shared, unanswered);
        }
        shared.settle(&self.admitted.ticket, outcome, || result.as_ref().err().map(errors::failure));
    }

    /// Records that the call timed out. `dropped` is what a transport reported when the future below was dropped.
    pub(crate) fn timed_out<R>(mut self, result: &Result<R>, dropped: Option<&Unanswered>) {
        let Some(shared) = self.shared.take() else { return };
        let unanswered = result.as_ref().err().and_then(Error::unanswered).or(dropped);
        let outcome = self.judge(&shared, unanswered.map_or(Record::Unknown, Record::from), unanswered);
        shared.settle(&self.admitted.ticket, outcome, || result.as_ref().err().map(errors::failure));
    }

    /// Records that the caller dropped the call's future.
    pub(crate) fn abandoned(mut self, dropped: Option<&Unanswered>) {
        let Some(shared) = self.shared.take() else { return };
        let outcome = self.judge(&shared, dropped.map_or(Record::NotHandedOver, Record::from), dropped);
        let waited = dropped.and_then(Unanswered::handed_over_for);
        shared.settle(&self.admitted.ticket, outcome, || waited.map(errors::abandoned));
    }

    #[cold]
    fn settle_neutral(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.settle(&self.admitted.ticket, Outcome::Neutral, || None);
        }
    }

    fn judge(&self, shared: &Arc<BreakerInner>, record: Record, unanswered: Option<&Unanswered>) -> Outcome {
        // Subscribe first: a report that has already arrived counts as a delivery.
        if let Some(unanswered) = unanswered {
            follow(shared, unanswered);
        }
        judge(&Evidence { record, delivered_meanwhile: shared.deliveries() != self.admitted.deliveries })
    }
}

fn follow(shared: &Arc<BreakerInner>, unanswered: &Unanswered) {
    unanswered.subscribe(Arc::clone(shared) as Arc<dyn LateObserver>);
}

impl From<&Unanswered> for Record {
    fn from(unanswered: &Unanswered) -> Self {
        match unanswered.handed_over_for() {
            Some(waited) => {
                Self::HandedOver { waited, budget: unanswered.budget(), throttled: unanswered.is_throttled() }
            }
            None => Self::NotHandedOver,
        }
    }
}

impl Drop for Admission {
    #[inline]
    fn drop(&mut self) {
        if self.shared.is_some() {
            self.settle_neutral();
        }
    }
}
