//! State of the transactional calls: what failed since `begin`, and why.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka_tower_core::sync::lock;

use super::ended_producer::{EndedProducer, ProducerId};
use super::lost_offsets::LostOffsets;
use super::previous::PreviousTransaction;
use crate::ffi::Client;
use crate::open_transaction::OpenTransaction;

/// State shared by the transactional calls.
#[derive(Debug, Default)]
pub(crate) struct TransactionState {
    /// Records that librdkafka reported as failed, and offsets, since the client was made: it refuses to commit without
    /// asking the coordinator. A record that only its caller was told of, such as one whose deadline passed, does not count.
    failed: AtomicU64,
    /// The number at `begin`.
    failed_before: AtomicU64,
    /// Records that a broker refused. librdkafka does not use their sequence numbers again, so that brokers refuse the next
    /// transaction of the same producer as well.
    refused: AtomicU64,
    refused_before: AtomicU64,
    /// Records that were parked and never reached librdkafka, which would commit without them.
    lost: AtomicU64,
    lost_before: AtomicU64,
    pub(crate) open: OpenTransaction,
    pub(crate) previous: PreviousTransaction,
    pub(super) lost_offsets: LostOffsets,
    /// Records that librdkafka gives up now belong to a transaction that is being aborted.
    pub(crate) aborting: AtomicBool,
    /// The begin of the last transaction.
    begun: Mutex<Option<Begun>>,
    /// When the present producer ended by a fatal error.
    ended_at: Mutex<Option<Instant>>,
    producer_id: Mutex<Option<ProducerId>>,
    /// Another producer owns the transactional id: this one is not replaced any more.
    pub(super) is_taken: AtomicBool,
    /// Why the transaction failed by itself: librdkafka then gives up what waits to be sent.
    error: Mutex<Option<String>>,
}

/// The begin of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) at: Instant,
    pub(super) generation: u64,
    /// Number of requests with records or offsets that this generation had sent before.
    pub(super) sent: u64,
}

impl TransactionState {
    /// librdkafka reported a record, or offsets, as failed, with this code.
    pub(crate) fn record_failed(&self, code: i32) {
        self.failed.fetch_add(1, Ordering::AcqRel);
        if code > 0 {
            self.refused.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn record_lost(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the numbers of failed, lost and refused records so far.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.failed, &self.lost, &self.refused].map(|count| count.load(Ordering::Acquire))
    }

    /// Reads from a log line why the transaction failed: "Current transaction failed in state …: …".
    pub(crate) fn fails(&self, text: &str) {
        let why = text.split_once(" failed in state ").and_then(|(_, rest)| rest.split_once(": "));
        if let Some((_, why)) = why {
            lock(&self.error).get_or_insert_with(|| why.to_owned());
        }
    }

    pub(crate) fn error(&self) -> Option<String> {
        lock(&self.error).clone()
    }

    pub(super) fn begun(&self, [failed, lost, refused]: [u64; 3], begun: Begun) {
        *lock(&self.error) = None;
        *lock(&self.begun) = Some(begun);
        self.failed_before.store(failed, Ordering::Release);
        self.lost_before.store(lost, Ordering::Release);
        self.refused_before.store(refused, Ordering::Release);
    }

    pub(super) fn any_record_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) != self.failed_before.load(Ordering::Acquire)
    }

    pub(super) fn any_record_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) != self.lost_before.load(Ordering::Acquire)
    }

    pub(super) fn any_record_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire) != self.refused_before.load(Ordering::Acquire)
    }

    /// Whether no request with records or offsets was sent in the last transaction, so that nothing of it is in a log.
    pub(crate) fn none_was_sent(&self, client: &Client, generation: u64) -> bool {
        let begun = *lock(&self.begun);
        begun.is_some_and(|begun| begun.generation == generation && begun.sent == client.transactional_writes())
    }

    /// The producer has ended by a fatal error, which was noticed at `now`. The first time counts.
    pub(crate) fn producer_ended(&self, now: Instant) {
        lock(&self.ended_at).get_or_insert(now);
    }

    /// A new producer is in place.
    pub(super) fn producer_replaced(&self) {
        *lock(&self.ended_at) = None;
    }

    /// What is known of a producer that has ended.
    pub(super) fn ended_producer(
        &self,
        client: &Client,
        generation: u64,
        is_fenced: bool,
        time_out: Duration,
    ) -> EndedProducer {
        let now = Instant::now();
        let ended = *lock(&self.ended_at).get_or_insert(now);
        let begun = *lock(&self.begun);
        EndedProducer {
            is_fenced,
            open_for: begun.map(|begun| ended.saturating_duration_since(begun.at)),
            time_out,
            any_sent: !self.none_was_sent(client, generation),
            any_lost: client.any_transactional_lost(),
        }
    }

    /// Reads the producer id from a log line.
    pub(crate) fn read_producer_id(&self, facility: &str, line: &str) {
        if let Some(id) = ProducerId::read(facility, line) {
            *lock(&self.producer_id) = Some(id);
        }
    }

    pub(super) fn producer_id(&self) -> Option<ProducerId> {
        *lock(&self.producer_id)
    }
}
