//! Units of work with increasing numbers: each unit is the records of one transaction. What was written is judged by the
//! values alone.

use std::collections::{BTreeMap, BTreeSet};

use kafka_tower_testkit::kafka::ReadRecord;

/// Value of a record of a unit.
#[must_use]
pub fn value(unit: u64, index: usize) -> String {
    format!("{unit}.{index}")
}

/// Value of a record whose transaction is aborted: no reader of committed records may see it.
#[must_use]
pub fn aborted_value(unit: u64, index: usize) -> String {
    format!("{unit}.{index}.aborted")
}

/// What readers see, and must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The commit returned `Ok`, and nothing of the unit is there.
    Lost(u64),
    /// Only this many of the unit's records are there.
    Torn(u64, usize),
    /// A record is there more than once.
    Doubled(u64, usize),
    /// A record of an aborted transaction is there.
    Aborted(u64, usize),
    /// The record is behind one of a later unit, or a later one of its own unit, in its partition.
    Reordered(u64, usize),
    /// No record of these tests.
    Foreign(String),
}

fn parse(value: &str) -> Option<(u64, usize, bool)> {
    let mut parts = value.trim_matches('"').split('.');
    let (unit, index) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    match (parts.next(), parts.next()) {
        (None, None) => Some((unit, index, false)),
        (Some("aborted"), None) => Some((unit, index, true)),
        _ => None,
    }
}

/// Units that are in the log, completely or not.
#[must_use]
pub fn units(read: &[ReadRecord]) -> BTreeSet<u64> {
    read.iter().filter_map(|record| parse(&record.text())).map(|(unit, _, _)| unit).collect()
}

/// Judges what a reader of committed records has read, in the order of partitions and offsets. `size` is the number of
/// records of a unit, and `acknowledged` are the units whose commit returned `Ok`.
#[must_use]
pub fn judge(size: usize, acknowledged: &BTreeSet<u64>, read: &[ReadRecord]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut found: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    let mut last: BTreeMap<i32, (u64, usize)> = BTreeMap::new();
    for record in read {
        let text = record.text();
        match parse(&text) {
            None => faults.push(Fault::Foreign(text)),
            Some((unit, index, true)) => faults.push(Fault::Aborted(unit, index)),
            Some((unit, index, false)) if !found.entry(unit).or_default().insert(index) => {
                faults.push(Fault::Doubled(unit, index));
            }
            Some((unit, index, false)) => {
                let before = last.insert(record.partition, (unit, index));
                if before.is_some_and(|before| before > (unit, index)) {
                    faults.push(Fault::Reordered(unit, index));
                }
            }
        }
    }
    let torn = found.iter().filter(|(_, indices)| indices.len() != size);
    faults.extend(torn.map(|(unit, indices)| Fault::Torn(*unit, indices.len())));
    let lost = acknowledged.iter().filter(|unit| !found.contains_key(unit));
    faults.extend(lost.map(|unit| Fault::Lost(*unit)));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(values: &[(i32, String)]) -> Vec<ReadRecord> {
        let record = |(offset, (partition, value)): (usize, &(i32, String))| ReadRecord {
            partition: *partition,
            offset: offset as i64,
            key: None,
            value: Some(value.clone().into_bytes()),
            headers: Vec::new(),
            timestamp: None,
        };
        values.iter().enumerate().map(record).collect()
    }

    #[test]
    fn each_fault_is_found() {
        let acknowledged = BTreeSet::from([1, 2]);
        let faults = |values: &[(i32, String)]| judge(2, &acknowledged, &log(values));
        let good = [(0, value(1, 0)), (0, value(2, 0)), (1, format!("\"{}\"", value(1, 1))), (1, value(2, 1))];
        assert_eq!(faults(&good), []);
        assert_eq!(faults(&good[..3]), [Fault::Torn(2, 1)]);
        assert_eq!(faults(&[good[0].clone(), good[2].clone()]), [Fault::Lost(2)]);
        let with = |extra: String| faults(&[good.as_slice(), &[(1, extra)]].concat());
        assert_eq!(with(value(2, 1)), [Fault::Doubled(2, 1)]);
        assert_eq!(with(aborted_value(3, 0)), [Fault::Aborted(3, 0)]);
        assert_eq!(with("other".to_owned()), [Fault::Foreign("other".to_owned())]);
        let reordered = [good[1].clone(), good[0].clone(), good[2].clone(), good[3].clone()];
        assert_eq!(faults(&reordered), [Fault::Reordered(1, 0)]);
        assert_eq!(units(&log(&good)), acknowledged);
    }
}
