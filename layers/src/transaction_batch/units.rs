//! Admission and end of units.

use std::sync::Arc;

use kafka_tower_core::gate::Permit;
use kafka_tower_core::ledger::{RecordTransport, Slot};
use kafka_tower_core::sync::lock;
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Delivery, Error, Result};
use tokio::sync::oneshot;

use super::inner::BatchInner;
use super::inputs::Input;
use super::join::Joined;
use super::unit::Unit;
use super::{errors, lanes};

/// Partition of a slot that stands for a unit. No record has it: its validation refuses negative ones.
pub(super) const UNIT: i32 = -1;

type Prepared = (Arc<Joined>, oneshot::Receiver<Result<Vec<Delivery>>>, Vec<Ticket>);

impl BatchInner {
    /// Checks a unit. One that is refused blocks its input partitions too.
    pub(super) fn prepare_unit(&self, mut unit: Unit) -> Result<Prepared> {
        let mut inputs = lock(&self.inputs);
        let own = inputs.of(&unit.offsets, unit.group.as_ref());
        let checked = match inputs.failed_before(&own) {
            Some(input) => Err(after_failed_unit(&unit.name(), input)),
            None => self.check(&mut unit),
        };
        match checked {
            Ok((lane, tickets)) => {
                inputs.open(&own);
                drop(inputs);
                let (joined, outcome) = Joined::new(unit, lane, own, self.now());
                Ok((joined, outcome, tickets))
            }
            Err(error) => {
                inputs.fail(&own);
                Err(error)
            }
        }
    }

    fn check(&self, unit: &mut Unit) -> Result<(usize, Vec<Ticket>)> {
        let mut tickets = Vec::new();
        for record in &mut unit.records {
            record.validate()?;
            if let Some(ticket) = record.take_ticket() {
                ticket.refusal().map_or(Ok(()), Err)?;
                tickets.push(ticket);
            }
        }
        Ok((lanes::of_unit(unit, self.lanes.len())?, tickets))
    }

    /// Announces the slot that stands for the unit in the gate.
    pub(super) fn expect_unit(&self, slot: &Arc<Slot<Delivery>>, joined: &Arc<Joined>) {
        lock(&self.units).insert(address(slot), Arc::clone(joined));
    }

    /// Takes the unit for which the slot stands, if it does.
    pub(super) fn unit_of(&self, slot: &Arc<Slot<Delivery>>) -> Option<Arc<Joined>> {
        (slot.record().partition == Some(UNIT)).then(|| lock(&self.units).remove(&address(slot))).flatten()
    }

    /// If an earlier unit of its input partitions has failed, records that this one fails too,
    /// and returns its error.
    pub(super) fn fail_after_earlier(&self, joined: &Joined) -> Option<Error> {
        let mut inputs = lock(&self.inputs);
        let error = after_failed_unit(&joined.name, inputs.failed_before(&joined.inputs)?);
        inputs.fail(&joined.inputs);
        Some(error)
    }

    /// Gives a unit its outcome. Returns its permit.
    pub(super) fn settle_unit(&self, joined: &Joined, outcome: Result<Vec<Delivery>>) -> Option<Permit> {
        let outcome = outcome.map_err(|error| of_inputs(error, joined));
        // Before the caller gets the outcome, and before the next unit is sent.
        lock(&self.inputs).settle(&joined.inputs, outcome.is_err());
        let closing = self.ledger().closing();
        let of_record = outcome.as_ref().map(drop).map_err(Clone::clone);
        joined.unit.records.iter().for_each(|record| closing.count(record, &of_record));
        if joined.unit.records.is_empty() && outcome.is_err() && closing.has_begun() {
            closing.count_lost(1);
        }
        joined.settle(outcome)
    }

    /// Returns the error of a unit that the gate did not take. A close does not report it, as it does no refused record.
    pub(super) fn refuse_unit(&self, joined: &Joined, error: Error) -> Error {
        lock(&self.inputs).settle(&joined.inputs, true);
        of_inputs(error, joined)
    }

    pub(super) fn resume(&self, group_id: &str, topic: &str, partition: i32) -> Result<()> {
        let input = Input { group: group_id.into(), topic: topic.into(), partition };
        lock(&self.inputs).resume(&input).map_err(|open| errors::resumed_early(topic, partition, open))
    }
}

fn of_inputs(error: Error, joined: &Joined) -> Error {
    match &joined.unit.group {
        Some(group) => errors::of_inputs(error, &group.group_id),
        None => error,
    }
}

fn after_failed_unit(unit: &str, input: &Input) -> Error {
    let error = errors::after_failed_unit(unit, &input.topic, input.partition);
    errors::of_inputs(error, &input.group)
}

/// The gate, or the call to it, holds the slot as long as the table has its address: no other slot can have it.
fn address(slot: &Arc<Slot<Delivery>>) -> usize {
    Arc::as_ptr(slot) as usize
}
