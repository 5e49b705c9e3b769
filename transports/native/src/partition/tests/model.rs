//! A row, a network that loses and delays, and a [naive broker](super::broker): what the row says is true of the log.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::super::{Answer, Effect, Key, Mode, Next, ProducerId, Rework, Row};
use super::broker::Broker;
use crate::record_batch::header::Stamp;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    At(i64),
    Delivered,
    NotWritten,
    InDoubt,
}

struct Sent {
    key: Key,
    stamp: Stamp,
    records: Vec<u32>,
    answer: Option<(i16, i64, Vec<i32>)>,
}

struct World {
    row: Row<Vec<u32>>,
    broker: Broker,
    /// The connection, oldest first. Those with an answer come before those without.
    sent: VecDeque<Sent>,
    /// Requests of connections that were cut, which may still be carried out.
    late: VecDeque<(Stamp, Vec<u32>)>,
    outcomes: BTreeMap<u32, Outcome>,
    newest: ProducerId,
    next_record: u32,
    random: u64,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            row: Row::new(Mode::Idempotent, 5),
            broker: Broker::default(),
            sent: VecDeque::new(),
            late: VecDeque::new(),
            outcomes: BTreeMap::new(),
            newest: ProducerId { id: 1, epoch: 0 },
            next_record: 0,
            random: seed | 1,
            trace: Vec::new(),
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % most
    }

    /// One in this many.
    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn is_bad(record: u32) -> bool {
        record % 23 == 7
    }

    fn send(&mut self) {
        let (key, stamp) = match self.row.next() {
            Next::Nothing => return,
            Next::NeedsProducerId => return self.row.renew(self.newest),
            Next::Again(key) => (key, self.row.again(key)),
            Next::New => {
                let count = 1 + self.below(6) as u32;
                let records: Vec<u32> = (self.next_record..self.next_record + count).collect();
                self.next_record += count;
                self.row.push(records, count)
            }
        };
        let records = self.row.get_mut(key).unwrap().clone();
        self.trace.push(format!("send {key:?} {}/{} {records:?}", stamp.producer_epoch, stamp.base_sequence));
        self.sent.push_back(Sent { key, stamp, records, answer: None });
    }

    /// The broker carries out the oldest request that it has not.
    fn carry_out(&mut self, faults: bool) {
        let fault = if faults && self.one_in(6) { 1 + self.below(5) } else { 0 };
        let Some(next) = self.sent.iter_mut().find(|sent| sent.answer.is_none()) else { return };
        let answer = match fault {
            1 => (6, -1, Vec::new()),
            2 => (19, -1, Vec::new()),
            3 => (2, -1, Vec::new()),
            _ => self.broker.append(next.stamp, &next.records, Self::is_bad),
        };
        // Appended, and yet no success.
        let answer = match (fault, answer.0) {
            (4, 0) => (7, answer.1, Vec::new()),
            (5, 0) => (20, -1, Vec::new()),
            _ => answer,
        };
        self.trace.push(format!("  carried out {:?}: {answer:?}", next.key));
        next.answer = Some(answer);
    }

    fn answer(&mut self) {
        if self.sent.front().is_none_or(|sent| sent.answer.is_none()) {
            return;
        }
        let Some(Sent { key, answer: Some((code, offset, refused)), .. }) = self.sent.pop_front() else { return };
        let answer = Answer::Code { code, offset, refused: &refused, new_leader_known: false };
        self.answered(key, &answer);
    }

    fn answered(&mut self, key: Key, answer: &Answer<'_>) {
        let mut effects = Vec::new();
        self.row.answered(key, answer, &mut effects);
        self.trace.push(format!("  answered {key:?} {answer:?} -> {effects:?}"));
        self.carry(effects);
    }

    fn carry(&mut self, effects: Vec<Effect<Vec<u32>>>) {
        for effect in effects {
            match effect {
                Effect::Delivered { batch, offset } => {
                    for (at, record) in (0_i64..).zip(batch) {
                        self.end(record, offset.map_or(Outcome::Delivered, |offset| Outcome::At(offset + at)));
                    }
                }
                Effect::Failed { batch, in_doubt, .. } => {
                    let outcome = if in_doubt { Outcome::InDoubt } else { Outcome::NotWritten };
                    batch.into_iter().for_each(|record| self.end(record, outcome));
                }
                Effect::Rework { key, why, .. } => self.rework(key, &why),
                Effect::NewEpoch => {
                    let its = self.row.producer_id().unwrap();
                    if self.newest == its {
                        self.newest.epoch += 1;
                    }
                    self.row.renew(self.newest);
                }
                Effect::NewProducerId => {
                    self.newest = ProducerId { id: self.newest.id + 1, epoch: 0 };
                    self.row.renew(self.newest);
                }
                Effect::Metadata | Effect::Backoff { .. } | Effect::LostAcknowledged => {}
            }
        }
    }

    fn rework(&mut self, key: Key, why: &Rework) {
        let mut records = std::mem::take(self.row.get_mut(key).unwrap());
        let mut parts = Vec::new();
        match why {
            Rework::Refused(indexes) => {
                let (mut kept, mut at) = (Vec::new(), 0);
                for record in records {
                    if indexes.contains(&at) {
                        self.end(record, Outcome::NotWritten);
                    } else {
                        kept.push(record);
                    }
                    at += 1;
                }
                parts.push(kept);
            }
            Rework::TooLarge | Rework::RefusedWhole if records.len() > 1 => {
                let behind = records.split_off(records.len() / 2);
                parts.extend([records, behind]);
            }
            _ => records.into_iter().for_each(|record| self.end(record, Outcome::NotWritten)),
        }
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        self.row.replace(key, parts.map(|part| (part.clone(), part.len() as u32)).collect());
    }

    fn end(&mut self, record: u32, outcome: Outcome) {
        assert_eq!(self.outcomes.insert(record, outcome), None, "record {record} has two outcomes");
    }

    /// The connection ends. The broker has all of the first requests, and not all of the last ones.
    fn cut(&mut self) {
        let whole = self.sent.iter().filter(|sent| sent.answer.is_some()).count();
        let whole = whole + self.below((self.sent.len() - whole) as u64 + 1) as usize;
        self.trace.push(format!("cut behind {whole} of {}", self.sent.len()));
        for (at, sent) in std::mem::take(&mut self.sent).into_iter().enumerate() {
            if at < whole && sent.answer.is_none() {
                self.late.push_back((sent.stamp, sent.records));
            }
            self.answered(sent.key, &Answer::None { wholly: at < whole });
        }
        self.row.moved();
    }

    fn late(&mut self) {
        if let Some((stamp, records)) = self.late.pop_front() {
            let answer = self.broker.append(stamp, &records, Self::is_bad);
            self.trace.push(format!("late {}/{} {records:?}: {answer:?}", stamp.producer_epoch, stamp.base_sequence));
        }
    }

    fn give_up(&mut self) {
        let chosen = self.below(u64::from(self.next_record) + 1) as u32;
        let mut effects = Vec::new();
        self.row.give_up(|batch| batch.contains(&chosen), &mut effects);
        self.trace.push(format!("give up {chosen} -> {effects:?}"));
        self.carry(effects);
    }

    fn step(&mut self) {
        match self.below(40) {
            0..15 => self.send(),
            15..25 => self.carry_out(true),
            25..34 => self.answer(),
            34 | 35 => self.cut(),
            36 => {
                self.cut();
                self.broker.restart();
                self.trace.push("restart".to_owned());
            }
            37 => self.late(),
            38 => self.give_up(),
            _ => self.late.clear(),
        }
    }

    /// Without faults all ends.
    fn heal(&mut self) {
        for _ in 0..2_000 {
            if self.one_in(3) {
                self.late();
            }
            if self.row.is_empty() && self.sent.is_empty() {
                break;
            }
            if self.row.next() != Next::New {
                self.send();
            }
            self.carry_out(false);
            self.answer();
        }
        while !self.late.is_empty() {
            self.late();
        }
        assert!(self.row.is_empty() && self.sent.is_empty(), "the row does not end: {:?}", self.row);
    }

    fn judge(&self) {
        let mut places = BTreeMap::new();
        for (at, record) in self.broker.log.iter().enumerate() {
            assert_eq!(places.insert(*record, at as i64), None, "record {record} is in the log twice");
        }
        let mut last = -1;
        for record in 0..self.next_record {
            let place = places.get(&record).copied();
            match self.outcomes.get(&record) {
                None => panic!("record {record} has no outcome"),
                Some(Outcome::At(offset)) => assert_eq!(place, Some(*offset), "record {record}"),
                Some(Outcome::Delivered) => assert!(place.is_some(), "record {record} is not in the log"),
                Some(Outcome::NotWritten) => assert_eq!(place, None, "record {record} is in the log"),
                // It may come late.
                Some(Outcome::InDoubt) => continue,
            }
            if let Some(place) = place {
                assert!(place > last, "record {record} is at {place}, before one that was sent before it");
                last = place;
            }
        }
    }
}

/// The world of a seed, until all has ended.
fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (0..steps).for_each(|_| world.step());
        world.heal();
        world.judge();
    }));
    if let Err(panic) = judged {
        let trace = world.trace.join("\n");
        #[allow(clippy::print_stdout)] // what has happened
        {
            println!("{trace}\nlog: {:?}", world.broker.log);
        }
        std::panic::resume_unwind(panic);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_row_says_is_true(seed: u64, steps in 0..400_usize) {
        for more in 0..20 {
            run(seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(more)), steps);
        }
    }
}
