//! Which faults happen: drawn from a seed, or taken from a list while a schedule is shrunk. No clock, no lock, no
//! async.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::draw::{below, chance, name};
use super::{Fault, FaultKind, FaultPlace, Faults};
use crate::script::{Action, Answer};
use crate::transaction::script::{self as transaction, TransactionCall};

/// Maximum delay of a fault, in ms.
const LATEST_MS: u64 = 40;

/// Identifies a fault independently of other records, so that it stays when those are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Anchor {
    /// The n-th hand-over of a record, by the name that its sender gave it.
    Record(u32, u64),
    /// The n-th request of a kind.
    Request(TransactionCall, u64),
}

/// Faults that replace those drawn from the seed.
pub(crate) type Listed = BTreeMap<Anchor, (FaultKind, Duration)>;

#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    faults: Faults,
    only: Option<Listed>,
    /// Number of records or requests at each place.
    seen: BTreeMap<FaultPlace, u64>,
    /// Number of hand-overs of each named record.
    named: BTreeMap<u32, u64>,
    happened: Vec<Fault>,
    /// The faults that can be listed.
    listed: Listed,
}

impl Plan {
    pub(crate) fn new(seed: u64, faults: Faults, only: Option<Listed>) -> Self {
        let (seen, named, happened, listed) = Default::default();
        Self { seed, faults, only, seen, named, happened, listed }
    }

    pub(crate) fn happened(&self) -> &[Fault] {
        &self.happened
    }

    /// The faults that happened, as a list.
    #[cfg(feature = "sim")]
    pub(crate) fn listed(&self) -> &Listed {
        &self.listed
    }

    /// Returns the action for the next record of a partition. `name` identifies the record, if it has a name.
    /// `again`: the client retries it; a broker refuses a record permanently only at its first attempt.
    pub(crate) fn produce(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        name: Option<u32>,
        again: bool,
    ) -> Option<Action> {
        let place = FaultPlace::Partition { topic: Arc::clone(topic), partition };
        let anchor = name.map(|name| {
            let times = self.named.entry(name).or_default();
            *times += 1;
            Anchor::Record(name, *times)
        });
        let fault = self.next(place, anchor, if again { &FaultKind::PRODUCE[..7] } else { &FaultKind::PRODUCE })?;
        let mut action = Action::default();
        match fault.kind {
            FaultKind::DelayAnswer => action.late = fault.late,
            FaultKind::DelayAppend => action.append_late = fault.late,
            FaultKind::LoseAnswer => action.answer = Answer::Lost,
            FaultKind::ResetAfter => action.answer = Answer::Error(fault.kind.error()),
            FaultKind::LoseRequest => {
                action.write = false;
                action.answer = Answer::Lost;
            }
            _ => {
                action.write = false;
                action.answer = Answer::Error(fault.kind.error());
            }
        }
        Some(action)
    }

    /// Returns the action for the next request of a transaction.
    pub(crate) fn transaction(&mut self, call: TransactionCall) -> Option<transaction::Action> {
        let kinds = match call {
            TransactionCall::Init => &FaultKind::TRANSACTION[..3],
            TransactionCall::Abort => &FaultKind::TRANSACTION[..4],
            TransactionCall::SendOffsets | TransactionCall::Commit => &FaultKind::TRANSACTION[..],
        };
        let place = FaultPlace::Transaction(call);
        let anchor = Anchor::Request(call, self.seen.get(&place).copied().unwrap_or(0));
        let fault = self.next(place, Some(anchor), kinds)?;
        let mut action = transaction::Action::default();
        match fault.kind {
            FaultKind::DelayTransaction => action.late = fault.late,
            FaultKind::LoseTransactionAnswer => action.answer = transaction::Answer::Lost,
            FaultKind::LoseTransactionRequest => {
                action.apply = false;
                action.answer = transaction::Answer::Lost;
            }
            FaultKind::ExpireTransaction => action.expire = true,
            FaultKind::StaleEnd => {
                action.apply = false;
                action.stale = fault.late;
                action.answer = transaction::Answer::Lost;
            }
            _ => {
                action.apply = false;
                action.answer = transaction::Answer::Error(fault.kind.error());
            }
        }
        Some(action)
    }

    fn next(&mut self, place: FaultPlace, anchor: Option<Anchor>, kinds: &[FaultKind]) -> Option<Fault> {
        let seen = self.seen.entry(place.clone()).or_default();
        let nth = *seen;
        *seen += 1;
        let (kind, late) = match &self.only {
            Some(only) => *only.get(&anchor?)?,
            None => self.draw(&place, nth, kinds)?,
        };
        if let Some(anchor) = anchor {
            self.listed.insert(anchor, (kind, late));
        }
        let fault = Fault { kind, place, nth, late };
        self.happened.push(fault.clone());
        Some(fault)
    }

    fn draw(&self, place: &FaultPlace, nth: u64, kinds: &[FaultKind]) -> Option<(FaultKind, Duration)> {
        let at = place_number(place);
        let kind = *kinds.iter().find(|kind| chance(self.seed, &[**kind as u64, at, nth], self.faults.of(**kind)))?;
        let up_to = |end| below(!self.seed, &[kind as u64, at, nth], end);
        let millis = match kind {
            FaultKind::DelayAnswer | FaultKind::DelayAppend | FaultKind::DelayTransaction => 1 + up_to(LATEST_MS),
            // Later than the client repeats the request.
            FaultKind::StaleEnd => 101 + up_to(LATEST_MS),
            _ => 0,
        };
        Some((kind, Duration::from_millis(millis)))
    }
}

fn place_number(place: &FaultPlace) -> u64 {
    match place {
        FaultPlace::Partition { topic, partition } => name(topic).wrapping_add(*partition as u64),
        FaultPlace::Transaction(call) => *call as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(plan: &mut Plan) -> (Vec<Fault>, Listed) {
        for n in 0..300 {
            plan.produce(&"t".into(), n % 3, Some(n as u32 / 2), false);
            plan.transaction(TransactionCall::Commit);
        }
        (plan.happened.clone(), plan.listed.clone())
    }

    #[test]
    fn a_seed_draws_the_same_faults_and_removing_one_shifts_no_other() {
        let (all, listed) = run(&mut Plan::new(5, Faults::default(), None));
        assert!((120..260).contains(&all.len()), "{}", all.len());
        assert_eq!(listed.len(), all.len());
        assert_eq!(run(&mut Plan::new(5, Faults::default(), None)).0, all);
        assert_ne!(run(&mut Plan::new(6, Faults::default(), None)).0, all);
        for gone in listed.keys() {
            let mut kept = listed.clone();
            kept.remove(gone);
            let (happened, again) = run(&mut Plan::new(5, Faults::default(), Some(kept.clone())));
            assert_eq!((happened.len(), again), (all.len() - 1, kept));
            assert!(happened.iter().all(|fault| all.contains(fault)));
        }
        assert!(run(&mut Plan::new(5, Faults::none(), None)).0.is_empty());
    }
}
