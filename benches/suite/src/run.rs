//! Sends records to a broker, or reads them, in one of several modes and measures the cost.

mod mode;
mod plan;
mod send;

use kafka_tower::native::NativeTransport;
use kafka_tower::rdkafka::RdkafkaTransport;
use kafka_tower::{KafkaSink, KafkaSinkConfig, Limits};
use rdkafka::ClientConfig;
use rdkafka::producer::FutureProducer;
use tokio::runtime::Builder;

pub use self::mode::Mode;
pub(crate) use self::plan::Start;
pub use self::plan::{Plan, Took};
pub(crate) use self::send::{enqueue, settled};
use crate::{other, read, transactions, usage};

/// Runs a plan.
///
/// # Panics
///
/// If a record is not delivered, or not read.
#[must_use]
pub fn run(plan: &Plan) -> Took {
    let mut builder = Builder::new_current_thread();
    builder.enable_time();
    if plan.mode.is_native() {
        builder.enable_io();
    }
    let runtime = builder.build().expect("a runtime");
    runtime.block_on(async {
        match plan.mode {
            Mode::Future => send::future(plan).await,
            Mode::FutureSend => send::future_send(plan).await,
            Mode::Transport => send::transport(plan).await,
            Mode::FutureJson => send::future_json(plan).await,
            Mode::FutureBatch => send::future_batch(plan).await,
            Mode::Typed => send::typed(plan).await,
            Mode::Stack => send::sink(plan, rdkafka_sink(plan).await).await,
            Mode::Stream => send::sink_stream(plan).await,
            Mode::Batch => send::sink_batch(plan, rdkafka_sink(plan).await).await,
            Mode::Native => send::native(plan).await,
            Mode::NativeSend => send::native_send(plan).await,
            Mode::NativeStack => send::sink(plan, native_sink(plan).await).await,
            Mode::NativeBatch => send::sink_batch(plan, native_sink(plan).await).await,
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

/// Without linger: its batches grow while requests are under way.
pub(crate) async fn native_transport(plan: &Plan) -> NativeTransport {
    let config = config(plan);
    NativeTransport::builder()
        .bootstrap(plan.bootstrap.as_str())
        .topic(plan.topic.as_str())
        .batch_records(config.batch_size)
        .limits(Limits { records: plan.gate, bytes: 256 << 20 })
        .connect()
        .await
        .expect("a connection")
}

async fn native_sink(plan: &Plan) -> KafkaSink<crate::message::Event> {
    let transport = native_transport(plan).await;
    KafkaSink::builder(config(plan)).transport(transport).build().await.expect("a sink")
}

pub(crate) async fn rdkafka_sink(plan: &Plan) -> KafkaSink<crate::message::Event> {
    let transport = rdkafka_transport(plan).await;
    KafkaSink::builder(config(plan)).transport(transport).build().await.expect("a sink")
}
