//! Reads batches, and hands messages out.

mod batch;

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::source::CommitStrategy;
use kafka_tower_core::{Error, RawRecord, Result, TopicPartition};
use kafka_tower_layers::deserialize::MessageDeserializer;
use tokio::runtime::Handle;

use self::batch::{Body, Entering, Meta, Read, Sink, panicked};
use super::blocks::Blocks;
use super::contents::Contents;
use super::decode_policy::OnDecodeError;
use super::letters::Letters;
use super::shared::State;
use super::{Receipt, Shared, SourceError, SourceMessage};

pub(super) use self::batch::Reading;

/// Maximum number of records that are decoded before they are handed out.
const BATCH: usize = 64;

/// Maximum bytes of these records, as far as the largest one of the batch before shows it.
const BATCH_BYTES: usize = 1_048_576;

/// Bytes of a record before anything is known: the first batch is a small one.
const FIRST: u32 = 131_072;

/// Number of records after which the reader lets other tasks run.
const BUDGET: u8 = 128;

type Received<T> = Result<SourceMessage<T>, SourceError>;

type Deserializer<T> = Arc<dyn MessageDeserializer<T>>;

type Decoding<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

pub(super) struct Reader<T> {
    deserializer: Deserializer<T>,
    reading: Reading,
    /// Dead letters, if that is the policy.
    letters: Option<Letters<()>>,
    ready: VecDeque<Read<T>>,
    /// Memory for keys.
    blocks: Blocks,
    /// A record whose deserializer waits.
    decoding: Option<(Meta, RawRecord, Decoding<T>)>,
    /// The partition that was read last; the next one follows in turn.
    last: Option<TopicPartition>,
    /// Bytes of the largest record of the last batch.
    largest: u32,
    /// Number of records since the reader last let other tasks run.
    handed: u8,
}

/// No value is pinned here.
impl<T> Unpin for Reader<T> {}

