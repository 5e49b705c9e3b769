//! What answers mean for a row.

use std::collections::VecDeque;

use super::code::{Class, Why, class};
use super::row::{Row, after};
use super::{Answer, Effect, Key, LAST_EPOCH, Mode, Rework};

/// How often a batch is sent that arrives spoiled.
const CORRUPT: u8 = 3;

impl<B> Row<B> {
    /// Takes in what became of a batch that was sent. What has to be done is added to `effects`.
    pub fn answered(&mut self, key: Key, answer: &Answer<'_>, effects: &mut Vec<Effect<B>>) {
        let Some(at) = self.batches.iter().position(|entry| entry.key == key) else { return };
        let Some(entry) = self.batches.get_mut(at) else { return };
        entry.sent = false;
        match *answer {
            Answer::Written => self.deliver(at, None, effects),
            Answer::None { wholly } => {
                entry.in_doubt |= wholly;
                if self.mode != Mode::Idempotent && wholly {
                    self.fail(at, Why::Lost, effects);
                } else {
                    self.ask_again_from_the_head();
                }
                self.alone = true;
                effects.extend([Effect::Metadata, Effect::Backoff { again_at_once: false }]);
            }
            Answer::Code { code, offset, refused, new_leader_known } => {
                let class = class(code, self.mode);
                if !matches!(class, Class::Appended | Class::Duplicate) {
                    self.alone = true;
                }
                match class {
                    Class::Appended => self.deliver(at, Some(offset).filter(|offset| *offset >= 0), effects),
                    Class::Duplicate => self.deliver(at, None, effects),
                    Class::OutOfOrder => self.out_of_order(at, effects),
                    Class::UnknownProducer | Class::OtherProducer => self.lost_producer(at, code, effects),
                    Class::Again { begins_doubt, metadata } => {
                        self.refused_for_now(at, code, begins_doubt, metadata, new_leader_known, effects);
                    }
                    Class::Corrupt if entry.corrupt + 1 < CORRUPT => {
                        entry.corrupt += 1;
                        self.ask_again_from_the_head();
                        effects.push(Effect::Backoff { again_at_once: false });
                    }
                    Class::TooLarge if !entry.in_doubt => {
                        effects.push(Effect::Rework { key, code, why: Rework::TooLarge });
                    }
                    Class::Invalid if !entry.in_doubt => {
                        let named = !refused.is_empty();
                        let why = if named { Rework::Refused(refused.to_vec()) } else { Rework::RefusedWhole };
                        effects.push(Effect::Rework { key, code, why });
                    }
                    Class::Corrupt | Class::TooLarge | Class::Invalid | Class::Refused => {
                        self.fail(at, Why::Code(code), effects);
                    }
                    Class::Unknown => {
                        entry.in_doubt = true;
                        self.fail(at, Why::Code(code), effects);
                    }
                }
            }
        }
        self.renumber();
        self.take_newest();
    }

    /// The batch is in the log, and with it all before it that are in doubt: a broker appends in order.
    fn deliver(&mut self, at: usize, offset: Option<i64>, effects: &mut Vec<Effect<B>>) {
        let mut left = VecDeque::with_capacity(self.batches.len());
        for (place, entry) in std::mem::take(&mut self.batches).into_iter().enumerate() {
            let settled = if self.mode == Mode::Idempotent { place < at && entry.in_doubt } else { false };
            if place == at {
                self.base = after(entry.sequence, entry.records);
                effects.push(Effect::Delivered { batch: entry.batch, offset });
            } else if settled {
                effects.push(Effect::Delivered { batch: entry.batch, offset: None });
            } else {
                left.push_back(entry);
            }
        }
        self.batches = left;
        (self.alone, self.acknowledged, self.was_other) = (false, true, false);
        self.ask_again_from_the_head();
    }

