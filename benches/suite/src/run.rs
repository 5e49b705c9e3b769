//! Sends records to a broker, or reads them, in one of several modes and measures the cost.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use kafka_tower::rdkafka::RdkafkaTransport;
use kafka_tower::{JsonSerializer, KafkaSink, KafkaSinkConfig, Limits, Record, SinkMessage, stack};
use rdkafka::ClientConfig;
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::runtime::Builder;
use tower::{Service, ServiceExt};

use crate::alloc::Allocations;
use crate::message::{POOL, events, json, values};
use crate::{other, read, transactions, usage};

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
            Self::Future | Self::FutureSend | Self::Transport => Self::Future,
            Self::FutureBatch | Self::Batch => Self::FutureBatch,
            Self::FutureCommit | Self::FutureAwait | Self::Transactions | Self::Guard => Self::FutureAwait,
            Self::Java | Self::Batching | Self::BatchingCut => Self::Java,
            Self::Callers | Self::CallersBatching => Self::Callers,
            Self::FutureJson | Self::Typed | Self::Stack | Self::Stream => Self::FutureJson,
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

    /// Returns whether it sends in transactions.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        let alone = matches!(self, Self::Java | Self::Batching | Self::BatchingCut | Self::CallersBatching);
        alone || self.baseline() == Self::FutureAwait
    }

    /// Returns how many of the plan's records this mode sends, so that a slow one takes no longer than the others.
    fn share(self, records: usize) -> usize {
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

/// What to send or read, and at which broker.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Mode of sending or reading.
    pub mode: Mode,
    /// Size of a value in bytes.
    pub size: usize,
    /// Number of measured records, after the warm-up. Of those that are read the first one is not measured.
    pub records: usize,
    /// Maximum number of records not awaited yet.
    pub window: usize,
    /// Number of records that the transport's gate admits.
    pub gate: usize,
    /// Number of records of a transaction.
    pub transaction: usize,
    /// Number of transactional producers of the batching layer.
    pub lanes: usize,
    /// Milliseconds after which the batching layer cuts a batch.
    pub age: usize,
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// Processes of the broker.
    pub broker: Vec<u32>,
}

/// Measured cost of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Number of records.
    pub records: usize,
    /// Elapsed time.
    pub elapsed: Duration,
    /// CPU time of this process.
    pub own: Duration,
    /// CPU time of the broker.
    pub broker: Duration,
    /// CPU time of all other processes on the machine.
    pub foreign: Duration,
    /// Rust allocations, if they are counted.
    pub allocations: Allocations,
}

impl Took {
    /// Writes the values on one line, for another process.
    #[must_use]
    pub fn write(&self) -> String {
        let nanos = [self.elapsed, self.own, self.broker, self.foreign].map(|time| time.as_nanos().to_string());
        format!("{} {} {} {}", self.records, nanos.join(" "), self.allocations.calls, self.allocations.bytes)
    }

    /// Reads the output of [`write`](Self::write).
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[records, elapsed, own, broker, foreign, calls, bytes] = numbers.as_slice() else { return None };
        let [elapsed, own, broker, foreign] = [elapsed, own, broker, foreign].map(Duration::from_nanos);
        let records = usize::try_from(records).ok()?;
        Some(Self { records, elapsed, own, broker, foreign, allocations: Allocations { calls, bytes } })
    }
}

/// Number of warm-up records, so that everything is connected.
const WARM_UP: usize = 20_000;

/// Runs a plan.
///
/// # Panics
///
/// If a record is not delivered, or not read.
#[must_use]
pub fn run(plan: &Plan) -> Took {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        match plan.mode {
            Mode::Future => future(plan).await,
            Mode::FutureSend => future_send(plan).await,
            Mode::Transport => transport(plan).await,
            Mode::FutureJson => future_json(plan).await,
            Mode::FutureBatch => future_batch(plan).await,
            Mode::Typed => typed(plan).await,
            Mode::Stack => sink(plan).await,
            Mode::Stream => sink_stream(plan).await,
            Mode::Batch => sink_batch(plan).await,
            Mode::FutureCommit => transactions::future(plan, false).await,
            Mode::FutureAwait => transactions::future(plan, true).await,
            Mode::Transactions => transactions::sink(plan).await,
            Mode::Guard => transactions::guard(plan).await,
            Mode::Java | Mode::JavaConsumer | Mode::FranzGo => other::run(plan),
            Mode::Batching | Mode::BatchingCut => transactions::batching(plan).await,
            Mode::Callers => transactions::callers(plan, rdkafka_sink(plan).await).await,
            Mode::CallersBatching => transactions::callers(plan, transactions::batching_sink(plan).await).await,
            Mode::Source | Mode::SourceNoHeaders | Mode::SourceBytes => read::source(plan).await,
            Mode::SourceServe => read::serve(plan).await,
            Mode::StreamConsumer
            | Mode::StreamConsumerStored
            | Mode::StreamConsumerBytes
            | Mode::StreamConsumerDefaults => read::stream(plan).await,
        }
    })
}

