use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::text::seconds;
use kafka_tower_core::{Error, ErrorKind, Result};
use kafka_tower_layers::transaction_batch::TransactionBatchLayer;

use crate::KafkaSinkConfig;

/// Minimum number of records for which there is room.
const ROOM: usize = 10_000;

/// Options of shared transactions: `SinkBuilder::transaction_batch`, and `KafkaClientBuilder::transaction_batch` for all sinks
/// of a client.
///
/// ```
/// use std::time::Duration;
/// use kafka_tower::TransactionBatchOptions;
///
/// let options = TransactionBatchOptions::new().lanes(4).records(500).age(Duration::from_millis(20));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing by themselves"]
pub struct TransactionBatchOptions {
    pub(in crate::sink) lanes: usize,
    pub(super) earlier_lanes: usize,
    records: usize,
    bytes: usize,
    age: Duration,
    replays: u32,
    timeout: Option<Duration>,
}

impl Default for TransactionBatchOptions {
    fn default() -> Self {
        Self {
            lanes: 1,
            earlier_lanes: 0,
            records: 1_000,
            bytes: 1 << 20,
            age: Duration::from_millis(50),
            replays: 3,
            timeout: None,
        }
    }
}

impl TransactionBatchOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of lanes: producers with the transactional ids `{transactional_id}-0`, `{transactional_id}-1`, …,
    /// whose transactions run side by side. A partition belongs to one lane, so that its order is kept. With several lanes
    /// the sink picks the partition of a message without a key: one partition for all those of a transaction. Default: 1.
    ///
    /// If you reduce the number, set [`earlier_lanes`](Self::earlier_lanes).
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Sets the number of lanes that earlier versions of the application used. Before the first send, the sink acquires
    /// the transactional ids of those that it does not use, so that an old process can no longer write with them, and
    /// transactions that it left open are aborted. Default: none.
    pub fn earlier_lanes(mut self, lanes: usize) -> Self {
        self.earlier_lanes = lanes;
        self
    }

    /// Sets the number of records at which a transaction is cut. Default: 1,000.
    pub fn records(mut self, records: usize) -> Self {
        self.records = records;
        self
    }

    /// Sets the number of bytes of keys, values and headers at which a transaction is cut. Default: 1 MiB.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the time after the call of its oldest record at which a transaction is cut. Default: 50 ms.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Sets how often an aborted batch is replayed before its sends fail. Default: 3.
    pub fn replays(mut self, replays: u32) -> Self {
        self.replays = replays;
        self
    }

    /// Sets the maximum time of a transaction, and as much again for its abort. Default, and maximum: a third of the
    /// property `transaction.timeout.ms`, which is 20 s if the property is not set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns an error that names what cannot work, and the cure.
    pub(in crate::sink) fn check(&self, config: &KafkaSinkConfig) -> Result<()> {
        let transaction = config.transaction_timeout();
        let refused = if !config.enable_transactions {
            Some((
                "shared transactions need a transactional id".into(),
                "set `enable_transactions` and a `transactional_id`",
            ))
        } else if self.lanes == 0 {
            Some(("0 lanes".into(), "use 1 or more"))
        } else if self.records == 0 || self.bytes == 0 {
            Some(("a transaction of 0 records or 0 bytes".into(), "allow 1 or more"))
        } else if self.age > transaction {
            let text =
                format!("an age of {} above \"transaction.timeout.ms\" ({})", seconds(self.age), seconds(transaction));
            Some((text, "lower the age: records wait for it before their transaction begins"))
        } else if self.age >= config.send_timeout() {
            let timeout = seconds(config.send_timeout());
            let text = format!("an age of {} uses up `send_timeout_ms` ({timeout})", seconds(self.age));
            Some((text, "lower the age, or raise `send_timeout_ms`"))
        } else if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            Some(("a timeout of 0 s".into(), "give a transaction time, or leave the timeout out"))
        } else if let Some(timeout) = self.timeout.filter(|timeout| timeout.saturating_mul(3) > transaction) {
            let (timeout, transaction) = (seconds(timeout), seconds(transaction));
            let text =
                format!("a timeout of {timeout} is more than a third of \"transaction.timeout.ms\" ({transaction})");
            Some((text, "lower the timeout, or raise the property: the transaction and its abort must end before it"))
        } else {
            None
        };
        match refused {
            Some((text, help)) => Err(refusal(&text, help)),
            None => Ok(()),
        }
    }

    /// Sets the layer's settings. To be called after [`check`](Self::check).
    pub(super) fn set(&self, layer: TransactionBatchLayer, config: &KafkaSinkConfig) -> TransactionBatchLayer {
        let Limits { records, bytes } = config.limits(1);
        // One set of batches fills while the other is committed.
        let sets = self.lanes.saturating_mul(self.records).saturating_mul(2);
        layer
            .records(self.records)
            .bytes(self.bytes)
            .age(self.age)
            .replays(self.replays)
            .timeout(self.timeout.unwrap_or(config.transaction_timeout() / 3))
            .transaction_timeout(config.transaction_timeout())
            .room(records.max(sets).max(ROOM), bytes)
    }
}

fn refusal(text: &str, help: &'static str) -> Error {
    Error::new(ErrorKind::Config, format!("`transaction_batch`: {text}")).with_help(help)
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_cannot_work_is_refused_with_the_cure() {
        let options = TransactionBatchOptions::new;
        let config = || KafkaSinkConfig::exactly_once("memory", "orders", "billing");
        let short = || KafkaSinkConfig { send_timeout_ms: 1_000, ..config() };
        let plain = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
        for (options, config, what, cure) in [
            (options(), plain, "need a transactional id", "`transactional_id`"),
            (options().lanes(0), config(), "0 lanes", "1 or more"),
            (options().records(0), config(), "0 records", "1 or more"),
            (options().bytes(0), config(), "0 bytes", "1 or more"),
            (options().age(61 * SECOND), config(), "above \"transaction.timeout.ms\"", "lower the age"),
            (options().age(SECOND), short(), "uses up `send_timeout_ms`", "lower the age"),
            (options().timeout(Duration::ZERO), config(), "0 s", "leave the timeout out"),
            (options().timeout(21 * SECOND), config(), "more than a third", "raise the property"),
        ] {
            let error = options.check(&config).unwrap_err();
            assert_consistent(&error);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(what) && error.help().contains(cure), "{error}");
        }
        assert!(options().check(&config()).is_ok());
        assert!(options().timeout(20 * SECOND).age(Duration::ZERO).check(&config()).is_ok());
    }
}
