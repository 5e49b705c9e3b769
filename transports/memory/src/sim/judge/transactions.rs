//! Compares transactions, as their caller knows them, with the records that `read_committed` consumers see. No clock,
//! no lock, no async.

use std::collections::BTreeMap;

use kafka_tower_core::{Delivery, Persistence, Result};

use crate::sim::seen::Seen;
use crate::sim::verdict::{Verdict, Violation};

/// How a transaction ended according to its caller's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Committed,
    Aborted,
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: u32,
    pub(crate) key: Option<u32>,
    pub(crate) outcome: Option<Result<Delivery>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// In call order.
    pub(crate) sent: Vec<Sent>,
    pub(crate) ended: Ended,
}

pub(crate) fn judge(transactions: &[Transaction], seen: &Seen) -> Vec<Violation> {
    let mut found: Vec<_> = transactions.iter().flat_map(|transaction| one(transaction, seen)).collect();
    for (id, copies) in seen.iter().filter(|(_, copies)| copies.len() > 1) {
        let text = format!("r{id} is seen {} times, at {copies:?}", copies.len());
        found.push(Violation::new(Verdict::Duplicate, text));
    }
    found.extend(order(transactions, seen));
    found
}

fn one(transaction: &Transaction, seen: &Seen) -> Vec<Violation> {
    let is_seen = |sent: &&Sent| seen.contains_key(&sent.id);
    // A record reported as not written is not part of the transaction, whatever its outcome.
    let refused = |sent: &&Sent| {
        sent.outcome
            .as_ref()
            .and_then(|o| o.as_ref().err())
            .is_some_and(|e| e.persistence() == Persistence::NotPersisted)
    };
    let mut found = Vec::new();
    for sent in transaction.sent.iter().filter(refused).filter(is_seen) {
        let text = format!("r{} was answered that it was not written, and it is seen", sent.id);
        found.push(Violation::new(Verdict::NotPersistedInLog, text));
    }
    let (there, missing): (Vec<_>, Vec<_>) = transaction.sent.iter().filter(|sent| !refused(sent)).partition(is_seen);
    let names = |sent: &[&Sent]| sent.iter().map(|sent| format!("r{}", sent.id)).collect::<Vec<_>>().join(", ");
    let torn = |told: &str| {
        let text = format!("{told}: {} are seen, {} are not", names(&there), names(&missing));
        Violation::new(Verdict::TornTransaction, text)
    };
    match (transaction.ended, there.is_empty(), missing.is_empty()) {
        (Ended::Aborted, false, _) => {
            let text = format!("{} are seen, and the transaction was aborted", names(&there));
            found.push(Violation::new(Verdict::AbortedRead, text));
        }
        (Ended::Committed, true, false) => {
            let text = format!("the transaction was committed, and {} are not seen", names(&missing));
            found.push(Violation::new(Verdict::LostAcknowledged, text));
        }
        (Ended::Committed, false, false) => found.push(torn("the transaction was committed")),
        (Ended::Unknown, false, false) => found.push(torn("no answer told how the transaction ended")),
        _ => {}
    }
    found
}

/// Checks that the visible records of a key are in call order, over all transactions.
fn order(transactions: &[Transaction], seen: &Seen) -> Vec<Violation> {
    let mut last: BTreeMap<(u32, i32), (u32, i64)> = BTreeMap::new();
    let mut found = Vec::new();
    for sent in transactions.iter().flat_map(|transaction| &transaction.sent) {
        let (Some(key), Some((partition, offset))) = (sent.key, seen.get(&sent.id).and_then(|copies| copies.first()))
        else {
            continue;
        };
        let before = last.insert((key, *partition), (sent.id, *offset));
        if let Some((earlier, there)) = before.filter(|(_, there)| there > offset) {
            let text = format!(
                "r{earlier} was sent before r{} of the same key k{key} and is behind it: [{partition}]@{there} and @{offset}",
                sent.id
            );
            found.push(Violation::new(Verdict::Reordered, text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{Error, ErrorKind};

    use super::*;

    fn sent(id: u32) -> Sent {
        Sent { id, key: Some(0), outcome: None }
    }

    fn verdicts(ended: Ended, visible: &[u32]) -> Vec<Verdict> {
        let transactions = [Transaction { sent: vec![sent(1), sent(2)], ended }];
        let seen = visible.iter().zip(0..).map(|(id, offset)| (*id, vec![(0, offset)])).collect();
        judge(&transactions, &seen).into_iter().map(|violation| violation.verdict).collect()
    }

    #[test]
    fn transactions_are_all_or_nothing_by_their_results() {
        for ended in [Ended::Committed, Ended::Unknown] {
            assert_eq!(verdicts(ended, &[1, 2]), []);
            assert_eq!(verdicts(ended, &[1]), [Verdict::TornTransaction]);
            assert_eq!(verdicts(ended, &[2]), [Verdict::TornTransaction]);
        }
        assert_eq!(verdicts(Ended::Committed, &[]), [Verdict::LostAcknowledged]);
        assert_eq!(verdicts(Ended::Unknown, &[]), []);
        assert_eq!(verdicts(Ended::Aborted, &[]), []);
        assert_eq!(verdicts(Ended::Aborted, &[1]), [Verdict::AbortedRead]);
        assert_eq!(verdicts(Ended::Aborted, &[1, 2]), [Verdict::AbortedRead]);
        assert_eq!(verdicts(Ended::Committed, &[2, 1]), [Verdict::Reordered]);
    }

    #[test]
    fn a_refused_record_is_not_part_of_the_transaction() {
        let refused = Sent { outcome: Some(Err(Error::new(ErrorKind::CircuitOpen, "open"))), ..sent(2) };
        let transactions = [Transaction { sent: vec![sent(1), refused], ended: Ended::Committed }];
        let look = |ids: &[u32]| {
            let seen = ids.iter().map(|id| (*id, vec![(0, i64::from(*id))])).collect();
            judge(&transactions, &seen).into_iter().map(|violation| violation.verdict).collect::<Vec<_>>()
        };
        assert_eq!(look(&[1]), []);
        assert_eq!(look(&[1, 2]), [Verdict::NotPersistedInLog]);
    }

    #[test]
    fn a_record_that_is_seen_twice_is_a_duplicate() {
        let transactions = [Transaction { sent: vec![sent(1)], ended: Ended::Committed }];
        let found = judge(&transactions, &Seen::from([(1, vec![(0, 0), (0, 5)])]));
        assert_eq!(found[0].verdict, Verdict::Duplicate);
    }
}
