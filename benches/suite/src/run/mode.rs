//! The modes, and their names on the command line.

use std::fmt;
use std::str::FromStr;

/// A mode of sending or reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// rust-rdkafka's `FutureProducer::send_result`, its futures awaited in order.
    Future,
    /// rust-rdkafka's `FutureProducer::send` in a `FuturesUnordered`, as most code does.
    FutureSend,
    /// kafka-tower's transport, its futures awaited in order.
    Transport,
    /// `serde_json::to_vec` and [`Future`](Self::Future).
    FutureJson,
    /// The same, all awaited before the next ones are sent: as many as the window.
    FutureBatch,
    /// `stack::default`, its futures awaited in order.
    Typed,
    /// `KafkaSink` as a service, its futures awaited in order.
    Stack,
    /// `KafkaSink::send_stream`.
    Stream,
    /// `KafkaSink::send_batch` with batches of the window's size.
    Batch,
    /// The native transport, its futures awaited in order.
    Native,
    /// The native transport, its futures in a `FuturesUnordered`.
    NativeSend,
    /// `KafkaSink` over the native transport as a service, its futures awaited in order.
    NativeStack,
    /// `KafkaSink::send_batch` over the native transport with batches of the window's size.
    NativeBatch,
    /// `FutureProducer` with transactions, committed while their records are on their way.
    FutureCommit,
    /// `FutureProducer` with transactions, committed when all deliveries were awaited.
    FutureAwait,
    /// `begin_transaction`, `send_batch`, `commit_transaction` of `KafkaSink`.
    Transactions,
    /// The same by the guard of `KafkaSink::transaction`.
    Guard,
    /// Java's producer with transactions.
    Java,
    /// The transactional batching layer over several transports, with its own limits.
    Batching,
    /// The same, cut at the size of Java's transactions.
    BatchingCut,
    /// As many callers of `KafkaSink::send` as the window, each of which awaits its record, without transactions.
    Callers,
    /// The same over the transactional batching layer.
    CallersBatching,
    /// `KafkaSource::recv` and `ack` in a loop.
    Source,
    /// The same, built with `read_headers(false)`.
    SourceNoHeaders,
    /// The same as `Source`, with `BytesDeserializer`.
    SourceBytes,
    /// `KafkaSource::serve` with a service that answers at once.
    SourceServe,
    /// rust-rdkafka's `StreamConsumer` and `serde_json`, with the librdkafka properties of a source. What was received is
    /// committed at an interval.
    StreamConsumer,
    /// The same, but what was decoded is stored, and only that is committed.
    StreamConsumerStored,
    /// As `StreamConsumer`, with a copy of each value in place of `serde_json`.
    StreamConsumerBytes,
    /// As `StreamConsumer`, with librdkafka's default properties.
    StreamConsumerDefaults,
    /// Java's consumer and Jackson.
    JavaConsumer,
    /// Go's franz-go and `encoding/json`.
    FranzGo,
}

const NAMES: &[(Mode, &str)] = &[
    (Mode::Future, "future"),
    (Mode::FutureSend, "future-send"),
    (Mode::Transport, "transport"),
    (Mode::FutureJson, "future-json"),
    (Mode::FutureBatch, "future-batch"),
    (Mode::Typed, "typed"),
    (Mode::Stack, "stack"),
    (Mode::Stream, "stream"),
    (Mode::Batch, "batch"),
    (Mode::Native, "native"),
    (Mode::NativeSend, "native-send"),
    (Mode::NativeStack, "native-stack"),
    (Mode::NativeBatch, "native-batch"),
    (Mode::FutureCommit, "future-commit"),
    (Mode::FutureAwait, "future-await"),
    (Mode::Transactions, "transactions"),
    (Mode::Guard, "guard"),
    (Mode::Java, "java"),
    (Mode::Batching, "batching"),
    (Mode::BatchingCut, "batching-cut"),
    (Mode::Callers, "callers"),
    (Mode::CallersBatching, "callers-batching"),
    (Mode::Source, "source"),
    (Mode::SourceNoHeaders, "source-no-headers"),
    (Mode::SourceBytes, "source-bytes"),
    (Mode::SourceServe, "source-serve"),
    (Mode::StreamConsumer, "stream-consumer"),
    (Mode::StreamConsumerStored, "stream-consumer-stored"),
    (Mode::StreamConsumerBytes, "stream-consumer-bytes"),
    (Mode::StreamConsumerDefaults, "stream-consumer-defaults"),
    (Mode::JavaConsumer, "java-consumer"),
    (Mode::FranzGo, "franz-go"),
];

impl Mode {
    /// Returns the mode to compare with.
    #[must_use]
    pub fn baseline(self) -> Self {
        match self {
            Self::Future | Self::FutureSend | Self::Transport | Self::Native | Self::NativeSend => Self::Future,
            Self::FutureBatch | Self::Batch | Self::NativeBatch => Self::FutureBatch,
            Self::FutureCommit | Self::FutureAwait | Self::Transactions | Self::Guard => Self::FutureAwait,
            Self::Java | Self::Batching | Self::BatchingCut => Self::Java,
            Self::Callers | Self::CallersBatching => Self::Callers,
            Self::FutureJson | Self::Typed | Self::Stack | Self::Stream | Self::NativeStack => Self::FutureJson,
            Self::SourceBytes | Self::StreamConsumerBytes => Self::StreamConsumerBytes,
            Self::Source
            | Self::SourceNoHeaders
            | Self::SourceServe
            | Self::StreamConsumer
            | Self::StreamConsumerStored
            | Self::StreamConsumerDefaults
            | Self::JavaConsumer
            | Self::FranzGo => Self::StreamConsumer,
        }
    }

    /// Returns whether it reads a topic that was filled before.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self.baseline(), Self::StreamConsumer | Self::StreamConsumerBytes)
    }

    /// Returns whether it sends or reads without librdkafka's threads, on the runtime's own.
    #[must_use]
    pub fn is_native(self) -> bool {
        matches!(self, Self::Native | Self::NativeSend | Self::NativeStack | Self::NativeBatch)
    }

    /// Returns whether it sends in transactions.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        let alone = matches!(self, Self::Java | Self::Batching | Self::BatchingCut | Self::CallersBatching);
        alone || self.baseline() == Self::FutureAwait
    }

    /// Returns how many of the plan's records this mode sends, so that a slow one takes no longer than the others.
    pub(super) fn share(self, records: usize) -> usize {
        if self == Self::FutureCommit { records.div_ceil(20) } else { records }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(NAMES.iter().find(|(mode, _)| mode == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || NAMES.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(mode, _)| *mode).ok_or_else(|| format!("unknown mode {text}; the modes are {}", names()))
    }
}
