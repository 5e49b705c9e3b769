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
    /// [`BreakerInner::deliveries`] before the call.
    deliveries: u32,
}

impl Admitted {
    #[inline]
    pub(super) fn new(ticket: Ticket, deliveries: u32) -> Self {
        Self { ticket, deliveries }
    }

    /// Counts deliveries from now on: the call, which was admitted before, is made.
    pub(super) fn called(self, shared: &BreakerInner) -> Self {
        Self { deliveries: shared.deliveries(), ..self }
    }

    /// Makes an admission, which counts. `shared` must be the breaker that admitted the call.
    #[inline]
    pub(crate) fn admission(self, shared: &Arc<BreakerInner>) -> Admission {
        Admission(Some((Arc::clone(shared), self)))
    }

    /// Records the success of the call.
    #[cfg(feature = "record-stack")]
    #[inline]
    pub(crate) fn succeed(&self, shared: &BreakerInner) {
        shared.succeed(&self.ticket);
    }
}

/// Permission for one call. It counts at most once. If it is dropped without a result, for example because the
/// service below or a classifier panics, it is neutral and frees a probe's place. `None` if it has already counted.
#[derive(Debug)]
pub(crate) struct Admission(Option<(Arc<BreakerInner>, Admitted)>);

impl Admission {
    /// Takes this admission, unless it has counted or was taken.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Self> {
        self.0.take().map(|counts| Self(Some(counts)))
    }

    /// Leaves it to the caller that the call counts.
    pub(super) fn into_admitted(mut self) -> Option<Admitted> {
        self.0.take().map(|(_, admitted)| admitted)
    }

    /// Whether the breaker is in the period in which the call was admitted.
    pub(super) fn is_current(&self) -> bool {
        self.0.as_ref().is_some_and(|(shared, admitted)| shared.is_current(&admitted.ticket))
    }

    /// Begins the lease of a probe that was admitted before its call.
    pub(super) fn called(&self) {
        if let Some((shared, admitted)) = &self.0 {
            shared.called(&admitted.ticket);
        }
    }

    #[inline]
    pub(super) fn succeed(mut self) {
        if let Some((shared, admitted)) = self.0.take() {
            shared.succeed(&admitted.ticket);
        }
    }

    /// Records a result whose outcome the classifier has decided.
    pub(crate) fn settle<R>(mut self, outcome: Outcome, result: &Result<R>) {
        let Some((shared, admitted)) = self.0.take() else { return };
        if let Some(unanswered) = result.as_ref().err().and_then(Error::unanswered) {
            follow(&shared, unanswered);
        }
        shared.settle(&admitted.ticket, outcome, || result.as_ref().err().map(errors::failure));
    }

    /// Records that the call timed out. `dropped` is what a transport reported when the future below was dropped.
    pub(crate) fn timed_out<R>(mut self, result: &Result<R>, dropped: Option<&Unanswered>) {
        let Some((shared, admitted)) = self.0.take() else { return };
        let unanswered = result.as_ref().err().and_then(Error::unanswered).or(dropped);
        let outcome = admitted.judge(&shared, unanswered.map_or(Record::Unknown, Record::from), unanswered);
        shared.settle(&admitted.ticket, outcome, || result.as_ref().err().map(errors::failure));
    }

    /// Records that the caller dropped the call's future.
    pub(crate) fn abandoned(mut self, dropped: Option<&Unanswered>) {
        let Some((shared, admitted)) = self.0.take() else { return };
        let outcome = admitted.judge(&shared, dropped.map_or(Record::NotHandedOver, Record::from), dropped);
        let waited = dropped.and_then(Unanswered::handed_over_for);
        shared.settle(&admitted.ticket, outcome, || waited.map(errors::abandoned));
    }

    #[cold]
    fn settle_neutral(&mut self) {
        if let Some((shared, admitted)) = self.0.take() {
            shared.settle(&admitted.ticket, Outcome::Neutral, || None);
        }
    }
}

impl Admitted {
    fn judge(&self, shared: &Arc<BreakerInner>, record: Record, unanswered: Option<&Unanswered>) -> Outcome {
        // Subscribe first: a report that has already arrived counts as a delivery.
        if let Some(unanswered) = unanswered {
            follow(shared, unanswered);
        }
        judge(&Evidence { record, delivered_meanwhile: shared.deliveries() != self.deliveries })
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
        if self.0.is_some() {
            self.settle_neutral();
        }
    }
}
