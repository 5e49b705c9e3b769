//! Reads batches, decodes them in place, and hands messages out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use kafka_tower_core::source::DeliveryId;
use kafka_tower_core::{
    Assignment, BatchSink, Error, ErrorKind, Header, Headers, RawRecord, RecordRef, Result, TopicPartition,
};
use kafka_tower_layers::deserialize::{MessageDeserializer, check_content_type};

use super::contents::Contents;
use super::decode_policy::OnDecodeError;
use super::shared::now;
use super::{DecodePolicy, Receipt, Shared, SourceError, SourceMessage};

/// Maximum number of records that are decoded before they are handed out.
const BATCH: usize = 64;

/// Number of records after which the reader lets other tasks run.
const BUDGET: u8 = 128;

type Received<T> = Result<SourceMessage<T>, SourceError>;

type Deserializer<T> = Arc<dyn MessageDeserializer<T>>;

type Decoding<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// How records are read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) policy: DecodePolicy,
    pub(super) lenient_content_type: bool,
}

pub(super) struct Reader<T> {
    deserializer: Deserializer<T>,
    reading: Reading,
    ready: VecDeque<Read<T>>,
    /// A record whose deserializer waits.
    decoding: Option<(Meta, RawRecord, Decoding<T>)>,
    /// The partition that was read last; the next one follows in turn.
    last: Option<TopicPartition>,
    /// Number of records since the reader last let other tasks run.
    handed: u8,
}

/// A record that was read and not handed out.
struct Read<T> {
    meta: Meta,
    body: Body<T>,
}

struct Meta {
    at: TopicPartition,
    id: DeliveryId,
    /// The record without its value.
    record: RawRecord,
}

enum Body<T> {
    /// `None`: a tombstone.
    Decoded(Option<T>),
    Failed(Option<Bytes>, Error),
    /// The deserializer has to wait.
    Waits(Option<Bytes>),
}

/// No value is pinned here.
impl<T> Unpin for Reader<T> {}

