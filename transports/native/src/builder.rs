//! Builds a transport.

use std::fmt;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Result, validate};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::client;
use crate::compress::Codec;
use crate::failure;
use crate::net::address;
use crate::net::connector::{Connector, Tcp};
use crate::net::handshake::Introduction;
use crate::settings::{Acks, Clock, Settings};
use crate::shared::{Shared, Status};
use crate::transport::NativeTransport;

const CLIENT_ID: &str = "kafka-tower";
/// No broker takes larger requests, unless it was told to.
const MAX_BATCH_BYTES: usize = 100 << 20;
const SOFTWARE: (&str, &str) = ("kafka-tower-native", env!("CARGO_PKG_VERSION"));

/// Builds a [`NativeTransport`].
#[must_use = "a builder does nothing until `connect`"]
pub struct NativeBuilder {
    bootstrap: String,
    client_id: String,
    topics: Vec<String>,
    limits: Limits,
    per_partition: Vec<(Arc<str>, usize)>,
    acks: Acks,
    idempotent: Option<bool>,
    max_in_flight: usize,
    codec: Codec,
    batch_records: usize,
    batch_bytes: usize,
    linger: Duration,
    max_request_bytes: usize,
    request_timeout: Duration,
    delivery_bound: Duration,
    connect_timeout: Duration,
    check: bool,
    connector: Arc<dyn Connector>,
    clock: Clock,
}

impl NativeBuilder {
    pub(crate) fn new() -> Self {
        Self {
            bootstrap: String::new(),
            client_id: CLIENT_ID.to_owned(),
            topics: Vec::new(),
            limits: Limits { records: 10_000, bytes: 32 << 20 },
            per_partition: Vec::new(),
            acks: Acks::All,
            idempotent: None,
            max_in_flight: 5,
            codec: Codec::None,
            batch_records: 10_000,
            batch_bytes: 1_000_000,
            linger: Duration::ZERO,
            max_request_bytes: 1 << 20,
            request_timeout: Duration::from_secs(30),
            delivery_bound: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            check: true,
            connector: Arc::new(Tcp),
            clock: Clock::System,
        }
    }

    /// Sets the brokers to begin with, as `host:port`, separated by commas. All addresses of a name are tried.
    pub fn bootstrap(mut self, brokers: impl Into<String>) -> Self {
        self.bootstrap = brokers.into();
        self
    }

    /// Sets the name by which brokers know the client in logs and quotas. Default: `kafka-tower`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// Adds a topic to look up while connecting. May be called more than once.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Sets the limits of the gate. Default: 10,000 records and 32 MiB.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Admits `records` records per partition of a topic, in place of the number in [`limits`](Self::limits), and
    /// follows the topic as it grows. While the number of partitions is unknown it counts as one.
    pub fn records_per_partition(mut self, topic: impl Into<Arc<str>>, records: usize) -> Self {
        self.per_partition.push((topic.into(), records));
        self.limits.records =
            self.per_partition.iter().fold(0, |sum: usize, (_, records)| sum.saturating_add(*records));
        self
    }

    /// Sets which replicas have a record when it is acknowledged. Default: all that are in sync.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Whether brokers recognize a batch that comes twice, so that batches without an answer are sent again. Default: yes with
    /// [`Acks::All`].
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Sets the number of requests without an answer that a connection may have. Default: 5, the most with idempotence.
    pub fn max_in_flight_requests(mut self, requests: usize) -> Self {
        self.max_in_flight = requests;
        self
    }

    /// Sets the compression. Default: none.
    pub fn compression(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the most records of a batch. Default: 10,000.
    pub fn batch_records(mut self, records: usize) -> Self {
        self.batch_records = records;
        self
    }

    /// Sets the most bytes of a batch before compression, unless a single record is larger. Default: 1,000,000.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// Sets how long a batch that is not full waits for more records. Default: it does not wait; batches then grow while requests
    /// are under way.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets the most bytes of a record: its key, value and headers. Default: 1 MiB.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// Sets the time after which a request without an answer ends its connection. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the time that a record may be in flight, independent of its deadline. Default: 300 s. A record that was in flight for
    /// that long is given up and not sent again.
    pub fn delivery_bound(mut self, bound: Duration) -> Self {
        self.delivery_bound = bound;
        self
    }

    /// Sets the total time that connecting may take. A broker that starts during this time is found. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Whether connecting waits for a broker. Default: true. Set it to false for programs that start before their Kafka.
    pub fn connect_check(mut self, check: bool) -> Self {
        self.check = check;
        self
    }

    /// Sets how connections are opened, and takes all times from the runtime's clock. For tests.
    #[doc(hidden)]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self.clock = Clock::Runtime;
        self
    }

