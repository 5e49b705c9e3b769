//! Copies of what was sent, made by members of a group that are killed: each number once, and in its lane's order. A lane is a
//! key or a partition.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Numbers in their order, by lane.
pub type Lanes = BTreeMap<u64, Vec<u64>>;

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It was sent, and not copied.
    Lost(u64),
    /// It was copied more than once.
    Doubled(u64),
    /// It was copied after a later one of its lane.
    Reordered(u64),
    /// It was not sent in this lane.
    Foreign(u64),
}

/// Compares the lanes. Each number was sent once.
#[must_use]
pub fn judge(sent: &Lanes, copied: &Lanes) -> Vec<Fault> {
    let (mut faults, none) = (Vec::new(), Vec::new());
    let lanes: BTreeSet<_> = sent.keys().chain(copied.keys()).collect();
    for lane in lanes {
        let (sent, copied) = (sent.get(lane).unwrap_or(&none), copied.get(lane).unwrap_or(&none));
        let places: BTreeMap<u64, usize> = sent.iter().enumerate().map(|(place, number)| (*number, place)).collect();
        let (mut found, mut last) = (BTreeSet::new(), None);
        for &number in copied {
            match places.get(&number) {
                None => faults.push(Fault::Foreign(number)),
                Some(_) if !found.insert(number) => faults.push(Fault::Doubled(number)),
                Some(&place) => {
                    if last > Some(place) {
                        faults.push(Fault::Reordered(number));
                    }
                    last = last.max(Some(place));
                }
            }
        }
        faults.extend(sent.iter().filter(|number| !found.contains(number)).map(|number| Fault::Lost(*number)));
    }
    faults
}

/// The first deliveries of numbers, by lane, and how many deliveries were repeated.
#[must_use]
pub fn first(delivered: &[u64], lane: impl Fn(u64) -> u64) -> (Lanes, usize) {
    let (mut lanes, mut known) = (Lanes::new(), BTreeSet::new());
    for &number in delivered {
        if known.insert(number) {
            lanes.entry(lane(number)).or_default().push(number);
        }
    }
    (lanes, delivered.len() - known.len())
}

/// A file to which several processes append numbers. Its order is that of the entries, whichever process made them.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Opens the file, and creates it if it is not there.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Appends a number. A process that is killed enters it completely or not at all: entries do not cross pages.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn enter(&mut self, number: u64) -> io::Result<()> {
        self.0.write_all(&number.to_le_bytes())
    }

    /// Reads the entries of all processes.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read(path: &Path) -> io::Result<Vec<u64>> {
        let bytes = std::fs::read(path)?;
        let numbers = bytes.chunks_exact(size_of::<u64>()).filter_map(|entry| entry.try_into().ok());
        Ok(numbers.map(u64::from_le_bytes).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_found() {
        let sent = Lanes::from([(0, vec![0, 2, 4]), (1, vec![1, 3])]);
        let faults = |copied: &[u64]| {
            let mut lanes = Lanes::new();
            copied.iter().for_each(|number| lanes.entry(number % 2).or_default().push(*number));
            judge(&sent, &lanes)
        };
        assert_eq!(faults(&[1, 0, 2, 3, 4]), []);
        assert_eq!(faults(&[1, 0, 4, 3]), [Fault::Lost(2)]);
        assert_eq!(faults(&[0, 2, 4]), [Fault::Lost(1), Fault::Lost(3)]);
        assert_eq!(faults(&[0, 2, 2, 4, 1, 3, 1]), [Fault::Doubled(2), Fault::Doubled(1)]);
        assert_eq!(faults(&[0, 4, 2, 1, 3]), [Fault::Reordered(2)]);
        assert_eq!(faults(&[0, 2, 4, 1, 3, 5]), [Fault::Foreign(5)]);
    }

    #[test]
    fn only_first_deliveries_count_for_the_order() {
        let lane = |number| number % 2;
        assert_eq!(first(&[1, 0, 2, 0, 2, 4], lane), (Lanes::from([(0, vec![0, 2, 4]), (1, vec![1])]), 2));
        assert_eq!(first(&[2, 0, 2], lane), (Lanes::from([(0, vec![2, 0])]), 1));
    }

    #[test]
    fn a_ledger_has_the_entries_of_all_writers_in_their_order() {
        let path = std::env::temp_dir().join(format!("kafka-tower-ledger-test-{}", std::process::id()));
        let (mut first, mut second) = (Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap());
        first.enter(1).unwrap();
        second.enter(u64::MAX).unwrap();
        first.enter(3).unwrap();
        let read = Ledger::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read, [1, u64::MAX, 3]);
    }
}
