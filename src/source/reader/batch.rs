//! Decodes the records of a batch in place, and enters them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use kafka_tower_core::source::DeliveryId;
use kafka_tower_core::wakers::guarded;
use kafka_tower_core::{
    Assignment, BatchSink, Error, ErrorKind, Header, Headers, RawRecord, RecordRef, Result, Timestamp, TimestampType,
};
use kafka_tower_layers::deserialize::{MessageDeserializer, check_content_type};

use crate::source::blocks::Blocks;
use crate::source::contents::KeptValue;
use crate::source::receipt::Origin;
use crate::source::telemetry::Polling;
use crate::source::{DecodePolicy, Shared};

/// How records are read.
#[derive(Debug, Default)]
pub(in crate::source) struct Reading {
    pub(in crate::source) policy: DecodePolicy,
    pub(in crate::source) lenient_content_type: bool,
    pub(in crate::source) keep_raw: bool,
    /// Whether records are taken as if they had no headers.
    pub(in crate::source) ignores_headers: bool,
    /// Whether the error of a record that cannot be decoded leaves its partition as it is.
    pub(in crate::source) hands_out_undecoded: bool,
}

/// A record that was read and not handed out.
pub(super) struct Read<T> {
    pub(super) meta: Meta,
    pub(super) body: Body<T>,
}

pub(super) struct Meta {
    pub(super) origin: Arc<Origin>,
    /// The default until it is entered.
    pub(super) id: DeliveryId,
    pub(super) offset: i64,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) timestamp_type: Option<TimestampType>,
    pub(super) key: Option<Bytes>,
    pub(super) headers: Headers,
    /// Bytes of value, key and headers.
    pub(super) bytes: u32,
    /// Its value, if messages keep it.
    pub(super) kept: Option<KeptValue>,
}

impl Meta {
    pub(super) fn raw_record(&self, value: Option<Bytes>) -> RawRecord {
        let at = &self.origin.at;
        let mut record = RawRecord::new(Arc::clone(&at.topic), at.partition, self.offset);
        (record.timestamp, record.timestamp_type) = (self.timestamp, self.timestamp_type);
        (record.key, record.value) = (self.key.clone(), value);
        record.headers = self.headers.clone();
        record
    }
}

pub(super) enum Body<T> {
    /// `None`: a tombstone.
    Decoded(Option<T>),
    Failed(Option<Bytes>, Error),
    /// The deserializer has to wait.
    Waits(Option<Bytes>),
}

/// The records of a batch. Its drop enters them, in one step; also after a panic of the transport, which does not lend them
/// again.
pub(super) struct Entering<'a, T> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) at: &'a Assignment,
    pub(super) ready: &'a mut VecDeque<Read<T>>,
    /// Index of its first record.
    pub(super) first: usize,
}

impl<T> Drop for Entering<'_, T> {
    fn drop(&mut self) {
        if self.ready.len() == self.first {
            return;
        }
        let mut old = 0;
        let mut state = self.shared.state();
        let mut deliver = state.engine.deliver(self.at);
        for read in self.ready.range_mut(self.first..) {
            match deliver(read.meta.offset) {
                Some(id) => read.meta.id = id,
                None => old += 1,
            }
        }
        drop(deliver);
        drop(state);
        if old > 0 {
            tracing::debug!(partition = %self.at.at, records = old, "records of an old epoch were discarded");
            let mut batch = self.ready.split_off(self.first);
            batch.retain(|read| read.meta.id != DeliveryId::default());
            self.ready.append(&mut batch);
        }
    }
}

/// Decodes the records of a batch.
pub(super) struct Sink<'a, T> {
    pub(super) entering: Entering<'a, T>,
    pub(super) deserializer: &'a dyn MessageDeserializer<T>,
    pub(super) reading: &'a Reading,
    pub(super) blocks: &'a mut Blocks,
    /// Made with the first record: most calls find none.
    pub(super) origin: Option<Arc<Origin>>,
    pub(super) polling: Option<Polling>,
    /// Bytes of the largest record.
    pub(super) largest: u32,
}

impl<T> Sink<'_, T> {
    /// `None` if the deserializer has to wait.
    fn decode(&self, lent: &RecordRef<'_>) -> Option<Result<T>> {
        if !self.reading.lenient_content_type && !lent.headers.is_empty() {
            if let Err(error) = check_content_type(self.deserializer.content_types(), lent) {
                return Some(Err(error));
            }
        }
        self.deserializer.deserialize_now(&self.entering.at.at.topic, lent)
    }
}

impl<T> BatchSink for Sink<'_, T> {
    fn record(&mut self, lent: RecordRef<'_>) {
        let lent = if self.reading.ignores_headers { lent.with_headers(&[]) } else { lent };
        let Entering { shared, at, .. } = self.entering;
        if self.polling.is_none() {
            guarded("telemetry", || self.polling = Some(shared.hooks.poll()));
        }
        let body = match lent.value {
            None => Body::Decoded(None),
            Some(value) => {
                let decode = || self.decode(&lent);
                match catch_unwind(AssertUnwindSafe(decode)) {
                    Ok(Some(Ok(value))) => Body::Decoded(Some(value)),
                    Ok(Some(Err(error))) => Body::Failed(own(Some(value)), error),
                    Ok(None) => Body::Waits(own(Some(value))),
                    Err(_) => Body::Failed(own(Some(value)), panicked()),
                }
            }
        };
        let key = lent.key.map(|key| self.blocks.copy(key));
        let header =
            |(key, value): &(&str, Option<&[u8]>)| Header { key: Cow::Owned((*key).to_owned()), value: own(*value) };
        let headers = lent.headers.iter().map(header).collect::<Headers>();
        guarded("telemetry", || self.polling.iter_mut().for_each(|polling| polling.record(&headers)));
        let kept = self.reading.keep_raw.then(|| Box::new(own(lent.value)));
        let new = || Arc::new(Origin { shared: Arc::clone(shared), at: at.at.clone() });
        let origin = Arc::clone(self.origin.get_or_insert_with(new));
        let (id, offset, bytes) = (DeliveryId::default(), lent.offset, bytes_of(&lent));
        let (timestamp, timestamp_type) = (lent.timestamp, lent.timestamp_type);
        self.largest = self.largest.max(bytes);
        let meta = Meta { origin, id, offset, timestamp, timestamp_type, key, headers, bytes, kept };
        self.entering.ready.push_back(Read { meta, body });
    }
}

fn bytes_of(lent: &RecordRef<'_>) -> u32 {
    let of = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let headers: usize = lent.headers.iter().map(|(key, value)| key.len() + of(*value)).sum();
    u32::try_from(of(lent.key) + of(lent.value) + headers).unwrap_or(u32::MAX)
}

fn own(part: Option<&[u8]>) -> Option<Bytes> {
    part.map(Bytes::copy_from_slice)
}

pub(super) fn panicked() -> Error {
    Error::new(ErrorKind::Serialization, "the deserializer panicked")
        .without_record()
        .with_help("correct the deserializer: it has to return an error")
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        assert_consistent(&panicked());
    }
}
