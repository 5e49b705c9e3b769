//! A `read_committed` reader of the whole topic that uses nothing of kafka-tower.

use std::error::Error;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::Part;
use crate::check::Check;

/// Time for an answer of the brokers.
const ANSWER: Duration = Duration::from_secs(2);

pub(crate) struct Reader {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
    pub(crate) check: Check,
}

impl Reader {
    pub(crate) fn new(brokers: &str, topic: &str, partitions: u32) -> Result<Self, Box<dyn Error>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "exactly-once-example")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .create()?;
        let mut all = TopicPartitionList::new();
        let partitions = i32::try_from(partitions)?;
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        Ok(Self { consumer, topic: topic.to_owned(), partitions, check: Check::new(usize::try_from(partitions)?) })
    }

    /// Reads what has arrived, and waits at most this long for more.
    pub(crate) fn read(&mut self, wait: Duration) -> Result<(), Box<dyn Error>> {
        let mut wait = wait;
        while let Some(message) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            // Other errors pass: the client connects again by itself.
            let Ok(message) = message else { continue };
            let part: Part = serde_json::from_slice(message.payload().unwrap_or_default())
                .map_err(|error| format!("{} has records of another program: {error}", self.topic))?;
            self.check.read(usize::try_from(message.partition())?, part.transfer, part.part);
        }
        Ok(())
    }

    /// Reads all that is committed now.
    pub(crate) fn read_to_end(&mut self) -> Result<(), Box<dyn Error>> {
        for partition in 0..self.partitions {
            // With read_committed the end is the last stable offset, or an answer that is missing.
            let end = loop {
                match self.consumer.fetch_watermarks(&self.topic, partition, ANSWER) {
                    Ok((_, end)) => break end,
                    Err(_) => self.read(Duration::from_millis(100))?,
                }
            };
            while self.position(partition)? < end {
                self.read(Duration::from_millis(100))?;
            }
        }
        Ok(())
    }

    /// Next offset, behind markers and aborted records too.
    fn position(&self, partition: i32) -> Result<i64, Box<dyn Error>> {
        let all = self.consumer.position()?;
        Ok(match all.find_partition(&self.topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(next)) => next,
            _ => 0,
        })
    }
}