/// Sends twice, and measures the second time.
pub(crate) async fn measured<F: AsyncFnMut(usize)>(plan: &Plan, mut send: F) -> Took {
    send(plan.warm_up()).await;
    let start = Start::now(plan, usage::own);
    send(plan.measured()).await;
    start.took(plan, usage::own)
}

impl Plan {
    pub(crate) fn warm_up(&self) -> usize {
        self.mode.share(WARM_UP.min(self.records))
    }

    pub(crate) fn measured(&self) -> usize {
        self.mode.share(self.records)
    }
}

/// Values of the clocks when a measurement begins.
pub(crate) struct Start {
    elapsed: Instant,
    own: Duration,
    broker: Duration,
    machine: Option<Duration>,
    allocations: Allocations,
}

impl Start {
    /// `own` returns the CPU time of the sender.
    pub(crate) fn now(plan: &Plan, own: impl Fn() -> Duration) -> Self {
        Self {
            own: own(),
            broker: usage::of(&plan.broker),
            machine: usage::machine(),
            allocations: Allocations::now(),
            elapsed: Instant::now(),
        }
    }

    pub(crate) fn took(self, plan: &Plan, own: impl Fn() -> Duration) -> Took {
        let (elapsed, allocations) = (self.elapsed.elapsed(), self.allocations.since());
        let (own, broker) = (own() - self.own, usage::of(&plan.broker) - self.broker);
        let all = self.machine.zip(usage::machine()).map_or(Duration::ZERO, |(before, after)| after - before);
        let foreign = all.saturating_sub(own + broker);
        Took { records: plan.measured(), elapsed, own, broker, foreign, allocations }
    }
}

/// One configuration for all modes, from which librdkafka's properties follow.
pub(crate) fn config(plan: &Plan) -> KafkaSinkConfig {
    KafkaSinkConfig {
        brokers: plan.bootstrap.clone(),
        topic: plan.topic.clone(),
        acks: "all".to_owned(),
        enable_idempotence: true,
        compression_type: "none".to_owned(),
        linger_ms: 5,
        batch_size: 10_000,
        ..Default::default()
    }
}

fn future_producer(plan: &Plan) -> FutureProducer {
    let mut client = ClientConfig::new();
    for (name, value) in config(plan).librdkafka_properties() {
        client.set(name, value);
    }
    client.create().expect("a producer")
}

async fn rdkafka_transport(plan: &Plan) -> RdkafkaTransport {
    RdkafkaTransport::builder()
        .properties(config(plan).librdkafka_properties())
        .topic(plan.topic.as_str())
        .limits(Limits { records: plan.gate, bytes: 256 << 20 })
        .connect()
        .await
        .expect("a connection")
}

pub(crate) async fn rdkafka_sink(plan: &Plan) -> KafkaSink<crate::message::Event> {
    let transport = rdkafka_transport(plan).await;
    KafkaSink::builder(config(plan)).transport(transport).build().await.expect("a sink")
}

pub(crate) async fn settled(future: DeliveryFuture) {
    future.await.expect("a producer that lives").expect("delivered");
}

pub(crate) fn enqueue(producer: &FutureProducer, topic: &str, value: &[u8]) -> DeliveryFuture {
    let record = FutureRecord::<(), [u8]>::to(topic).payload(value);
    producer.send_result(record).map_err(|(error, _)| error).expect("room")
}

async fn future(plan: &Plan) -> Took {
    let (producer, values) = (future_producer(plan), values(plan.size));
    measured(plan, async |n| {
        let mut ring = VecDeque::with_capacity(plan.window);
        for i in 0..n {
            if ring.len() == plan.window {
                settled(ring.pop_front().expect("a full ring")).await;
            }
            ring.push_back(enqueue(&producer, &plan.topic, &values[i % POOL]));
        }
        for future in ring {
            settled(future).await;
        }
    })
    .await
}