impl<T: Send + 'static> Reader<T> {
    pub(super) fn new(deserializer: Deserializer<T>, reading: Reading) -> Self {
        let letters = match &reading.policy.0 {
            OnDecodeError::DeadLetter(service) => Some(Letters::new(service.clone(), Handle::current())),
            OnDecodeError::Fail | OnDecodeError::Skip => None,
        };
        let (ready, blocks) = (VecDeque::new(), Blocks::default());
        Self { deserializer, reading, letters, ready, blocks, decoding: None, last: None, largest: FIRST, handed: 0 }
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

    /// Messages that are read from now on keep the original bytes of their values.
    pub(super) fn keep_raw(&mut self) {
        self.reading.keep_raw = true;
    }

    /// Records that cannot be decoded are handed out with their errors, and hold nothing up, unless they are skipped.
    pub(super) fn hand_out_undecoded(&mut self) {
        self.reading.hands_out_undecoded = true;
    }

    /// Whether records that cannot be decoded are dead-lettered.
    pub(super) fn has_dead_letters(&self) -> bool {
        self.letters.is_some()
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
        // Also if a message is there: who receives it may not ask for another one before a turn has news for it.
        let is_known = state.reader.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        let old = if is_known { None } else { state.reader.replace(cx.waker().clone()) };
        if let Some((meta, value, attempt)) = self.dispatch_next(shared, &mut state) {
            drop(state);
            drop(old);
            return Poll::Ready(Ok(message(shared, meta, value, attempt)));
        }
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
        while let Some(Poll::Ready(((), error))) = self.letters.as_mut().map(|letters| letters.poll_ended(cx)) {
            if let Some(error) = error {
                return Poll::Ready(Err(error));
            }
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

    /// Dispatches the next record, if it was decoded and nothing comes before it.
    fn dispatch_next(&mut self, shared: &Shared, state: &mut State) -> Option<(Meta, Option<T>, u32)> {
        let Read { meta, body: Body::Decoded(_) } = self.ready.front()? else { return None };
        let others = self.letters.is_some() || self.decoding.is_some() || !state.notices.is_empty();
        if others || shared.strategy() == CommitStrategy::AtMostOnce || state.engine.is_closing() {
            return None;
        }
        let attempt = state.engine.dispatch(&meta.origin.at, meta.id)?;
        match self.ready.pop_front() {
            Some(Read { meta, body: Body::Decoded(value) }) => Some((meta, value, attempt)),
            _ => None,
        }
    }

    /// Hands out the next record that was read. `None` if there is none.
    fn poll_ready(&mut self, shared: &Arc<Shared>, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        loop {
            if self.waits_for_commit(shared) {
                return Poll::Pending;
            }
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
                        let record = meta.raw_record(value);
                        let (deserializer, copy) = (Arc::clone(&self.deserializer), record.clone());
                        let decoding = Box::pin(async move { deserializer.deserialize(copy).await });
                        self.decoding = Some((meta, record, decoding));
                        continue;
                    }
                    Some(read) => read,
                },
            };
            let waits = self.letters.as_ref().is_some_and(|letters| !letters.has_room());
            if waits && matches!(read.body, Body::Failed(..)) {
                self.ready.push_front(read);
                return Poll::Pending;
            }
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

    /// Whether the next record is not handed out yet, because it is not committed. The turn that takes the answer wakes the
    /// reader.
    fn waits_for_commit(&self, shared: &Arc<Shared>) -> bool {
        if shared.strategy() != CommitStrategy::AtMostOnce {
            return false;
        }
        let decoding = self.decoding.as_ref().map(|(meta, ..)| meta);
        let Some(next) = decoding.or_else(|| self.ready.front().map(|read| &read.meta)) else { return false };
        let mut state = shared.state();
        let waits = state.engine.waits_for_commit(&next.origin.at, next.id, super::shared::now());
        let notify = waits && state.engine.needs_turn(&next.origin.at);
        drop(state);
        if notify {
            shared.consumer().notify();
        }
        waits
    }

    /// Hands a record to the application, unless its partition is not ours any more or is read again, or the policy settles
    /// it.
    fn hand_out(&mut self, shared: &Arc<Shared>, read: Read<T>) -> Option<Received<T>> {
        let Read { meta, body } = read;
        let attempt = shared.state().engine.dispatch(&meta.origin.at, meta.id)?;
        match body {
            Body::Failed(value, error) => {
                shared.hooks.not_decoded(&meta.origin.at.topic);
                let record = meta.raw_record(value);
                let receipt = Receipt::new(meta.origin, meta.offset, meta.id);
                self.not_decoded(record, receipt, attempt, error).map(Err)
            }
            Body::Waits(_) => None,
            Body::Decoded(value) => Some(Ok(message(shared, meta, value, attempt))),
        }
    }

    /// Does with a record that could not be decoded what the policy says.
    fn not_decoded(&mut self, record: RawRecord, receipt: Receipt, attempt: u32, error: Error) -> Option<SourceError> {
        let skips = matches!(self.reading.policy.0, OnDecodeError::Skip);
        // While it is skipped or dead-lettered, its partition goes on.
        let goes_on = skips || self.letters.is_some() || self.reading.hands_out_undecoded;
        if !goes_on && !receipt.reject() {
            return None;
        }
        let error = SourceError::decode(record, receipt, attempt, error);
        match &mut self.letters {
            Some(letters) => {
                if let Some((failed, receipt)) = error.into_failed() {
                    letters.send(failed, receipt, ());
                }
                None
            }
            None if skips => {
                error.skip();
                None
            }
            None => Some(error),
        }
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
                let of_bytes = (BATCH_BYTES / (self.largest as usize).max(1)).clamp(1, BATCH);
                let max = shared.state().engine.room(&at).min(room(&at.at)).min(of_bytes);
                if max == 0 {
                    break;
                }
                let (deserializer, reading) = (&*self.deserializer, &self.reading);
                let entering = Entering { shared, at: &at, first: self.ready.len(), ready: &mut self.ready };
                let (blocks, origin, polling) = (&mut self.blocks, None, None);
                let mut sink = Sink { entering, deserializer, reading, blocks, origin, polling, largest: 0 };
                let batch = shared.consumer().poll_batch(&at, max, &mut sink, cx);
                let (polling, largest) = (sink.polling.take(), sink.largest);
                drop(sink);
                let Poll::Ready(batch) = batch else { break };
                if let Some(position) = batch.position {
                    let mut state = shared.state();
                    state.engine.reach(&at, position, super::shared::now());
                    let notify = state.engine.needs_turn(&at.at);
                    drop(state);
                    if notify {
                        shared.consumer().notify();
                    }
                }
                if batch.records > 0 {
                    self.largest = largest;
                    polling.into_iter().for_each(|polling| polling.finish(&at.at, batch.records));
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

/// The message of a record that was dispatched.
fn message<T>(shared: &Shared, meta: Meta, value: Option<T>, attempt: u32) -> SourceMessage<T> {
    let Meta { origin, id, offset, timestamp, timestamp_type, key, headers, bytes, kept } = meta;
    let contents = Contents::new(value, key, headers, (timestamp, timestamp_type), attempt, bytes).with_raw(kept);
    let message = SourceMessage { contents, receipt: Receipt::new(origin, offset, id) };
    shared.hooks.consumed(message.topic());
    message
}
