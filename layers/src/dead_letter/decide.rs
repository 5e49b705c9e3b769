//! What a dead letter is, and whether there may be one. No clock, no lock, no async.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Result};

use super::provenance::hops;
use super::{DeadLetterStyle, FailedRecord};

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) style: DeadLetterStyle,
    /// `None`: the record's topic and the style's suffix.
    pub(super) topic: Option<Arc<str>>,
    pub(super) max_hops: u32,
    pub(super) timeout: Duration,
}

/// The dead letter of a failed record.
pub(super) fn letter(settings: &Settings, failed: FailedRecord) -> Result<Record> {
    let from = &failed.record.topic;
    let suffix = settings.style.suffix();
    let topic = match &settings.topic {
        Some(topic) if topic == from => return Err(of_dead_letter_topic(from)),
        Some(topic) => Arc::clone(topic),
        None if from.ends_with(suffix) => return Err(of_dead_letter_topic(from)),
        None => format!("{from}{suffix}").into(),
    };
    let hops = hops(&failed.record.headers);
    if hops >= settings.max_hops as usize {
        return Err(too_many_hops(hops));
    }
    let mut headers = failed.record.headers.clone();
    settings.style.add(&failed, &mut headers);
    let FailedRecord { record, .. } = failed;
    let mut letter = Record::new(topic).with_headers(headers).with_partition(record.partition);
    (letter.key, letter.value) = (record.key, record.value);
    Ok(letter)
}

/// Whether to send the letter once more without its partition: the topic may have fewer. Only if it was not written.
#[must_use]
pub fn lacks_partition(error: &Error) -> bool {
    error.kind() == ErrorKind::UnknownTopicOrPartition && error.persistence() == Persistence::NotPersisted
}

fn of_dead_letter_topic(topic: &str) -> Error {
    Error::refused(format!("a record of the dead letter topic {topic} is not dead-lettered again"))
        .with_help("handle or skip it: another dead letter would come to the same reader")
}

fn too_many_hops(hops: usize) -> Error {
    Error::refused(format!("the record was dead-lettered {hops} times before"))
        .with_help("find out why it comes back, or raise `max_hops`")
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{Headers, RawRecord};
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    fn settings(style: DeadLetterStyle, topic: Option<&str>) -> Settings {
        Settings { style, topic: topic.map(Into::into), max_hops: 3, timeout: Duration::ZERO }
    }

    fn failed(topic: &str) -> FailedRecord {
        let mut record = RawRecord::new(topic, 7, 1);
        (record.key, record.value) = (Some("k".into()), Some("v".into()));
        record.headers.push("region", "eu");
        record.headers.push_null("region");
        FailedRecord::new(record, "Decode", "")
    }

    #[test]
    fn a_letter_has_the_record_and_its_topic() {
        for (style, named, topic) in [
            (DeadLetterStyle::Own, None, "orders.dlq"),
            (DeadLetterStyle::Connect, None, "orders.dlq"),
            (DeadLetterStyle::Spring, None, "orders-dlt"),
            (DeadLetterStyle::Spring, Some("dead"), "dead"),
        ] {
            let letter = letter(&settings(style, named), failed("orders")).unwrap();
            assert_eq!((&*letter.topic, letter.partition, letter.timestamp), (topic, Some(7), None));
            assert_eq!((letter.key.unwrap(), letter.value.unwrap()), ("k".into(), "v".into()));
            let first: Vec<_> = letter.headers.iter().take(2).map(|header| header.value.clone()).collect();
            assert_eq!(first, [Some("eu".into()), None]);
            assert_eq!(hops(&letter.headers), 1);
        }
        let mut tombstone = failed("orders");
        (tombstone.record.key, tombstone.record.value) = (None, None);
        let letter = letter(&settings(DeadLetterStyle::Own, None), tombstone).unwrap();
        assert_eq!((letter.key, letter.value), (None, None));
    }

    #[test]
    fn loops_are_refused() {
        for (style, named, from) in [
            (DeadLetterStyle::Own, None, "orders.dlq"),
            (DeadLetterStyle::Spring, None, "orders-dlt"),
            (DeadLetterStyle::Own, Some("dead"), "dead"),
        ] {
            let error = letter(&settings(style, named), failed(from)).unwrap_err();
            assert_eq!((error.kind(), error.persistence()), (ErrorKind::Refused, Persistence::NotPersisted));
            assert_consistent(&error);
        }
        assert!(letter(&settings(DeadLetterStyle::Own, Some("dead")), failed("orders.dlq")).is_ok());
        let mut again = failed("orders");
        for hop in 0..3 {
            let letter = letter(&settings(DeadLetterStyle::Connect, None), again.clone());
            again.record.headers = letter.unwrap_or_else(|error| panic!("{hop}: {error}")).headers;
        }
        let error = letter(&settings(DeadLetterStyle::Own, None), again).unwrap_err();
        assert_eq!(error.message(), "the record was dead-lettered 3 times before");
        assert_consistent(&error);
        let never = Settings { max_hops: 0, ..settings(DeadLetterStyle::Own, None) };
        assert!(letter(&never, failed("orders")).is_err());
        assert_eq!(hops(&Headers::new()), 0);
    }

    #[test]
    fn only_a_partition_that_is_certainly_missing_is_left_out() {
        let error = |kind, persistence| Error::new(kind, "no").with_persistence(persistence);
        assert!(lacks_partition(&error(ErrorKind::UnknownTopicOrPartition, Persistence::NotPersisted)));
        assert!(!lacks_partition(&error(ErrorKind::UnknownTopicOrPartition, Persistence::PossiblyPersisted)));
        assert!(!lacks_partition(&error(ErrorKind::Broker, Persistence::NotPersisted)));
    }
}
