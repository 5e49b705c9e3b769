//! OpenTelemetry gauges from librdkafka's statistics.
//!
//! A sink that connects with a [`Telemetry`] and the property `statistics.interval.ms` records them. For your own
//! transport:
//!
//! ```no_run
//! # async fn example() -> kafka_tower::Result<()> {
//! use kafka_tower::rdkafka::RdkafkaTransport;
//! use kafka_tower::telemetry::{Telemetry, statistics::Statistics};
//!
//! let transport = RdkafkaTransport::builder()
//!     .property("bootstrap.servers", "localhost:9092")
//!     .property("statistics.interval.ms", "5000")
//!     .events(Statistics::new(&Telemetry::new()))
//!     .connect()
//!     .await?;
//! # let _ = transport;
//! # Ok(())
//! # }
//! ```
//!
//! The values belong to one producer, identified by librdkafka's name for it, because two sinks may share a client id
//! and a gauge has one value per set of attributes. A replacement producer has a new name. Each value covers one
//! interval. A gauge keeps its last value if librdkafka did not measure anything in an interval, except the throttle
//! time, which is then 0.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use kafka_tower_layers::telemetry::{Telemetry, semconv};
use kafka_tower_rdkafka::ClientEvents;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Gauge, Meter};
use serde::Deserialize;

/// Names of the gauges.
pub mod metric {
    /// Round-trip time of requests in s, by broker and statistic.
    pub const BROKER_RTT: &str = "kafka_tower.librdkafka.broker.rtt";
    /// Time that records waited in the client's queue for their request, in s, by broker and statistic.
    pub const BROKER_QUEUE_LATENCY: &str = "kafka_tower.librdkafka.broker.queue.latency";
    /// Time that requests waited in the output buffer, in s, by broker and statistic.
    pub const BROKER_OUTBUF_LATENCY: &str = "kafka_tower.librdkafka.broker.outbuf.latency";
    /// Throttle time that the broker asked for, in s, by broker and statistic.
    pub const BROKER_THROTTLE: &str = "kafka_tower.librdkafka.broker.throttle";
    /// Number of requests (`{request}`) waiting to be written to the connection, by broker.
    pub const BROKER_OUTBUF_REQUESTS: &str = "kafka_tower.librdkafka.broker.outbuf.requests";
    /// Number of requests (`{request}`) waiting for a response, by broker.
    pub const BROKER_WAITING_REQUESTS: &str = "kafka_tower.librdkafka.broker.waiting.requests";
    /// Size of the batches in bytes (`By`), by topic and statistic.
    pub const TOPIC_BATCH_BYTES: &str = "kafka_tower.librdkafka.topic.batch.bytes";
    /// Number of messages (`{message}`) per batch, by topic and statistic.
    pub const TOPIC_BATCH_MESSAGES: &str = "kafka_tower.librdkafka.topic.batch.messages";
    /// Number of messages (`{message}`) in librdkafka's queues.
    pub const QUEUE_MESSAGES: &str = "kafka_tower.librdkafka.queue.messages";
    /// Bytes (`By`) of the messages in librdkafka's queues.
    pub const QUEUE_BYTES: &str = "kafka_tower.librdkafka.queue.bytes";
    /// Number of producer ids and epochs (`{generation}`) that brokers have given this client.
    pub const PRODUCER_GENERATIONS: &str = "kafka_tower.producer.generations";

    /// All names.
    pub const ALL: [&str; 11] = [
        BROKER_RTT,
        BROKER_QUEUE_LATENCY,
        BROKER_OUTBUF_LATENCY,
        BROKER_THROTTLE,
        BROKER_OUTBUF_REQUESTS,
        BROKER_WAITING_REQUESTS,
        TOPIC_BATCH_BYTES,
        TOPIC_BATCH_MESSAGES,
        QUEUE_MESSAGES,
        QUEUE_BYTES,
        PRODUCER_GENERATIONS,
    ];
}