async fn future_send(plan: &Plan) -> Took {
    let (producer, values) = (future_producer(plan), values(plan.size));
    measured(plan, async |n| {
        let mut open = FuturesUnordered::new();
        for i in 0..n {
            let record = FutureRecord::<(), [u8]>::to(&plan.topic).payload(&values[i % POOL]);
            open.push(producer.send(record, Duration::ZERO));
            if open.len() == plan.window {
                open.next().await.expect("a full set").map_err(|(error, _)| error).expect("delivered");
            }
        }
        while let Some(result) = open.next().await {
            result.map_err(|(error, _)| error).expect("delivered");
        }
    })
    .await
}

async fn future_json(plan: &Plan) -> Took {
    let (producer, events) = (future_producer(plan), events(plan.size));
    measured(plan, async |n| {
        let mut ring = VecDeque::with_capacity(plan.window);
        for i in 0..n {
            if ring.len() == plan.window {
                settled(ring.pop_front().expect("a full ring")).await;
            }
            // A program makes a message for each record.
            let event = events[i % POOL].clone();
            ring.push_back(enqueue(&producer, &plan.topic, &json(&event)));
        }
        for future in ring {
            settled(future).await;
        }
    })
    .await
}

async fn future_batch(plan: &Plan) -> Took {
    let (producer, events) = (future_producer(plan), events(plan.size));
    measured(plan, async |n| {
        for start in (0..n).step_by(plan.window) {
            let batch = start..n.min(start + plan.window);
            let batch = batch.map(|i| enqueue(&producer, &plan.topic, &json(&events[i % POOL].clone())));
            for future in batch.collect::<Vec<_>>() {
                settled(future).await;
            }
        }
    })
    .await
}

async fn transport(plan: &Plan) -> Took {
    let (transport, values) = (rdkafka_transport(plan).await, values(plan.size));
    let topic: Arc<str> = Arc::from(plan.topic.as_str());
    let make = |i: usize| Record::new(Arc::clone(&topic)).with_value(values[i % POOL].clone());
    service(plan, transport, make).await
}

async fn typed(plan: &Plan) -> Took {
    let (transport, events) = (rdkafka_transport(plan).await, events(plan.size));
    let control = transport.control();
    let stack = stack::default(&config(plan), Arc::new(JsonSerializer), transport, control);
    service(plan, stack, |i| SinkMessage::new(events[i % POOL].clone())).await
}

async fn sink(plan: &Plan) -> Took {
    let (sink, events) = (rdkafka_sink(plan).await, events(plan.size));
    service(plan, sink, |i| SinkMessage::new(events[i % POOL].clone())).await
}

async fn service<R, S>(plan: &Plan, mut service: S, make: impl Fn(usize) -> R) -> Took
where
    S: Service<R>,
    S::Error: fmt::Debug,
{
    measured(plan, async |n| {
        let mut ring = VecDeque::with_capacity(plan.window);
        for i in 0..n {
            if ring.len() == plan.window {
                let first: S::Future = ring.pop_front().expect("a full ring");
                first.await.expect("delivered");
            }
            let ready = service.ready().await.expect("a service that lives");
            ring.push_back(ready.call(make(i)));
        }
        for future in ring {
            future.await.expect("delivered");
        }
    })
    .await
}

async fn sink_stream(plan: &Plan) -> Took {
    let (sink, events) = (rdkafka_sink(plan).await, events(plan.size));
    measured(plan, async |n| {
        let messages = stream::iter((0..n).map(|i| events[i % POOL].clone()));
        let mut results = sink.send_stream(messages).look_ahead(plan.window);
        while let Some(result) = results.next().await {
            result.expect("delivered");
        }
    })
    .await
}

async fn sink_batch(plan: &Plan) -> Took {
    let (sink, events) = (rdkafka_sink(plan).await, events(plan.size));
    measured(plan, async |n| {
        for start in (0..n).step_by(plan.window) {
            let batch = (start..n.min(start + plan.window)).map(|i| events[i % POOL].clone());
            for result in sink.send_batch(batch).await.expect("an open sink") {
                result.expect("delivered");
            }
        }
    })
    .await
}
