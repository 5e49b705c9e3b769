//! The leader of a partition, as seen by the records in flight.

use kafka_tower_core::{Delivery, Error, Record, Result, Timestamp};
use tokio::time::Instant;

use super::client::{BrokerClient, Recipient};
use crate::faults::plan::Plan;
use crate::partition_queue::Leader;
use crate::resend::Tries;
use crate::script::{Action, Script};
use crate::store::Store;

/// The leader of one partition, during one access.
pub(super) struct LeaderOf<'a> {
    pub(super) partition: i32,
    pub(super) store: &'a mut Store,
    pub(super) script: &'a mut Script,
    pub(super) plan: &'a mut Option<Plan>,
    pub(super) now: Instant,
}

impl<C: BrokerClient> Leader<Recipient<C>> for LeaderOf<'_> {
    fn number(&mut self, who: &Recipient<C>, record: &Record, tries: &mut Tries) {
        if let Some(mut resend) = who.client.resend() {
            tries.resends = true;
            tries.sequence = resend.number(&record.topic, self.partition, tries);
        }
    }

    fn judge(&mut self, batch: &[&Record]) -> Option<Error> {
        self.store.log.judge(batch)
    }

    fn write(&mut self, who: &Recipient<C>, record: &Record, timestamp: Timestamp, tries: &Tries) -> Result<Delivery> {
        let Self { partition, store, now, .. } = self;
        let mut transaction = who.client.transaction();
        store.append(transaction.as_deref_mut(), tries.sequence, record, *partition, timestamp, *now)
    }

    fn again(&mut self, who: &Recipient<C>, record: &Record, tries: &Tries, error: &Error) -> Option<Action> {
        let mut resend = who.client.resend()?;
        // The caller has stopped waiting for the record.
        if who.slot.is_settled() || !resend.again(tries, error, self.now) {
            resend.give_up(&record.topic, self.partition, tries);
            return None;
        }
        Some(next_action(self.script, self.plan, record, self.partition, true))
    }
}

/// Chooses the action for a record that is handed over: the script takes precedence over the seed.
pub(super) fn next_action(
    script: &mut Script,
    plan: &mut Option<Plan>,
    record: &Record,
    partition: i32,
    again: bool,
) -> Action {
    let drawn = |plan: &mut Plan| plan.produce(&record.topic, partition, name_of(record), again);
    let scripted = script.next(&record.topic, partition);
    scripted.or_else(|| plan.as_mut().and_then(drawn)).unwrap_or_default()
}

/// The name that the checker gave to a record.
#[cfg(feature = "sim")]
fn name_of(record: &Record) -> Option<u32> {
    crate::sim::number_of(record)
}

#[cfg(not(feature = "sim"))]
fn name_of(_: &Record) -> Option<u32> {
    None
}