    /// Spawns the client's task on the current runtime, and waits for a broker, the topics and the producer id.
    ///
    /// # Errors
    ///
    /// [`Config`](kafka_tower_core::ErrorKind::Config) for a setting that cannot be used, or without a runtime;
    /// [`Connection`](kafka_tower_core::ErrorKind::Connection), [`Authorization`](kafka_tower_core::ErrorKind::Authorization) or
    /// [`UnknownTopicOrPartition`](kafka_tower_core::ErrorKind::UnknownTopicOrPartition), with the cause, when the time is up or waiting longer
    /// cannot help.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the client.
    pub async fn connect(self) -> Result<NativeTransport> {
        let deadline = Instant::from_std(later(Instant::now().into_std(), self.connect_timeout));
        let (check, timeout) = (self.check, self.connect_timeout);
        let runtime =
            Handle::try_current().map_err(|_| failure::config("there is no tokio runtime: connect inside of one"))?;
        // Without its timers tokio panics where one is made.
        let has_timers = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok();
        if !has_timers {
            return Err(failure::config("the tokio runtime has no timers: build it with `enable_all`"));
        }
        for topic in &self.topics {
            validate::topic_name(topic).map_err(|error| {
                failure::config(format!("topic: {}", error.message())).with_help(error.help().to_owned())
            })?;
        }
        let topics: Vec<Arc<str>> = self.topics.iter().map(|topic| Arc::from(topic.as_str())).collect();
        let (limits, per_partition) = (self.limits, self.per_partition.clone());
        let shared = Shared::new(self.settings()?, limits, per_partition);
        shared.status.send_modify(|status| status.wanted.clone_from(&topics));
        let mut status = shared.status.subscribe();
        // Before the task, so that dropping this future ends it.
        let transport = NativeTransport::new(Arc::clone(&shared));
        runtime.spawn(client::Client::new(shared, &topics));
        if !check {
            return Ok(transport);
        }
        let is_ready = |status: &Status| {
            status.has_metadata
                && status.has_producer_id
                && status.has_leaders
                && topics.iter().all(|topic| status.topics.contains(topic))
        };
        let waited = timeout_at(deadline, status.wait_for(|status| is_ready(status) || status.failed.is_some())).await;
        let failed = match &waited {
            Ok(Ok(status)) => status.failed.clone(),
            Ok(Err(_)) => Some(failure::task_ended()),
            Err(_) => None,
        };
        let in_time = waited.is_ok();
        drop(waited);
        match failed {
            Some(error) => Err(error),
            None if in_time => Ok(transport),
            None => {
                let status = status.borrow();
                let missing =
                    if status.has_metadata { "a topic or the producer id was not found" } else { "no broker answered" };
                Err(failure::connect_timed_out(timeout, missing, status.last.as_ref()))
            }
        }
    }

    fn settings(self) -> Result<Settings> {
        let bootstrap =
            address::parse(&self.bootstrap).map_err(|error| failure::config(format!("bootstrap: {error}")))?;
        let positive = [
            ("max_in_flight_requests", self.max_in_flight),
            ("batch_records", self.batch_records),
            ("batch_bytes", self.batch_bytes),
            ("max_request_bytes", self.max_request_bytes),
            ("request_timeout", usize::from(!self.request_timeout.is_zero())),
            ("delivery_bound", usize::from(!self.delivery_bound.is_zero())),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(failure::config(format!("{name} is 0: set it to at least 1")));
        }
        if self.batch_bytes > MAX_BATCH_BYTES {
            return Err(failure::config(format!(
                "batch_bytes is {}: it is {MAX_BATCH_BYTES} at most",
                self.batch_bytes
            )));
        }
        let idempotent = self.idempotent.unwrap_or(self.acks == Acks::All);
        if idempotent && self.acks != Acks::All {
            return Err(failure::config("an idempotent producer needs acks=all: set it, or turn idempotence off"));
        }
        if idempotent && self.max_in_flight > 5 {
            let text =
                format!("max_in_flight_requests is {}: an idempotent producer has 5 at most", self.max_in_flight);
            return Err(failure::config(text));
        }
        if !self.codec.is_built() {
            let name = self.codec.name();
            return Err(failure::config(format!(
                "{name} is not built in: enable the feature `{name}` of kafka-tower-native"
            )));
        }
        let client_id = (!self.client_id.is_empty()).then(|| Arc::from(self.client_id));
        Ok(Settings {
            bootstrap,
            introduction: Introduction { client_id, software: SOFTWARE },
            acks: self.acks,
            idempotent,
            max_in_flight: self.max_in_flight,
            codec: self.codec,
            batch_records: self.batch_records,
            batch_bytes: self.batch_bytes,
            linger: self.linger,
            max_request_bytes: self.max_request_bytes,
            request_timeout: self.request_timeout,
            delivery_bound: self.delivery_bound,
            connector: self.connector,
            clock: self.clock,
        })
    }
}

impl fmt::Debug for NativeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeBuilder")
            .field("bootstrap", &self.bootstrap)
            .field("topics", &self.topics)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
