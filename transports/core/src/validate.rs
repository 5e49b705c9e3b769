//! Checks that can be made before anything is sent.
//!
//! librdkafka accepts an empty topic name and a negative partition, and reports the problem later or never. Header
//! names are not checked: Kafka accepts any text, including empty names and control characters.

use std::sync::Arc;

use crate::{Error, ErrorKind, Result, Timestamp};

/// Maximum length of a topic name in Kafka, in bytes.
pub const MAX_TOPIC_NAME: usize = 249;

/// Lookup table of the allowed bytes, because every record is checked.
static IN_TOPIC_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < table.len() {
        table[b] = matches!(b as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        b += 1;
    }
    table
};

/// Checks a topic name by Kafka's rule: 1 to 249 characters of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
///
/// Source: `org.apache.kafka.common.internals.Topic`.
///
/// # Errors
///
/// [`ErrorKind::InvalidRecord`] that says what is wrong.
///
/// ```
/// use kafka_tower_core::validate::topic_name;
///
/// assert!(topic_name("orders.v1").is_ok());
/// assert!(topic_name("bad topic!").is_err());
/// ```
#[inline]
pub fn topic_name(name: &str) -> Result<()> {
    // Without a branch for each byte.
    let allowed = name.bytes().fold(true, |allowed, b| allowed & IN_TOPIC_NAMES[usize::from(b)]);
    if allowed && (3..=MAX_TOPIC_NAME).contains(&name.len()) { Ok(()) } else { check_topic_name(name) }
}

/// The topic of a handle's first record. Its name was checked, so later records of the topic need no check. A clone begins anew:
/// its records may have the name at another place in memory.
#[derive(Debug, Default)]
#[doc(hidden)] // only a transport uses it
pub struct KnownTopic(Option<Arc<str>>);

impl KnownTopic {
    /// Checks the name of a record's topic.
    ///
    /// # Errors
    ///
    /// As [`topic_name`].
    #[inline]
    pub fn check(&mut self, topic: &Arc<str>) -> Result<()> {
        match &self.0 {
            Some(known) if Arc::ptr_eq(known, topic) => Ok(()),
            Some(_) => topic_name(topic),
            None => self.first(topic),
        }
    }

    #[cold]
    fn first(&mut self, topic: &Arc<str>) -> Result<()> {
        topic_name(topic)?;
        self.0 = Some(Arc::clone(topic));
        Ok(())
    }
}

impl Clone for KnownTopic {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cold]
#[inline(never)]
fn check_topic_name(name: &str) -> Result<()> {
    let fault = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > MAX_TOPIC_NAME {
        format!("it has {} characters, and Kafka allows {MAX_TOPIC_NAME}", name.chars().count())
    } else if name == "." || name == ".." {
        "Kafka reserves it".to_owned()
    } else if let Some(at) = name.bytes().position(|b| !IN_TOPIC_NAMES[usize::from(b)]) {
        // All bytes before `at` are ASCII, so a character starts there.
        format!("it contains the character {:?}", name[at..].chars().next().unwrap_or_default())
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(60).collect();
    Err(Error::new(ErrorKind::InvalidRecord, format!("{shown:?} is not a valid topic name: {fault}"))
        .with_help("use 1 to 249 letters, digits, '.', '_' and '-'"))
}

/// Checks that a partition is not negative.
///
/// # Errors
///
/// [`ErrorKind::InvalidRecord`] if it is negative.
pub fn partition(partition: i32) -> Result<()> {
    if partition >= 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidRecord, format!("{partition} is not a valid partition"))
        .with_help("partitions are numbered from 0; leave the partition out to let the key decide"))
}

/// Checks that a timestamp is after 1970: clients use 0 for "none", and brokers refuse negative ones.
///
/// # Errors
///
/// [`ErrorKind::InvalidRecord`] if it is not.
pub fn timestamp(timestamp: Timestamp) -> Result<()> {
    if timestamp.as_millis() > 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidRecord, format!("{timestamp} is not a valid record timestamp"))
        .with_help("timestamps are milliseconds since 1970 and at least 1; leave it out to use the time of the send"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        for good in ["a", "orders.v1", "A_b-9", &"x".repeat(249)] {
            assert!(topic_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "bad topic!", "ü", "nul\0", &"x".repeat(250)] {
            let error = topic_name(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRecord, "{bad}");
        }
    }

    #[test]
    fn only_the_first_valid_topic_is_known() {
        let (orders, bad): (Arc<str>, Arc<str>) = ("orders".into(), "bad topic!".into());
        let mut known = KnownTopic::default();
        for (topic, is_valid) in
            [(&bad, false), (&orders, true), (&bad, false), (&Arc::from("bills"), true), (&orders, true)]
        {
            assert_eq!(known.check(topic).is_ok(), is_valid, "{topic}");
        }
        assert_eq!((Arc::strong_count(&orders), Arc::strong_count(&bad)), (2, 1));
        assert!(known.clone().check(&bad).is_err());
    }

    #[test]
    fn partitions_are_not_negative() {
        assert!(partition(0).is_ok());
        assert!(partition(-7).is_err());
    }

    #[test]
    fn time_stamps_are_after_1970() {
        assert!(timestamp(Timestamp::from_millis(1)).is_ok());
        for bad in [0, -1] {
            assert!(timestamp(Timestamp::from_millis(bad)).is_err(), "{bad}");
        }
    }
}
