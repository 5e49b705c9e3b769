//! The headers that say where a dead letter comes from. No clock, no lock, no async.

use bytes::Bytes;
use kafka_tower_core::{Headers, TimestampType};

use super::FailedRecord;

/// Longest error or reason in a header, in bytes.
const MAX_TEXT: usize = 1024;

/// Names and formats of the headers of a dead letter. See the [module](super#headers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterStyle {
    /// `kafka-tower-dlq-…`, as text. The default, and the only style with the number of attempts.
    #[default]
    Own,
    /// `kafka_dlt-…`, for consumers that were written for Spring Kafka.
    Spring,
    /// `__connect.errors.…`, for consumers that were written for Kafka Connect.
    Connect,
}

/// The header of each style that every dead letter has exactly once for each time that it was dead-lettered.
const TOPICS: [&str; 3] = ["kafka-tower-dlq-topic", "kafka_dlt-original-topic", "__connect.errors.topic"];

/// How many times a record was dead-lettered, in any style.
pub(super) fn hops(headers: &Headers) -> usize {
    headers.iter().filter(|header| TOPICS.contains(&&*header.key)).count()
}

impl DeadLetterStyle {
    /// What follows the topic's name in the name of its dead letter topic.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Own | Self::Connect => ".dlq",
            Self::Spring => "-dlt",
        }
    }

    /// Adds the provenance of a failed record.
    pub(super) fn add(self, failed: &FailedRecord, to: &mut Headers) {
        let FailedRecord { record, error, reason, attempts, group } = failed;
        let topic = Bytes::copy_from_slice(record.topic.as_bytes());
        let group = group.as_deref().map(|group| Bytes::copy_from_slice(group.as_bytes()));
        let timestamp = record.timestamp.map(|timestamp| timestamp.as_millis());
        match self {
            Self::Own => {
                to.push("kafka-tower-dlq-topic", topic);
                to.push("kafka-tower-dlq-partition", record.partition.to_string());
                to.push("kafka-tower-dlq-offset", record.offset.to_string());
                if let Some(timestamp) = timestamp {
                    to.push("kafka-tower-dlq-timestamp", timestamp.to_string());
                }
                if let Some(group) = group {
                    to.push("kafka-tower-dlq-group", group);
                }
                to.push("kafka-tower-dlq-attempts", attempts.to_string());
                to.push("kafka-tower-dlq-error", text(error));
                to.push("kafka-tower-dlq-reason", text(reason));
            }
            Self::Spring => {
                to.push("kafka_dlt-original-topic", topic);
                to.push("kafka_dlt-original-partition", record.partition.to_be_bytes().to_vec());
                to.push("kafka_dlt-original-offset", record.offset.to_be_bytes().to_vec());
                to.push("kafka_dlt-original-timestamp", timestamp.unwrap_or(-1).to_be_bytes().to_vec());
                // As Java's `TimestampType` prints itself.
                let name = match (timestamp, record.timestamp_type) {
                    (None, _) => Some("NoTimestampType"),
                    (Some(_), Some(TimestampType::Create)) => Some("CreateTime"),
                    (Some(_), Some(TimestampType::LogAppend)) => Some("LogAppendTime"),
                    (Some(_), _) => None,
                };
                name.into_iter().for_each(|name| to.push("kafka_dlt-original-timestamp-type", name));
                if let Some(group) = group {
                    to.push("kafka_dlt-original-consumer-group", group);
                }
                to.insert("kafka_dlt-exception-fqcn", text(error));
                to.insert("kafka_dlt-exception-message", text(reason));
            }
            Self::Connect => {
                to.push("__connect.errors.topic", topic);
                to.push("__connect.errors.partition", record.partition.to_string());
                to.push("__connect.errors.offset", record.offset.to_string());
                if let Some(group) = group {
                    to.push("__connect.errors.connector.name", group);
                }
                to.push("__connect.errors.exception.class.name", text(error));
                to.push("__connect.errors.exception.message", text(reason));
            }
        }
    }
}

