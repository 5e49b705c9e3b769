//! What is made of a message, and its dead letter if it cannot be handled.

use bytes::Bytes;
use kafka_tower_core::{Error, RawRecord, Record, Recovery, Result, SinkMessage};
use kafka_tower_layers::dead_letter::{DeadLetterLayer, FailedRecord, lacks_partition};

use crate::sink::{KafkaSink, Transaction};
use crate::source::failure::Failure;

/// What a transaction sends for a message.
pub(super) enum Made<U> {
    Outputs(Vec<SinkMessage<U>>),
    Letter(Box<Record>),
}

/// The dead letters of a run.
#[derive(Clone)]
pub(super) struct DeadLetters {
    pub(super) layer: DeadLetterLayer,
    /// The sink of the transactions, for records as they are.
    pub(super) encoded: KafkaSink<Bytes>,
}

/// What a dead letter says about a message whose handler has failed.
pub(super) fn failed(raw: RawRecord, failure: &Failure, attempt: u32) -> FailedRecord {
    let (error, reason) = failure.own_texts();
    FailedRecord::new(raw, error, reason).with_attempts(attempt)
}

impl DeadLetters {
    /// Sends dead letters in a transaction: into the partitions of their records, or where their keys belong if a topic has
    /// fewer. Returns the errors.
    ///
    /// A record that fails fails its transaction, so no second attempt can be made in it. If it was not known how many
    /// partitions a topic has, it is known for the next transaction.
    pub(super) async fn send<U>(&self, transaction: &Transaction<U>, mut letters: Vec<Record>) -> Result<Vec<Error>> {
        let control = self.encoded.control();
        for letter in &mut letters {
            let count = control.partition_count(&letter.topic).and_then(|count| i32::try_from(count).ok());
            letter.partition = letter.partition.filter(|partition| count.is_none_or(|count| *partition < count));
        }
        let results = transaction.send_records(&self.encoded, letters).await?;
        let again = |error: Error| match lacks_partition(&error) {
            true => error.with_recovery(Recovery::AbortTransaction),
            false => error,
        };
        Ok(results.into_iter().filter_map(Result::err).map(again).collect())
    }
}