/// Attribute: librdkafka's name of the producer, which is the client id and a number unique in the process, as in
/// `orders#producer-1`.
pub const HANDLE: &str = "kafka_tower.librdkafka.handle";
/// Attribute: `avg`, `p99` or `max` of an interval.
pub const STATISTIC: &str = "kafka_tower.statistic";
/// Attribute: id of the broker.
pub const BROKER_ID: &str = "kafka_tower.broker.id";

const MICROS: f64 = 1e-6;
const MILLIS: f64 = 1e-3;

/// Records librdkafka's statistics.
#[derive(Debug)]
pub struct Statistics {
    telemetry: Telemetry,
    client: Vec<KeyValue>,
    rtt: Gauge<f64>,
    queue_latency: Gauge<f64>,
    outbuf_latency: Gauge<f64>,
    throttle: Gauge<f64>,
    outbuf: Gauge<i64>,
    waiting: Gauge<i64>,
    batch_bytes: Gauge<f64>,
    batch_messages: Gauge<f64>,
    messages: Gauge<i64>,
    bytes: Gauge<i64>,
    generations: Gauge<i64>,
}

impl Statistics {
    /// Makes the gauges with the telemetry's meter.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Self {
        let meter = telemetry.meter();
        Self {
            client: telemetry.client_attributes(),
            rtt: window(meter, metric::BROKER_RTT, "s", "Round-trip time of requests."),
            queue_latency: window(
                meter,
                metric::BROKER_QUEUE_LATENCY,
                "s",
                "Time that records wait in the client's queue.",
            ),
            outbuf_latency: window(
                meter,
                metric::BROKER_OUTBUF_LATENCY,
                "s",
                "Time that requests wait in the output buffer.",
            ),
            throttle: window(meter, metric::BROKER_THROTTLE, "s", "Time that the broker asked the client to wait."),
            outbuf: count(meter, metric::BROKER_OUTBUF_REQUESTS, "{request}", "Requests that wait to be written."),
            waiting: count(meter, metric::BROKER_WAITING_REQUESTS, "{request}", "Requests that wait for an answer."),
            batch_bytes: window(meter, metric::TOPIC_BATCH_BYTES, "By", "Size of batches."),
            batch_messages: window(meter, metric::TOPIC_BATCH_MESSAGES, "{message}", "Messages in a batch."),
            messages: count(meter, metric::QUEUE_MESSAGES, "{message}", "Messages in librdkafka's queues."),
            bytes: count(meter, metric::QUEUE_BYTES, "By", "Bytes of the messages in librdkafka's queues."),
            generations: count(
                meter,
                metric::PRODUCER_GENERATIONS,
                "{generation}",
                "Producer ids and epochs that brokers gave this client.",
            ),
            telemetry: telemetry.clone(),
        }
    }

    /// Records statistics in librdkafka's JSON format.
    ///
    /// # Errors
    ///
    /// If the text is not in librdkafka's format.
    pub fn record(&self, json: &str) -> Result<(), serde_json::Error> {
        let told: Told<'_> = serde_json::from_str(json)?;
        let handle = KeyValue::new(HANDLE, told.name.into_owned());
        let mut of_client = self.client.clone();
        of_client.push(handle.clone());
        self.messages.record(told.msg_cnt, &of_client);
        self.bytes.record(told.msg_size, &of_client);
        if let Some(eos) = told.eos {
            self.generations.record(eos.epoch_cnt, &of_client);
        }
        // Bootstrap addresses and connections to coordinators have no node id.
        for broker in told.brokers.values().filter(|broker| broker.nodeid >= 0) {
            let of_broker = of_broker(&of_client, broker);
            self.outbuf.record(broker.outbuf_cnt, &of_broker);
            self.waiting.record(broker.waitresp_cnt, &of_broker);
            broker.rtt.record(&self.rtt, MICROS, &of_broker);
            broker.int_latency.record(&self.queue_latency, MICROS, &of_broker);
            broker.outbuf_latency.record(&self.outbuf_latency, MICROS, &of_broker);
            broker.throttle.or_zero().record(&self.throttle, MILLIS, &of_broker);
        }
        for (topic, told) in &told.topics {
            let mut of_topic = self.telemetry.topic_attributes(topic);
            of_topic.push(handle.clone());
            told.batchsize.record(&self.batch_bytes, 1.0, &of_topic);
            told.batchcnt.record(&self.batch_messages, 1.0, &of_topic);
        }
        Ok(())
    }
}

