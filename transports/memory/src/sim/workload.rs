//! Actions of the callers, drawn from the seed. Each send is drawn independently, so that removing one changes no
//! other.

use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Headers, Record};

use crate::faults::draw::{below, chance};

/// Topic of a check's records.
pub const TOPIC: &str = "check";
/// Header that identifies the record even if a layer changes its value.
pub(crate) const HEADER: &str = "kafka-tower-check";

#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) callers: u32,
    /// Per caller.
    pub(crate) sends: u32,
    /// Per caller; callers share no keys.
    pub(crate) keys: u32,
    pub(crate) partitions: u32,
    pub(crate) limits: Limits,
}

/// What a caller does with the future of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Awaits it before the next send.
    Await,
    /// Continues, and awaits it later.
    Keep,
    /// Drops the future at once.
    Leave,
    /// Polls the future once, and drops it.
    Glance,
}

/// One send of a caller.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) id: u32,
    pub(crate) caller: u32,
    pub(crate) key: Option<u32>,
    /// Pause before the send.
    pub(crate) pause: Duration,
    pub(crate) patience: Option<Duration>,
    pub(crate) bytes: usize,
    pub(crate) then: Then,
    /// Awaits all kept futures before the send.
    pub(crate) settle: bool,
}

impl Workload {
    /// Number of the last sends, made before the close. Their ids follow those of the callers.
    pub(crate) const BURST: u32 = 4;

    pub(crate) fn step(&self, seed: u64, caller: u32, index: u32) -> Step {
        let id = caller * self.sends + index;
        let place = |what: u64| [1_000 + what, u64::from(id)];
        let up_to = |what, end| below(seed, &place(what), end);
        let key = (!chance(seed, &place(0), 0.1)).then(|| caller * self.keys + up_to(1, u64::from(self.keys)) as u32);
        let pause = if chance(seed, &place(2), 0.15) { 1 + up_to(3, 20) } else { 0 };
        let patience = chance(seed, &place(4), 0.15).then(|| Duration::from_millis(1 + up_to(5, 50)));
        let then = match up_to(6, 20) {
            0 => Then::Leave,
            1 => Then::Glance,
            2..=9 => Then::Await,
            _ => Then::Keep,
        };
        let settle = chance(seed, &place(7), 0.1);
        let bytes = up_to(8, 200) as usize;
        Step { id, caller, key, pause: Duration::from_millis(pause), patience, bytes, then, settle }
    }

    pub(crate) fn burst(&self, index: u32) -> Step {
        Step {
            id: self.callers * self.sends + index,
            caller: self.callers,
            key: None,
            pause: Duration::ZERO,
            patience: None,
            bytes: 10,
            then: Then::Keep,
            settle: false,
        }
    }
}

impl Step {
    /// The record as passed to the stack, without its deadline.
    pub(crate) fn record(&self) -> Record {
        let mut headers = Headers::new();
        headers.push(HEADER, self.id.to_string());
        let width = self.bytes;
        let mut record = Record::new(TOPIC).with_value(format!("{}:{:width$}", self.id, "")).with_headers(headers);
        record.key = self.key.map(|key| format!("k{key}").into());
        record
    }
}

/// The number of a record that a check sends, from 0; `None` for other records.
pub fn number_of(record: &Record) -> Option<u32> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.split(':').next()?.parse().ok());
    match record.headers.get(HEADER) {
        Some(value) => text(value),
        None => text(record.value.as_ref()?),
    }
}
