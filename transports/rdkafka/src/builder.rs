use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::{Gate, Limits};
use kafka_tower_core::{Error, Result, validate};
use tokio::sync::oneshot;

use crate::connect::{self, Check};
use crate::event_loop;
use crate::events::ClientEvents;
use crate::ffi::Client;
use crate::properties::{self, Properties};
use crate::shared::{Shared, later};
use crate::transport::{Owner, RdkafkaTransport};

/// Makes a [`RdkafkaTransport`]: librdkafka's properties, and what is not a property.
///
/// What is not set has librdkafka's default, but for seven: `enable.idempotence=true`, `partitioner=murmur2_random` (the Java
/// client's), `message.timeout.ms=0`, `topic.metadata.propagation.max.ms=2000`, `reconnect.backoff.max.ms=1000` (the Java client's; not with a
/// `reconnect.backoff.ms` of your own), and librdkafka's own queue without
/// limits, because the gate has them.
#[must_use = "a builder does nothing until `connect`"]
pub struct Builder {
    properties: Properties,
    topics: Vec<String>,
    limits: Limits,
    per_partition: Option<(Arc<str>, usize)>,
    delivery_bound: Duration,
    connect_timeout: Duration,
    check: bool,
    events: Option<Arc<dyn ClientEvents>>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            properties: Properties::new(),
            topics: Vec::new(),
            limits: Limits { records: 10_000, bytes: 32 << 20 },
            per_partition: None,
            delivery_bound: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            check: true,
            events: None,
        }
    }

    /// Sets a property of librdkafka.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Sets properties of librdkafka.
    pub fn properties<N: Into<String>, V: Into<String>>(mut self, all: impl IntoIterator<Item = (N, V)>) -> Self {
        self.properties.extend(all.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// A topic to look up while connecting. May be said more than once.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// How much may be on its way: 10,000 records and 32 MiB if it is not said.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Admits so many records for each partition of a topic, in place of [`limits`](Self::limits)' number of records, and
    /// keeps to it as the topic grows. Until the number of partitions is known, they count as one.
    pub fn records_per_partition(mut self, topic: impl Into<Arc<str>>, records: usize) -> Self {
        self.limits.records = records;
        self.per_partition = Some((topic.into(), records));
        self
    }

    /// How long a record may be on its way, whatever its deadline: 300 s if it is not said.
    ///
    /// When one has had no answer for so long although brokers answer, the client is stuck and is replaced: what is on its way to
    /// other topics is awaited for up to 2 s, the rest is given up, and records that were surely not sent go to the new client.
    /// When no broker answers, or in a transaction, all that are on their way are given up. What is given up ends
    /// `PossiblyPersisted`, unless it never got a partition, and none goes out a second time.
    pub fn delivery_bound(mut self, bound: Duration) -> Self {
        self.delivery_bound = bound;
        self
    }

    /// The time that connecting may take, all of it: a broker that comes up within it is connected to. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Does not wait for a broker: for those who start before their Kafka does.
    pub fn without_connect_check(mut self) -> Self {
        self.check = false;
        self
    }

    /// Hears errors and statistics, and hands out OAUTHBEARER tokens.
    pub fn events(mut self, events: impl ClientEvents) -> Self {
        self.events = Some(Arc::new(events));
        self
    }

    /// Makes the client, finds a broker and the topics, and waits for the producer id, whose lack would cost the first record
    /// half a second.
    ///
    /// # Errors
    ///
    /// [`Config`](kafka_tower_core::ErrorKind::Config) for properties that cannot work, by name and never with their value;
    /// [`Connection`](kafka_tower_core::ErrorKind::Connection), [`Authentication`](kafka_tower_core::ErrorKind::Authentication),
    /// [`Authorization`](kafka_tower_core::ErrorKind::Authorization) or [`UnknownTopicOrPartition`](kafka_tower_core::ErrorKind::UnknownTopicOrPartition) when
    /// the time is up or waiting is of no use, with the cause.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up; its threads end by themselves.
    pub async fn connect(self) -> Result<RdkafkaTransport> {
        // librdkafka's calls block: they have a thread of their own, and any runtime will do.
        let (sender, receiver) = oneshot::channel();
        let thread = thread::Builder::new().name("kafka-tower-connect".to_owned());
        let connect = move || {
            let connected = self.connect_now(&|| sender.is_closed());
            drop(sender.send(connected));
        };
        thread.spawn(connect).map_err(|error| event_loop::no_thread(error).without_record())?;
        let connected = receiver.await.unwrap_or_else(|_| Err(event_loop::panicked("cannot connect")));
        connected.map_err(Error::without_record)
    }

    fn connect_now(self, given_up: &dyn Fn() -> bool) -> Result<RdkafkaTransport> {
        let started = Instant::now();
        self.topics.iter().try_for_each(|topic| validate::topic_name(topic))?;
        let config = properties::client_config(&self.properties)?;
        let client = Client::create(&config).map_err(|error| properties::creation_error(&error, &config))?;
        let gate = Gate::new(self.limits);
        let shared = Shared::new(client, config, gate, self.events, self.delivery_bound, self.per_partition);
        let thread = event_loop::spawn(Arc::clone(&shared)).map_err(event_loop::no_thread)?;
        let transactional = properties::get(&self.properties, "transactional.id").is_some();
        let owner = Owner::new(shared, thread, transactional);
        if self.check {
            connect::check(&Check {
                shared: owner.shared(),
                brokers: properties::get(&self.properties, "bootstrap.servers").unwrap_or_default(),
                plaintext: properties::get(&self.properties, "security.protocol")
                    .is_none_or(|protocol| protocol.to_ascii_lowercase().ends_with("plaintext")),
                topics: &self.topics,
                // With transactions `init` takes the id.
                producer_id: properties::is_idempotent(&self.properties) && !transactional,
                timeout: self.connect_timeout,
                deadline: later(started, self.connect_timeout),
                given_up,
                probing: OnceCell::new(),
            })?;
        }
        Ok(RdkafkaTransport::new(Arc::new(owner)))
    }
}

/// Names of properties, no values: some are secret.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("topics", &self.topics)
            .field("limits", &self.limits)
            .field("connect_timeout", &self.connect_timeout)
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}
