//! Compares the callers' results with the records that consumers see. No clock, no lock, no async.

use std::collections::BTreeMap;

use kafka_tower_core::{Delivery, Persistence, Result};

use super::Guarantee;
use super::config::Order;
use super::journal::{Attempt, outcome_text};
use super::seen::Seen;
use super::verdict::{Verdict, Violation};

pub(crate) mod transactions;

/// A send as its caller knows it. Calls are kept in call order.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: u32,
    pub(crate) key: Option<u32>,
    /// Number of the event, over all callers.
    pub(crate) called: u64,
    pub(crate) answered: Option<Answer>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) number: u64,
    pub(crate) outcome: Result<Delivery>,
    /// Whether the record was in the log at that time.
    pub(crate) in_log: bool,
}

pub(crate) fn judge(
    guarantee: Guarantee,
    order: Order,
    calls: &[Call],
    attempts: &[Attempt],
    seen: &Seen,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for call in calls {
        let copies = seen.get(&call.id).map_or(&[][..], Vec::as_slice);
        if let Some(answer) = &call.answered {
            found.extend(truth(call.id, answer, copies));
        }
        if copies.len() > allowed(guarantee, call.id, attempts) {
            let places: Vec<_> = copies.iter().map(|(p, o)| format!("[{p}]@{o}")).collect();
            let sent = attempts.iter().filter(|attempt| attempt.id == call.id).count();
            let text = format!(
                "r{} is in the log {} times, at {}; the stack sent it {sent} times",
                call.id,
                copies.len(),
                places.join(" and ")
            );
            found.push(Violation::new(Verdict::Duplicate, text));
        }
    }
    let order = if guarantee == Guarantee::AtLeastOnce { order.min(Order::Answers) } else { order };
    found.extend(reordered(order, calls, seen));
    found
}

/// Compares a caller's result with the log.
fn truth(id: u32, answer: &Answer, copies: &[(i32, i64)]) -> Option<Violation> {
    let outcome = &answer.outcome;
    let persistence = match outcome {
        Ok(delivery) => delivery.persistence,
        Err(error) => error.persistence(),
    };
    let said = format!("r{id} was answered {}", outcome_text(outcome));
    let is_at = |d: &Delivery| d.offset.is_none_or(|offset| copies.contains(&(d.partition, offset)));
    match (persistence, outcome) {
        (Persistence::NotPersisted, _) if !copies.is_empty() => {
            let (partition, offset) = copies[0];
            let text = format!("{said}, and it is at [{partition}]@{offset}");
            Some(Violation::new(Verdict::NotPersistedInLog, text))
        }
        (Persistence::Persisted, Ok(_)) if copies.is_empty() => {
            Some(Violation::new(Verdict::LostAcknowledged, format!("{said}, and it is not in the log")))
        }
        (Persistence::Persisted, Err(_)) if copies.is_empty() => {
            Some(Violation::new(Verdict::PersistedNotInLog, format!("{said}, and it is not in the log")))
        }
        (Persistence::Persisted, _) if !answer.in_log => {
            Some(Violation::new(Verdict::PersistedNotInLog, format!("{said} before it was in the log")))
        }
        (Persistence::Persisted, Ok(delivery)) if !is_at(delivery) => {
            Some(Violation::new(Verdict::PersistedNotInLog, format!("{said}, and it is elsewhere")))
        }
        _ => None,
    }
}

/// Returns how often a record may be in the log. With at least once, an attempt after an `Ok` has no justification.
fn allowed(guarantee: Guarantee, id: u32, attempts: &[Attempt]) -> usize {
    if guarantee != Guarantee::AtLeastOnce {
        return 1;
    }
    let own = attempts.iter().filter(|attempt| attempt.id == id);
    // Each attempt writes at most once, and the first acknowledged attempt is the last that is justified.
    let until_acknowledged = own.clone().take_while(|attempt| !attempt.acknowledged).count() + 1;
    until_acknowledged.min(own.count()).max(1)
}

/// A call, and the position of its first copy.
type Placed<'a> = (&'a Call, (i32, i64));

/// Checks that the first copies of a key's records are in the promised order.
fn reordered(order: Order, calls: &[Call], seen: &Seen) -> Vec<Violation> {
    let mut keys: BTreeMap<u32, Vec<Placed<'_>>> = BTreeMap::new();
    for call in calls {
        let first = seen.get(&call.id).and_then(|copies| copies.first());
        if let (Some(key), Some(first)) = (call.key, first) {
            keys.entry(key).or_default().push((call, *first));
        }
    }
    let mut found = Vec::new();
    for (key, records) in keys {
        let pairs =
            records.iter().enumerate().flat_map(|(n, later)| records[..n].iter().map(move |earlier| (earlier, later)));
        let wrong = pairs.into_iter().find(|((earlier, there), (later, here))| {
            let acknowledged = |a: &Answer| a.outcome.is_ok() && a.number < later.called;
            let promised = match order {
                Order::Calls => true,
                Order::Answers => earlier.answered.as_ref().is_some_and(acknowledged),
                Order::None => false,
            };
            promised && there.0 == here.0 && there.1 > here.1
        });
        if let Some(((earlier, there), (later, here))) = wrong {
            let text = format!(
                "r{} was sent before r{} of the same key k{key} and is behind it: [{}]@{} and @{}",
                earlier.id, later.id, there.0, there.1, here.1
            );
            found.push(Violation::new(Verdict::Reordered, text));
        }
    }
    found
}

#[cfg(test)]
mod tests;