/// At most [`MAX_TEXT`] bytes, so that a long text does not make the record too large.
fn text(text: &str) -> Bytes {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Bytes::copy_from_slice(&text.as_bytes()[..end])
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{RawRecord, Timestamp};

    use super::*;

    fn failed() -> FailedRecord {
        let mut record = RawRecord::new("orders", 258, 0x0102_0304_0506);
        record.timestamp = Some(Timestamp::from_millis(1_700_000_000_000));
        record.value = Some("secret".into());
        FailedRecord::new(record, "Decode", "it could not be decoded").with_attempts(3).with_group("billing")
    }

    fn added(style: DeadLetterStyle, failed: &FailedRecord) -> Vec<(String, Vec<u8>)> {
        let mut headers = Headers::new();
        style.add(failed, &mut headers);
        headers.iter().map(|header| (header.key.to_string(), header.value.clone().unwrap().to_vec())).collect()
    }

    fn pair(name: &str, value: impl AsRef<[u8]>) -> (String, Vec<u8>) {
        (name.to_owned(), value.as_ref().to_vec())
    }

    #[test]
    fn own_headers_are_text() {
        let expected = [
            pair("kafka-tower-dlq-topic", "orders"),
            pair("kafka-tower-dlq-partition", "258"),
            pair("kafka-tower-dlq-offset", "1108152157446"),
            pair("kafka-tower-dlq-timestamp", "1700000000000"),
            pair("kafka-tower-dlq-group", "billing"),
            pair("kafka-tower-dlq-attempts", "3"),
            pair("kafka-tower-dlq-error", "Decode"),
            pair("kafka-tower-dlq-reason", "it could not be decoded"),
        ];
        assert_eq!(added(DeadLetterStyle::Own, &failed()), expected);
    }

    /// As `DeadLetterPublishingRecoverer.maybeAddOriginalHeaders` and `addExceptionInfoHeaders` write them.
    #[test]
    fn springs_integers_are_big_endian() {
        let expected = [
            pair("kafka_dlt-original-topic", "orders"),
            pair("kafka_dlt-original-partition", [0, 0, 1, 2]),
            pair("kafka_dlt-original-offset", [0, 0, 1, 2, 3, 4, 5, 6]),
            pair("kafka_dlt-original-timestamp", 1_700_000_000_000_i64.to_be_bytes()),
            pair("kafka_dlt-original-consumer-group", "billing"),
            pair("kafka_dlt-exception-fqcn", "Decode"),
            pair("kafka_dlt-exception-message", "it could not be decoded"),
        ];
        assert_eq!(added(DeadLetterStyle::Spring, &failed()), expected);
        for (timestamp_type, name) in
            [(TimestampType::Create, "CreateTime"), (TimestampType::LogAppend, "LogAppendTime")]
        {
            let mut failed = failed();
            failed.record.timestamp_type = Some(timestamp_type);
            assert_eq!(added(DeadLetterStyle::Spring, &failed)[4], pair("kafka_dlt-original-timestamp-type", name));
        }
        let none = FailedRecord::new(RawRecord::new("orders", 0, 0), "Decode", "");
        let none = added(DeadLetterStyle::Spring, &none);
        assert_eq!(none[3], pair("kafka_dlt-original-timestamp", [255; 8]));
        assert_eq!(none[4], pair("kafka_dlt-original-timestamp-type", "NoTimestampType"));
    }

    /// As `DeadLetterQueueReporter.populateContextHeaders` writes them.
    #[test]
    fn connects_headers_are_text() {
        let expected = [
            pair("__connect.errors.topic", "orders"),
            pair("__connect.errors.partition", "258"),
            pair("__connect.errors.offset", "1108152157446"),
            pair("__connect.errors.connector.name", "billing"),
            pair("__connect.errors.exception.class.name", "Decode"),
            pair("__connect.errors.exception.message", "it could not be decoded"),
        ];
        assert_eq!(added(DeadLetterStyle::Connect, &failed()), expected);
    }

    #[test]
    fn every_hop_is_counted_in_every_style() {
        let mut headers = Headers::new();
        headers.push("orders", "kafka-tower-dlq-topic");
        for (before, style) in
            [DeadLetterStyle::Own, DeadLetterStyle::Spring, DeadLetterStyle::Connect].iter().enumerate()
        {
            assert_eq!(hops(&headers), before);
            style.add(&failed(), &mut headers);
        }
        DeadLetterStyle::Spring.add(&FailedRecord { reason: "again".into(), ..failed() }, &mut headers);
        assert_eq!(hops(&headers), 4);
        let messages = headers.iter().filter(|header| header.key == "kafka_dlt-exception-message");
        assert_eq!(messages.map(|header| header.value.clone().unwrap()).collect::<Vec<_>>(), ["again"]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(text(&"ü".repeat(600)).len(), 1024);
        assert_eq!(text(&format!("x{}", "ü".repeat(600))).len(), 1023);
        assert_eq!(text("short"), "short");
    }
}