    /// Takes a batch out that is not sent again. In doubt, its numbers cannot be used for anything else: an epoch ends with it.
    pub(super) fn fail(&mut self, at: usize, why: Why, effects: &mut Vec<Effect<B>>) {
        let Some(entry) = self.batches.remove(at) else { return };
        self.ask_again_from_the_head();
        if entry.in_doubt && self.mode == Mode::Idempotent {
            self.gave_up = true;
            self.spend(effects);
        }
        effects.push(Effect::Failed { batch: entry.batch, why, in_doubt: entry.in_doubt });
    }

    /// The epoch is over: nothing new goes under it.
    fn spend(&mut self, effects: &mut Vec<Effect<B>>) {
        if std::mem::replace(&mut self.is_spent, true) {
            return;
        }
        let is_last = self.producer.is_some_and(|producer| producer.epoch >= LAST_EPOCH);
        effects.push(if is_last { Effect::NewProducerId } else { Effect::NewEpoch });
    }

    fn refused_for_now(
        &mut self,
        at: usize,
        code: i16,
        begins_doubt: bool,
        metadata: bool,
        new_leader_known: bool,
        effects: &mut Vec<Effect<B>>,
    ) {
        if let Some(entry) = self.batches.get_mut(at) {
            entry.in_doubt |= begins_doubt;
        }
        if begins_doubt && self.mode != Mode::Idempotent {
            self.fail(at, Why::Code(code), effects);
        } else {
            self.ask_again_from_the_head();
        }
        effects.extend(metadata.then_some(Effect::Metadata));
        effects.push(Effect::Backoff { again_at_once: new_leader_known });
    }

    /// The broker expects another number.
    fn out_of_order(&mut self, at: usize, effects: &mut Vec<Effect<B>>) {
        if self.mode != Mode::Idempotent {
            return self.unexplained(at, 45, effects);
        }
        let is_certain = !self.is_spent && !self.batches.iter().any(|entry| entry.in_doubt);
        if self.batches.iter().take(at).any(|before| !before.asked_in_vain) || (is_certain && !self.is_contiguous()) {
            // Because of one before it, which is sent again first, or is gone.
            return;
        }
        if let Some(entry) = self.batches.get_mut(at) {
            entry.asked_in_vain = true;
        }
        // A broker that has restarted remembers the last batch only: an older one is refused although it is in the log.
        if !self.batches.iter().all(|entry| entry.asked_in_vain) {
            return;
        }
        if self.gave_up {
            // What was given up may be what the broker remembers, or waits for.
            while let Some(at) = self.batches.iter().position(|entry| entry.in_doubt) {
                self.fail(at, Why::Code(45), effects);
            }
        } else if self.is_contiguous() && self.acknowledged && !self.is_spent {
            effects.push(Effect::LostAcknowledged);
        }
        // None is in the log.
        for entry in &mut self.batches {
            (entry.in_doubt, entry.asked_in_vain) = (false, false);
        }
        self.spend(effects);
    }

    /// The broker does not know the producer any more, or knows another one by its id.
    fn lost_producer(&mut self, at: usize, code: i16, effects: &mut Vec<Effect<B>>) {
        if self.mode != Mode::Idempotent {
            return self.unexplained(at, code, effects);
        }
        let is_other = class(code, self.mode) == Class::OtherProducer;
        let again = is_other && std::mem::replace(&mut self.was_other, is_other);
        let in_doubt = self.batches.get(at).is_some_and(|entry| entry.in_doubt);
        if in_doubt || again {
            self.fail(at, Why::Code(code), effects);
        }
        // What is in doubt cannot be told from the other producer's any more, or is not known to the broker either.
        while let Some(at) = self.batches.iter().position(|entry| entry.in_doubt && !entry.sent) {
            self.fail(at, Why::Code(code), effects);
        }
        if !is_other {
            self.spend(effects);
        } else if !std::mem::replace(&mut self.is_spent, true) {
            effects.push(Effect::NewProducerId);
        }
        effects.push(Effect::Backoff { again_at_once: false });
    }

    /// An answer that makes no sense.
    fn unexplained(&mut self, at: usize, code: i16, effects: &mut Vec<Effect<B>>) {
        if let Some(entry) = self.batches.get_mut(at) {
            entry.in_doubt = true;
        }
        self.fail(at, Why::Code(code), effects);
    }
}
