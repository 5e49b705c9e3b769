use std::sync::Arc;

use kafka_tower_core::Result;

use super::shared::Shared;
use super::state::Ticket;
use super::{Outcome, errors};

/// A call that was let through. One result at most; dropped without one, as when its future is dropped or panics, it
/// counts for nothing and gives a probe's place back.
#[derive(Debug)]
pub(super) struct Admission {
    shared: Arc<Shared>,
    ticket: Option<Ticket>,
}

impl Admission {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let ticket = shared.admit()?;
        Ok(Self { shared: Arc::clone(shared), ticket: Some(ticket) })
    }

    pub(super) fn settle<R>(mut self, outcome: Outcome, result: &Result<R>) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.settle(&ticket, outcome, || result.as_ref().err().map(errors::failure));
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.settle(&ticket, Outcome::Neutral, || None);
        }
    }
}
