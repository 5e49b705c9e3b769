//! Compares what a sink said of each record with what is in the log.

use std::collections::HashMap;

use serde::Serialize;

/// Faults that are listed; all are counted.
const LISTED: usize = 20;

/// What a sink said of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Delivered,
    NotPersisted,
    PossiblyPersisted,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", content = "number", rename_all = "snake_case")]
pub(crate) enum Fault {
    /// It was delivered, and is not in the log.
    Lost(u64),
    /// It is in the log more than once.
    Doubled(u64),
    /// It is behind a record of its key that was sent after its delivery.
    Reordered(u64),
    /// It was reported as certainly not written, and is in the log.
    WrittenAfterAll(u64),
    /// A record with this place in the order of reading is not as it was sent.
    Damaged(u64),
}

/// The accounts of a run. Records that were delivered and read are forgotten, so that a run can be long.
#[derive(Debug)]
pub(crate) struct Ledger {
    open: HashMap<u64, Entry>,
    lanes: Vec<Lane>,
    next: u64,
    counts: Counts,
    faults: Faults,
}

/// A record that was not delivered and read yet.
#[derive(Debug, Default)]
struct Entry {
    /// The last number of its key that was delivered before it was sent.
    after: Option<u64>,
    said: Option<Said>,
    was_read: bool,
    /// It was read behind a record that was sent after this number was delivered, if it was.
    is_late: bool,
}

/// The records of a key.
#[derive(Clone, Debug, Default)]
struct Lane {
    delivered: Option<u64>,
    /// The greatest `after` of the records that were read.
    passed: Option<u64>,
    /// The greatest number that was read.
    read: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) not_persisted: u64,
    pub(crate) possibly_persisted: u64,
    /// Records of the run that were read, each once.
    pub(crate) read: u64,
    /// Records that were read behind a later one of their key. That is a fault only if the later one was sent after the delivery
    /// of the first: retries may change the order of what is in flight.
    pub(crate) overtaken: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) written_after_all: u64,
    pub(crate) damaged: u64,
    /// The first ones.
    pub(crate) first: Vec<Fault>,
}

/// What the comparison says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Of those that may have been written: these are there.
    pub(crate) possibly_persisted_found: u64,
    /// Delivered, and not judged, because the topic could not be read to its end.
    pub(crate) unread: u64,
    pub(crate) faults: Faults,
}

impl Ledger {
    pub(crate) fn new(keys: u32) -> Self {
        Self {
            open: HashMap::new(),
            lanes: vec![Lane::default(); keys as usize],
            next: 0,
            counts: Counts::default(),
            faults: Faults::default(),
        }
    }

    /// Enters the next record, before it is given to the sink, and returns its number.
    pub(crate) fn send(&mut self) -> u64 {
        let number = self.next;
        let after = self.lane(number).delivered;
        self.next += 1;
        self.counts.sent += 1;
        self.open.insert(number, Entry { after, ..Entry::default() });
        number
    }

    /// Enters what the sink said of a record, once.
    pub(crate) fn said(&mut self, number: u64, said: Said) {
        let Some(entry) = self.open.get_mut(&number) else { return };
        entry.said = Some(said);
        let is_there = entry.was_read;
        match said {
            Said::Delivered => {
                self.counts.delivered += 1;
                let lane = self.lane(number);
                lane.delivered = lane.delivered.max(Some(number));
            }
            Said::PossiblyPersisted => self.counts.possibly_persisted += 1,
            Said::NotPersisted => {
                self.counts.not_persisted += 1;
                if is_there {
                    self.faults.add(Fault::WrittenAfterAll(number));
                }
            }
        }
        self.settle(number);
    }

    /// Enters a record of the log, in the order of its partition.
    pub(crate) fn read(&mut self, number: u64) {
        if number >= self.next {
            return self.damaged();
        }
        let Some(entry) = self.open.get(&number).filter(|entry| !entry.was_read) else {
            return self.faults.add(Fault::Doubled(number));
        };
        let (after, said) = (entry.after, entry.said);
        let lane = self.lane(number);
        let (is_late, is_overtaken) = (lane.passed >= Some(number), lane.read > Some(number));
        lane.passed = lane.passed.max(after);
        lane.read = lane.read.max(Some(number));
        self.counts.read += 1;
        self.counts.overtaken += u64::from(is_overtaken);
        if said == Some(Said::NotPersisted) {
            self.faults.add(Fault::WrittenAfterAll(number));
        }
        if let Some(entry) = self.open.get_mut(&number) {
            (entry.was_read, entry.is_late) = (true, is_late);
        }
        self.settle(number);
    }

    /// Enters a record that is not as it was sent.
    pub(crate) fn damaged(&mut self) {
        self.faults.add(Fault::Damaged(self.counts.read));
    }

    /// Forgets a record that was delivered and read. One that may have been written may also come late, in any order.
    fn settle(&mut self, number: u64) {
        let Some(entry) = self.open.get(&number) else { return };
        if entry.was_read && entry.said == Some(Said::Delivered) {
            if entry.is_late {
                self.faults.add(Fault::Reordered(number));
            }
            self.open.remove(&number);
        }
    }

    fn lane(&mut self, number: u64) -> &mut Lane {
        let lanes = self.lanes.len() as u64;
        &mut self.lanes[(number % lanes) as usize]
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Judges. `is_complete`: whether the log was read to its end.
    pub(crate) fn verdict(&self, is_complete: bool) -> Verdict {
        let mut missing: Vec<_> = self.open.iter().filter(|(_, entry)| !entry.was_read).collect();
        missing.retain(|(_, entry)| entry.said == Some(Said::Delivered));
        let mut missing: Vec<u64> = missing.into_iter().map(|(number, _)| *number).collect();
        missing.sort_unstable();
        let is_found = |entry: &&Entry| entry.was_read && entry.said == Some(Said::PossiblyPersisted);
        let mut verdict = Verdict {
            counts: self.counts,
            possibly_persisted_found: self.open.values().filter(is_found).count() as u64,
            unread: 0,
            faults: self.faults.clone(),
        };
        if is_complete {
            missing.into_iter().for_each(|number| verdict.faults.add(Fault::Lost(number)));
        } else {
            verdict.unread = missing.len() as u64;
        }
        verdict
    }
}

impl Faults {
    fn add(&mut self, fault: Fault) {
        *match fault {
            Fault::Lost(_) => &mut self.lost,
            Fault::Doubled(_) => &mut self.doubled,
            Fault::Reordered(_) => &mut self.reordered,
            Fault::WrittenAfterAll(_) => &mut self.written_after_all,
            Fault::Damaged(_) => &mut self.damaged,
        } += 1;
        if self.first.len() < LISTED {
            self.first.push(fault);
        }
    }
}

impl Verdict {
    /// Whether everything that was delivered is there, once, in order, and something was.
    pub(crate) fn passed(&self) -> bool {
        self.faults == Faults::default() && self.unread == 0 && self.counts.delivered > 0
    }
}

#[cfg(test)]
mod tests;