impl<T: Send + 'static> Reader<T> {
    pub(super) fn new(deserializer: Deserializer<T>, reading: Reading) -> Self {
        Self { deserializer, reading, ready: VecDeque::new(), decoding: None, last: None, handed: 0 }
    }

    /// Receives the next message. `room` says how many records of a partition may be read now.
    pub(super) fn poll(
        &mut self,
        shared: &Arc<Shared>,
        room: impl FnMut(&TopicPartition) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<Received<T>> {
        if self.handed == BUDGET {
            self.handed = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let received = self.poll_received(shared, room, cx);
        self.handed = if received.is_ready() { self.handed + 1 } else { 0 };
        received
    }

    /// Whether a record was read and not handed out.
    pub(super) fn has_read(&self) -> bool {
        !self.ready.is_empty()
    }

    fn poll_received(
        &mut self,
        shared: &Arc<Shared>,
        mut room: impl FnMut(&TopicPartition) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<Received<T>> {
        let mut state = shared.state();
        let old = state.reader.replace(cx.waker().clone());
        let (notice, closing) = (state.notices.pop_front(), state.engine.is_closing());
        drop(state);
        drop(old);
        if let Some(error) = notice {
            return Poll::Ready(Err(error));
        }
        if closing {
            self.ready.clear();
            self.decoding = None;
            return Poll::Ready(Err(SourceError::closed()));
        }
        loop {
            if let Some(received) = ready!(self.poll_ready(shared, cx)) {
                return Poll::Ready(received);
            }
            if !self.read(shared, &mut room, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Hands out the next record that was read. `None` if there is none.
    fn poll_ready(&mut self, shared: &Arc<Shared>, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        loop {
            let read = match self.decoding.take() {
                Some((meta, record, mut decoding)) => {
                    let decoded = catch_unwind(AssertUnwindSafe(|| decoding.as_mut().poll(cx)));
                    let body = match decoded {
                        Ok(Poll::Pending) => {
                            self.decoding = Some((meta, record, decoding));
                            return Poll::Pending;
                        }
                        Ok(Poll::Ready(Ok(value))) => Body::Decoded(Some(value)),
                        Ok(Poll::Ready(Err(error))) => Body::Failed(record.value, error),
                        Err(_) => Body::Failed(record.value, panicked()),
                    };
                    Read { meta, body }
                }
                None => match self.ready.pop_front() {
                    None => return Poll::Ready(None),
                    Some(Read { meta, body: Body::Waits(value) }) => {
                        let mut record = meta.record.clone();
                        record.value = value;
                        let (deserializer, copy) = (Arc::clone(&self.deserializer), record.clone());
                        let decoding = Box::pin(async move { deserializer.deserialize(copy).await });
                        self.decoding = Some((meta, record, decoding));
                        continue;
                    }
                    Some(read) => read,
                },
            };
            if let Some(received) = self.hand_out(shared, read) {
                return Poll::Ready(Some(received));
            }
            self.handed += 1;
            if self.handed == BUDGET {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Hands a record to the application, unless its partition is not ours any more or is read again, or the policy settles
    /// it.
    fn hand_out(&mut self, shared: &Arc<Shared>, read: Read<T>) -> Option<Received<T>> {
        let Read { meta: Meta { at, id, mut record }, body } = read;
        let mut state = shared.state();
        let attempt = state.engine.dispatch(&at, id)?;
        let skips = matches!(self.reading.policy.0, OnDecodeError::Skip);
        if matches!(body, Body::Failed(..)) && !skips {
            state.engine.reject(&at, id, now());
        }
        drop(state);
        let receipt = Receipt::new(Arc::clone(shared), at, record.offset, id);
        Some(match body {
            Body::Failed(value, error) => {
                record.value = value;
                let error = SourceError::decode(record, receipt, error);
                if skips {
                    error.skip();
                    return None;
                }
                Err(error)
            }
            Body::Waits(_) => return None,
            Body::Decoded(value) => {
                let RawRecord { key, headers, timestamp, .. } = record;
                Ok(SourceMessage { contents: Contents::new(value, key, headers, timestamp, attempt), receipt })
            }
        })
    }

    /// Reads a batch of the next partition that has one. False if none has: then the waker is registered.
    fn read(
        &mut self,
        shared: &Arc<Shared>,
        room: &mut impl FnMut(&TopicPartition) -> usize,
        cx: &mut Context<'_>,
    ) -> bool {
        let mut readable = shared.state().engine.readable();
        let next = readable.partition_point(|at| Some(&at.at) <= self.last.as_ref());
        readable.rotate_left(next);
        for at in readable {
            let mut position = None;
            loop {
                let max = shared.state().engine.room(&at).min(room(&at.at)).min(BATCH);
                if max == 0 {
                    break;
                }
                let lenient = self.reading.lenient_content_type;
                let deserializer = &*self.deserializer;
                let mut sink = Sink { shared, at: &at, deserializer, lenient, ready: &mut self.ready };
                let Poll::Ready(batch) = shared.consumer().poll_batch(&at, max, &mut sink, cx) else { break };
                if let Some(position) = batch.position {
                    let mut state = shared.state();
                    state.engine.reach(&at, position, now());
                    let notify = state.engine.needs_turn(&at.at);
                    drop(state);
                    if notify {
                        shared.consumer().notify();
                    }
                }
                if batch.records > 0 {
                    self.last = Some(at.at);
                    return true;
                }
                if batch.position <= position {
                    // Nothing new: the epoch has ended, and the turn that ends it wakes the reader.
                    break;
                }
                position = batch.position;
            }
        }
        false
    }
}

/// Decodes the records of a batch.
struct Sink<'a, T> {
    shared: &'a Arc<Shared>,
    at: &'a Assignment,
    deserializer: &'a dyn MessageDeserializer<T>,
    lenient: bool,
    ready: &'a mut VecDeque<Read<T>>,
}

impl<T> Sink<'_, T> {
    /// `None` if the deserializer has to wait.
    fn decode(&self, lent: &RecordRef<'_>) -> Option<Result<T>> {
        if !self.lenient && !lent.headers.is_empty() {
            if let Err(error) = check_content_type(self.deserializer.content_types(), lent) {
                return Some(Err(error));
            }
        }
        self.deserializer.deserialize_now(&self.at.at.topic, lent)
    }
}

impl<T> BatchSink for Sink<'_, T> {
    fn record(&mut self, lent: RecordRef<'_>) {
        let at = &self.at.at;
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
        // After decoding, so that nothing foreign runs between this and the queue.
        let Some(id) = self.shared.state().engine.deliver(self.at, lent.offset) else {
            tracing::debug!(partition = %at, offset = lent.offset, "a record of an old epoch was discarded");
            return;
        };
        let mut record = RawRecord::new(Arc::clone(&at.topic), at.partition, lent.offset);
        (record.timestamp, record.key) = (lent.timestamp, own(lent.key));
        let header =
            |(key, value): &(&str, Option<&[u8]>)| Header { key: Cow::Owned((*key).to_owned()), value: own(*value) };
        record.headers = lent.headers.iter().map(header).collect::<Headers>();
        self.ready.push_back(Read { meta: Meta { at: at.clone(), id, record }, body });
    }
}

fn own(part: Option<&[u8]>) -> Option<Bytes> {
    part.map(Bytes::copy_from_slice)
}

fn panicked() -> Error {
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
