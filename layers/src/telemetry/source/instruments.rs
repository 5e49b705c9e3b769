use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use crate::telemetry::semconv::metric;

/// Instruments of sources.
#[derive(Debug)]
pub(in crate::telemetry) struct SourceInstruments {
    pub(super) consumed: Counter<u64>,
    process: Histogram<f64>,
    pub(super) rebalances: Counter<u64>,
    pub(super) commits: Counter<u64>,
    pub(super) given_back: Counter<u64>,
    pub(super) skipped: Counter<u64>,
    pub(super) dead_lettered: Counter<u64>,
    pub(super) stale: Counter<u64>,
    pub(super) decode_errors: Counter<u64>,
    pub(super) transactions: Counter<u64>,
    transaction: Histogram<f64>,
    transaction_messages: Histogram<u64>,
}

impl SourceInstruments {
    pub(in crate::telemetry) fn new(meter: &Meter) -> Self {
        let count = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        Self {
            consumed: count(
                metric::CONSUMED_MESSAGES,
                "{message}",
                "Number of messages that were delivered to the application.",
            ),
            process: meter
                .f64_histogram(metric::PROCESS_DURATION)
                .with_unit("s")
                .with_description("Duration of processing operation.")
                .with_boundaries(metric::DURATION_BUCKETS.to_vec())
                .build(),
            rebalances: count(
                metric::SOURCE_REBALANCES,
                "{partition}",
                "Partitions that a rebalance gave or took, by kind.",
            ),
            commits: count(metric::SOURCE_COMMITS, "{commit}", "Commits of a partition's offset, by outcome."),
            given_back: count(
                metric::SOURCE_GIVEN_BACK,
                "{message}",
                "Messages that were given back, and are delivered again.",
            ),
            skipped: count(metric::SOURCE_SKIPPED, "{message}", "Records that were skipped."),
            dead_lettered: count(
                metric::SOURCE_DEAD_LETTERED,
                "{message}",
                "Messages whose dead letters were delivered.",
            ),
            stale: count(metric::SOURCE_STALE, "{message}", "Acknowledgements that came too late to count."),
            decode_errors: count(metric::SOURCE_DECODE_ERRORS, "{message}", "Records that could not be decoded."),
            transactions: count(
                metric::SOURCE_TRANSACTIONS,
                "{transaction}",
                "Transactions with messages and their outputs, by outcome.",
            ),
            transaction: meter
                .f64_histogram(metric::SOURCE_TRANSACTION_DURATION)
                .with_unit("s")
                .with_description("Time from the outputs of a transaction's messages until its end is known.")
                .with_boundaries(metric::DURATION_BUCKETS.to_vec())
                .build(),
            transaction_messages: meter
                .u64_histogram(metric::SOURCE_TRANSACTION_MESSAGES)
                .with_unit("{message}")
                .with_description("Messages whose offsets are in a transaction.")
                .with_boundaries(metric::MESSAGE_BUCKETS.to_vec())
                .build(),
        }
    }

    pub(super) fn transaction(&self, took: Duration, messages: usize, attributes: &[KeyValue]) {
        self.transaction.record(took.as_secs_f64(), attributes);
        self.transaction_messages.record(messages as u64, attributes);
    }

    pub(super) fn processed(&self, took: Duration, attributes: &[KeyValue]) {
        self.process.record(took.as_secs_f64(), attributes);
    }
}
