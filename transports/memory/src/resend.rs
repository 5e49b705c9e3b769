//! A client's own retries after a failed produce request, as librdkafka does them. No clock, no lock, no async.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, Persistence, Recovery};
use tokio::time::Instant;

use crate::log::Sequence;

/// Time between an attempt and the next one.
pub(crate) const BACKOFF: Duration = Duration::from_millis(100);

/// `retries`, `delivery.timeout.ms` and `enable.idempotence` of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) retries: u32,
    pub(crate) timeout: Duration,
    pub(crate) idempotent: bool,
}

/// Numbering state of a client.
#[derive(Debug)]
pub(crate) struct Resend {
    pub(crate) settings: Settings,
    producer_id: i64,
    epoch: i16,
    next: BTreeMap<(Arc<str>, i32), i32>,
}

/// Known facts about a record's attempts.
#[derive(Clone, Debug)]
pub(crate) struct Tries {
    pub(crate) count: u32,
    /// The client retries by itself.
    pub(crate) resends: bool,
    pub(crate) since: Instant,
    /// An attempt may have written the record.
    pub(crate) doubt: bool,
    pub(crate) sequence: Option<Sequence>,
    /// The batch of the record in its partition, possibly with other records.
    pub(crate) batch: u64,
}

impl Tries {
    pub(crate) fn new(now: Instant) -> Self {
        Self { count: 0, resends: false, since: now, doubt: false, sequence: None, batch: 0 }
    }

    /// Adapts the last error to all attempts.
    pub(crate) fn blame(&self, error: Error) -> Error {
        if self.count == 0 {
            return error;
        }
        let error = error.with_attempts(self.count + 1);
        if self.doubt && !error.may_be_written() {
            return error.in_doubt_since("an earlier attempt may have been written");
        }
        error
    }
}

impl Resend {
    pub(crate) fn new(settings: Settings, producer_id: i64) -> Self {
        Self { settings, producer_id, epoch: 0, next: BTreeMap::new() }
    }

    /// Returns the sequence for sending a record: its old one, unless the epoch has changed since.
    pub(crate) fn number(&mut self, topic: &Arc<str>, partition: i32, tries: &Tries) -> Option<Sequence> {
        if !self.settings.idempotent {
            return None;
        }
        if let Some(sequence) = tries.sequence.filter(|before| before.epoch == self.epoch) {
            return Some(sequence);
        }
        let next = self.next.entry((Arc::clone(topic), partition)).or_default();
        let number = *next;
        *next += 1;
        Some(Sequence { producer_id: self.producer_id, epoch: self.epoch, number, batch: tries.batch })
    }

    /// Whether a record is sent again after an error.
    pub(crate) fn again(&self, tries: &Tries, error: &Error, now: Instant) -> bool {
        let may = error.recovery() == Recovery::Retry || error.persistence() == Persistence::PossiblyPersisted;
        let in_time = now + BACKOFF < tries.since + self.settings.timeout;
        may && in_time && tries.count < self.settings.retries
    }

    /// Gives up a record. If it may have been written, the client cannot continue its numbering and takes a new
    /// epoch: other records that were written and not answered are then written again. Otherwise the next record
    /// takes its number.
    pub(crate) fn give_up(&mut self, topic: &Arc<str>, partition: i32, tries: &Tries) {
        let Some(sequence) = tries.sequence.filter(|sequence| sequence.epoch == self.epoch) else {
            return;
        };
        if tries.doubt {
            self.epoch += 1;
            self.next.clear();
        } else if let Some(next) = self.next.get_mut(&(Arc::clone(topic), partition)) {
            *next = sequence.number;
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;

    use super::*;

    fn resend(retries: u32, idempotent: bool) -> Resend {
        Resend::new(Settings { retries, timeout: Duration::from_secs(1), idempotent }, 7)
    }

    #[test]
    fn numbers_go_on_by_partition_and_begin_anew_with_an_epoch() {
        let mut client = resend(3, true);
        let now = Instant::now();
        let number = |client: &mut Resend, partition, before| {
            let tries = Tries { sequence: before, ..Tries::new(now) };
            client.number(&"t".into(), partition, &tries).map(|s| (s.epoch, s.number))
        };
        assert_eq!(number(&mut client, 0, None), Some((0, 0)));
        assert_eq!(number(&mut client, 0, None), Some((0, 1)));
        assert_eq!(number(&mut client, 1, None), Some((0, 0)));
        let first = Some(Sequence { producer_id: 7, epoch: 0, number: 0, batch: 0 });
        assert_eq!(number(&mut client, 0, first), Some((0, 0)), "the same one again");
        let tries = |doubt| Tries { doubt, sequence: first, ..Tries::new(now) };
        client.give_up(&"t".into(), 0, &tries(false));
        assert_eq!(number(&mut client, 0, None), Some((0, 0)), "a refused one leaves no gap");
        client.give_up(&"t".into(), 0, &tries(true));
        assert_eq!(number(&mut client, 0, first), Some((1, 0)));
        client.give_up(&"t".into(), 0, &tries(true));
        assert_eq!(number(&mut client, 0, None), Some((1, 1)), "one of the old epoch changes nothing more");
        assert_eq!(number(&mut resend(3, false), 0, None), None);
    }

    #[test]
    fn only_records_that_may_succeed_are_retried_and_within_the_limit() {
        let client = resend(2, false);
        let now = Instant::now();
        let tried = |count| Tries { count, ..Tries::new(now) };
        let again = |count, kind| client.again(&tried(count), &Error::new(kind, "no"), now);
        assert!(again(0, ErrorKind::Broker) && again(1, ErrorKind::Timeout));
        assert!(!again(2, ErrorKind::Broker));
        assert!(!again(0, ErrorKind::Rejected));
        let lost = Error::new(ErrorKind::Timeout, "lost");
        assert!(!client.again(&tried(0), &lost, now + Duration::from_secs(1)), "its time is up");
    }
}