fn of_broker(of_client: &[KeyValue], broker: &Broker<'_>) -> Vec<KeyValue> {
    let mut of_broker = of_client.to_vec();
    let (host, port) = broker.nodename.rsplit_once(':').unwrap_or((&broker.nodename, ""));
    of_broker.push(KeyValue::new(semconv::SERVER_ADDRESS, host.to_owned()));
    of_broker.extend(port.parse().ok().map(|port: i64| KeyValue::new(semconv::SERVER_PORT, port)));
    of_broker.push(KeyValue::new(BROKER_ID, broker.nodeid));
    of_broker
}

fn window(meter: &Meter, name: &'static str, unit: &'static str, what: &'static str) -> Gauge<f64> {
    meter.f64_gauge(name).with_unit(unit).with_description(what).build()
}

fn count(meter: &Meter, name: &'static str, unit: &'static str, what: &'static str) -> Gauge<i64> {
    meter.i64_gauge(name).with_unit(unit).with_description(what).build()
}

/// [`Statistics`] that are created at first use, because the global meter provider may be set after a sink has
/// connected.
#[derive(Debug)]
pub(crate) struct Late {
    telemetry: Telemetry,
    made: OnceLock<Statistics>,
}

impl Late {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone(), made: OnceLock::new() }
    }
}

impl ClientEvents for Late {
    fn statistics(&self, json: &str) {
        if self.telemetry.has_meter() {
            self.made.get_or_init(|| Statistics::new(&self.telemetry)).statistics(json);
        }
    }
}

impl ClientEvents for Statistics {
    fn statistics(&self, json: &str) {
        if let Err(error) = self.record(json) {
            // The error's text may quote the input.
            tracing::warn!(line = error.line(), column = error.column(), "librdkafka's statistics could not be read");
        }
    }
}

/// The recorded part of the statistics, as librdkafka's STATISTICS.md describes them.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(default)]
    msg_cnt: i64,
    #[serde(default)]
    msg_size: i64,
    #[serde(default, borrow)]
    brokers: BTreeMap<std::borrow::Cow<'a, str>, Broker<'a>>,
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
    eos: Option<Eos>,
}

#[derive(Deserialize)]
struct Broker<'a> {
    #[serde(borrow)]
    nodename: std::borrow::Cow<'a, str>,
    nodeid: i64,
    #[serde(default)]
    outbuf_cnt: i64,
    #[serde(default)]
    waitresp_cnt: i64,
    #[serde(default)]
    rtt: Window,
    #[serde(default)]
    int_latency: Window,
    #[serde(default)]
    outbuf_latency: Window,
    #[serde(default)]
    throttle: Window,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    batchsize: Window,
    #[serde(default)]
    batchcnt: Window,
}

#[derive(Deserialize)]
struct Eos {
    epoch_cnt: i64,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Window {
    cnt: i64,
    avg: f64,
    max: f64,
    p99: f64,
}

impl Window {
    /// Returns a zero instead of an empty window, for a value measured only when it occurs, as the throttle time.
    /// Without it the gauge would keep its last value for ever.
    fn or_zero(self) -> Self {
        if self.cnt == 0 { Self { cnt: 1, ..Self::default() } } else { self }
    }

    fn record(&self, gauge: &Gauge<f64>, unit: f64, attributes: &[KeyValue]) {
        if self.cnt == 0 {
            return;
        }
        for (name, value) in [("avg", self.avg), ("p99", self.p99), ("max", self.max)] {
            let statistic = KeyValue::new(STATISTIC, name);
            let set: Vec<_> = attributes.iter().cloned().chain([statistic]).collect();
            gauge.record(value * unit, &set);
        }
    }
}
