//! A naive broker: one partition's log, and what it remembers of producers.

use std::collections::BTreeMap;

use crate::record_batch::header::Stamp;

/// Records that a topic refuses.
pub(super) const MOST: usize = 4;

/// A log and its producers.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) log: Vec<u32>,
    /// Epoch of each producer id, and its last batches.
    producers: BTreeMap<i64, (i16, Vec<Remembered>)>,
}

/// First number, number of records, offset.
type Remembered = (i32, usize, i64);

impl Broker {
    /// Appends a batch. Returns code, offset, and the indexes of the records that it refuses.
    pub(super) fn append(&mut self, stamp: Stamp, records: &[u32], bad: impl Fn(u32) -> bool) -> (i16, i64, Vec<i32>) {
        // Brokers validate before they look for duplicates.
        let refused: Vec<i32> = (0..).zip(records).filter(|(_, record)| bad(**record)).map(|(at, _)| at).collect();
        if !refused.is_empty() {
            return (87, -1, refused);
        }
        if records.len() > MOST {
            return (10, -1, Vec::new());
        }
        let offset = self.log.len() as i64;
        if let Some((epoch, last)) = self.producers.get_mut(&stamp.producer_id) {
            if stamp.producer_epoch < *epoch {
                return (47, -1, Vec::new());
            }
            let next = if stamp.producer_epoch > *epoch {
                0
            } else {
                let same = |(first, len, _): &&Remembered| *first == stamp.base_sequence && *len == records.len();
                if let Some((.., offset)) = last.iter().find(same) {
                    return (0, *offset, Vec::new());
                }
                last.last().map_or(0, |(first, len, _)| first + *len as i32)
            };
            if stamp.base_sequence != next {
                return (45, -1, Vec::new());
            }
            if stamp.producer_epoch > *epoch {
                (*epoch, *last) = (stamp.producer_epoch, Vec::new());
            }
        }
        let (_, last) = self.producers.entry(stamp.producer_id).or_insert((stamp.producer_epoch, Vec::new()));
        last.push((stamp.base_sequence, records.len(), offset));
        if last.len() > 5 {
            last.remove(0);
        }
        self.log.extend(records);
        (0, offset, Vec::new())
    }

    /// Restarts: its snapshot has the last batch of each producer only.
    pub(super) fn restart(&mut self) {
        for (_, last) in self.producers.values_mut() {
            last.drain(..last.len().saturating_sub(1));
        }
    }
}
