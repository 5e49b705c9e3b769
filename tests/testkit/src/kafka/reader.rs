//! An independent reader: reads a topic with a plain consumer, and uses none of the code under test.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::LogRecord;
use crate::kafka::client::{self, blocking};
use crate::kafka::{Cluster, Error, topics};

/// Maximum time for a read.
const LIMIT: Duration = Duration::from_secs(60);

/// Time between two questions about a group whose coordinator moves.
const AGAIN: Duration = Duration::from_millis(50);

/// Selects which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All records, including those of open and aborted transactions.
    Uncommitted,
    /// Records of committed transactions, up to the first open transaction.
    Committed,
}

/// A record as the broker returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key; `None` is a null key, which is not the same as an empty one.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The timestamp in milliseconds since 1970.
    pub timestamp: Option<i64>,
}

impl ReadRecord {
    /// Returns the value as text, for assertions.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl From<ReadRecord> for LogRecord {
    fn from(record: ReadRecord) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            key: record.key.map(Into::into),
            value: record.value.map(Into::into),
            headers: record.headers.into_iter().map(|(key, value)| (key, value.map(Into::into))).collect(),
            timestamp: record.timestamp,
        }
    }
}

impl Cluster {
    /// Reads every record of a topic from the beginning to the end, committed or not. The result is ordered by
    /// partition and offset.
    ///
    /// # Errors
    ///
    /// If there is no such topic, or it cannot be read to its end within a minute.
    pub async fn read(&self, topic: &str) -> Result<Vec<ReadRecord>, Error> {
        self.read_as(topic, Isolation::Uncommitted).await
    }

    /// Reads every record that is visible at this isolation level.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn read_as(&self, topic: &str, isolation: Isolation) -> Result<Vec<ReadRecord>, Error> {
        let (bootstrap, topic) = (self.bootstrap().to_owned(), topic.to_owned());
        blocking(move || read(&bootstrap, &topic, isolation)).await
    }

    /// Reads the records of committed transactions, once no transaction is open. A coordinator answers a commit before
    /// it has written the markers that end the transaction.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); if a transaction stays open.
    pub async fn read_committed(&self, topic: &str) -> Result<Vec<ReadRecord>, Error> {
        let (bootstrap, topic) = (self.bootstrap().to_owned(), topic.to_owned());
        blocking(move || {
            let end = Instant::now() + LIMIT;
            let [all, committed] =
                [Isolation::Uncommitted, Isolation::Committed].map(|level| reader(&bootstrap, level));
            let (all, committed) = (all?, committed?);
            while ends(&all, &topic)? != ends(&committed, &topic)? {
                if Instant::now() > end {
                    return Err(Error::new(format!("{topic}: a transaction is open after {LIMIT:?}")));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            read(&bootstrap, &topic, Isolation::Committed)
        })
        .await
    }

    /// Returns the end of each partition at this isolation level; with [`Isolation::Committed`], its last stable offset.
    ///
    /// # Errors
    ///
    /// If there is no such topic, or a leader does not answer.
    pub async fn ends(&self, topic: &str, isolation: Isolation) -> Result<Vec<i64>, Error> {
        let (bootstrap, topic) = (self.bootstrap().to_owned(), topic.to_owned());
        blocking(move || ends(&reader(&bootstrap, isolation)?, &topic)).await
    }

    /// Returns the offset that a group has committed for a partition.
    ///
    /// # Errors
    ///
    /// If the group's coordinator does not answer.
    pub async fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Result<Option<i64>, Error> {
        let (bootstrap, group, topic) = (self.bootstrap().to_owned(), group.to_owned(), topic.to_owned());
        blocking(move || {
            let consumer: BaseConsumer = client::config(&bootstrap)
                .set("group.id", &group)
                .create()
                .map_err(Error::with("cannot create a consumer"))?;
            let mut list = TopicPartitionList::new();
            list.add_partition(&topic, partition);
            let end = Instant::now() + LIMIT;
            let committed = loop {
                // The group's coordinator may be about to move, or not know it yet.
                match consumer.committed_offsets(list.clone(), LIMIT) {
                    Err(error) if moves(&error) && Instant::now() < end => std::thread::sleep(AGAIN),
                    committed => break committed.map_err(Error::with("committed offsets"))?,
                }
            };
            let offset = committed.find_partition(&topic, partition).map(|found| found.offset());
            Ok(offset.and_then(|offset| match offset {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            }))
        })
        .await
    }
}

/// Returns whether a group's coordinator is about to move, or does not know its groups yet.
fn moves(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    let code = error.rdkafka_error_code();
    matches!(code, Some(NotCoordinator | CoordinatorNotAvailable | CoordinatorLoadInProgress))
}

fn reader(bootstrap: &str, isolation: Isolation) -> Result<BaseConsumer, Error> {
    let level = match isolation {
        Isolation::Uncommitted => "read_uncommitted",
        Isolation::Committed => "read_committed",
    };
    client::config(bootstrap)
        .set("group.id", "kafka-tower-test-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("isolation.level", level)
        .set("fetch.wait.max.ms", "50")
        .create()
        .map_err(Error::with("cannot create a reader"))
}

/// The end of each partition at the reader's isolation level.
fn ends(reader: &BaseConsumer, topic: &str) -> Result<Vec<i64>, Error> {
    let partitions = i32::try_from(topics::leaders(reader, topic)?.len()).map_err(Error::new)?;
    let end = |partition| reader.fetch_watermarks(topic, partition, LIMIT).map(|(_, end)| end);
    (0..partitions).map(end).collect::<Result<_, _>>().map_err(Error::with("watermarks"))
}

fn read(bootstrap: &str, topic: &str, isolation: Isolation) -> Result<Vec<ReadRecord>, Error> {
    let consumer = reader(bootstrap, isolation)?;
    let partitions = topics::leaders(&consumer, topic)?.len();
    if partitions == 0 {
        return Err(Error::new(format!("there is no topic {topic}")));
    }
    let mut list = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    for partition in 0..i32::try_from(partitions).map_err(Error::new)? {
        list.add_partition_offset(topic, partition, Offset::Beginning).map_err(Error::new)?;
        open.insert(partition);
    }
    consumer.assign(&list).map_err(Error::with("assign"))?;

    let mut records = Vec::new();
    let end = Instant::now() + LIMIT;
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(ReadRecord {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map_or_else(Vec::new, |headers| {
                    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
                }),
                timestamp: message.timestamp().to_millis(),
            }),
            // With read_committed this is the last stable offset. It is also behind aborted records and markers.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            // Temporary: either the broker comes back, or the read times out.
            Some(Err(_)) | None => {}
        }
        if Instant::now() > end {
            return Err(Error::new(format!("{topic}: partitions {open:?} not read to the end in {LIMIT:?}")));
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}
