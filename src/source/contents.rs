//! The contents of a message, which come back to `serve` when the message is dropped, so that it can be handled again.

use std::mem;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Headers, RawRecord, Timestamp, TimestampType, TopicPartition};

/// The original bytes of a value; `None` is a tombstone's. Boxed, because few sources keep them and every message is moved.
pub(super) type KeptValue = Box<Option<Bytes>>;

pub(super) struct Contents<T> {
    pub(super) value: Option<T>,
    pub(super) key: Option<Bytes>,
    pub(super) headers: Headers,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) timestamp_type: Option<TimestampType>,
    pub(super) attempt: u32,
    /// Bytes of its record: value, key and headers.
    pub(super) bytes: u32,
    /// If the source keeps them.
    pub(super) raw: Option<KeptValue>,
    /// Where it returns to, and for which use.
    home: Option<(Arc<Home<T>>, u64)>,
}

impl<T> Contents<T> {
    pub(super) fn new(
        value: Option<T>,
        key: Option<Bytes>,
        headers: Headers,
        (timestamp, timestamp_type): (Option<Timestamp>, Option<TimestampType>),
        attempt: u32,
        bytes: u32,
    ) -> Self {
        Self { value, key, headers, timestamp, timestamp_type, attempt, bytes, raw: None, home: None }
    }

    pub(super) fn with_raw(mut self, raw: Option<KeptValue>) -> Self {
        self.raw = raw;
        self
    }

    /// The original record at this place, if its value was kept.
    pub(super) fn raw_record(&self, at: &TopicPartition, offset: i64) -> Option<RawRecord> {
        let value = self.raw.as_deref()?.clone();
        let mut record = RawRecord::new(Arc::clone(&at.topic), at.partition, offset);
        record.value = value;
        (record.key, record.headers) = (self.key.clone(), self.headers.clone());
        (record.timestamp, record.timestamp_type) = (self.timestamp, self.timestamp_type);
        Some(record)
    }

    /// It returns to `home` when it is dropped, unless its value was taken.
    pub(super) fn lend(&mut self, home: &Arc<Home<T>>, number: u64) {
        self.home = Some((Arc::clone(home), number));
    }

    /// Takes the value. The rest does not return.
    pub(super) fn take_value(&mut self) -> Option<T> {
        self.home = None;
        self.value.take()
    }
}

impl<T> Drop for Contents<T> {
    fn drop(&mut self) {
        let Some((home, number)) = self.home.take() else { return };
        let (value, key, headers) = (self.value.take(), self.key.take(), mem::take(&mut self.headers));
        let times = (self.timestamp, self.timestamp_type);
        let contents = Self::new(value, key, headers, times, self.attempt, self.bytes).with_raw(self.raw.take());
        home.put(number, contents);
    }
}

/// The place to which a message returns. It is used for one message after another.
pub(super) struct Home<T>(Mutex<Returned<T>>);

struct Returned<T> {
    /// Number of the present use: a message that comes later than its use does not return.
    number: u64,
    contents: Option<Contents<T>>,
}

impl<T> Home<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Returned { number: 0, contents: None }))
    }

    fn put(&self, number: u64, contents: Contents<T>) {
        let mut returned = lock(&self.0);
        if returned.number == number {
            returned.contents = Some(contents);
        } else {
            // The value's code does not run under the lock.
            drop(returned);
            drop(contents);
        }
    }

    /// Ends a use. Returns the message, if it has returned.
    pub(super) fn take(&self) -> Option<Contents<T>> {
        let mut returned = lock(&self.0);
        returned.number += 1;
        returned.contents.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(home: &Arc<Home<u32>>, number: u64) -> Contents<u32> {
        let mut contents = Contents::new(Some(7), Some(Bytes::from_static(b"k")), Headers::new(), (None, None), 1, 2);
        contents.lend(home, number);
        contents
    }

    #[test]
    fn a_message_returns_once_and_only_in_its_use() {
        let home = Arc::new(Home::new());
        assert!(home.take().is_none());
        drop(contents(&home, 1));
        let late = contents(&home, 1);
        let back = home.take().unwrap();
        assert_eq!((back.value, back.key.as_deref(), back.attempt), (Some(7), Some(&b"k"[..]), 1));
        drop(back);
        drop(late);
        assert!(home.take().is_none(), "it was late");
    }

    #[test]
    fn a_message_whose_value_was_taken_does_not_return() {
        let home = Arc::new(Home::new());
        let mut taken = contents(&home, 0);
        assert_eq!(taken.take_value(), Some(7));
        drop(taken);
        assert!(home.take().is_none());
    }
}
