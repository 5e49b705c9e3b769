use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Result, TokenProvider, validate};

use crate::callbacks::Hooks;
use crate::connect::{self, ConnectCheck};
use crate::event_loop;
use crate::events::ClientEvents;
use crate::ffi::Client;
use crate::inner::TransportInner;
use crate::owner::Owner;
use crate::partition_counts::CountedTopic;
use crate::properties::{self, Properties};
use crate::threads;
use crate::tokens::Tokens;
use crate::transport::RdkafkaTransport;

/// Builds a [`RdkafkaTransport`] from librdkafka's properties and the transport's own options.
///
/// Properties that are not set have librdkafka's defaults, except these: `enable.idempotence=true`,
/// `partitioner=murmur2_random` (the Java client's), `message.timeout.ms=0`, `topic.metadata.propagation.max.ms=2000`,
/// `reconnect.backoff.max.ms=1000` (the Java client's; not if you set `reconnect.backoff.ms`), and no limits of
/// librdkafka's own queue, because the gate enforces them.
#[must_use = "a builder does nothing until `connect`"]
pub struct RdkafkaBuilder {
    properties: Properties,
    topics: Vec<String>,
    limits: Limits,
    per_partition: Vec<CountedTopic>,
    delivery_bound: Duration,
    connect_timeout: Duration,
    check: bool,
    events: Option<Arc<dyn ClientEvents>>,
    token_provider: Option<Arc<dyn TokenProvider>>,
    replaces_after_unclean_end: bool,
    replaces_after_fatal_error: bool,
}

impl RdkafkaBuilder {
    pub(crate) fn new() -> Self {
        Self {
            properties: Properties::new(),
            topics: Vec::new(),
            limits: Limits { records: 10_000, bytes: 32 << 20 },
            per_partition: Vec::new(),
            delivery_bound: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            check: true,
            events: None,
            token_provider: None,
            replaces_after_unclean_end: true,
            replaces_after_fatal_error: true,
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
    /// follows the topic as it grows. While the number of partitions is unknown it counts as one. With several topics the
    /// records of all are added up; [`RdkafkaTransport::add_topic`] adds one later.
    pub fn records_per_partition(mut self, topic: impl Into<Arc<str>>, records: usize) -> Self {
        self.per_partition.push(CountedTopic::new(topic.into(), records));
        self.limits.records = CountedTopic::records(&self.per_partition);
        self
    }

    /// Sets the time that a record may be in flight, independent of its deadline. Default: 300 s.
    ///
    /// If a record has no answer for that long although brokers answer, the client is stuck and is replaced: records in
    /// flight to other topics are awaited for up to 2 s and then given up, and records that were certainly not sent go
    /// to the new client. If no broker answers, or in a transaction, all records in flight are given up. A record that
    /// is given up ends `PossiblyPersisted`, unless it never got a partition, and is never sent a second time.
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

    /// Sets the receiver of errors and statistics.
    pub fn events(mut self, events: impl ClientEvents) -> Self {
        self.events = Some(Arc::new(events));
        self
    }

    /// Sets the provider of tokens for the mechanism OAUTHBEARER, which needs one. It is called on the tokio runtime that
    /// connects, whose timers must be enabled: when a client is made, and when 80 % of a token's lifetime are over.
    ///
    /// A call may take 30 s, and runs beside sends and deliveries. After a failure, a panic or a time-out it is repeated, after
    /// 0.5 s at first and 10 s at most. The client uses its token until that expires.
    pub fn token_provider(mut self, provider: Arc<dyn TokenProvider>) -> Self {
        self.token_provider = Some(provider);
        self
    }

    /// Whether the producer is replaced after a transaction whose end had no clean answer. False is only for tests that
    /// show what happens without it: a late request ends the next transaction.
    #[doc(hidden)]
    pub fn replace_after_unclean_end(mut self, replace: bool) -> Self {
        self.replaces_after_unclean_end = replace;
        self
    }

    /// Whether a producer without transactions is replaced after a fatal error. False is only for tests that show what
    /// happens without it.
    #[doc(hidden)]
    pub fn replace_after_fatal_error(mut self, replace: bool) -> Self {
        self.replaces_after_fatal_error = replace;
        self
    }

    /// Creates the client, finds a broker and the topics, and waits for the producer id; without it the first record
    /// would take half a second longer.
    ///
    /// # Errors
    ///
    /// [`Config`](kafka_tower_core::ErrorKind::Config) for invalid properties, naming the property without its value;
    /// [`Connection`](kafka_tower_core::ErrorKind::Connection),
    /// [`Authentication`](kafka_tower_core::ErrorKind::Authentication),
    /// [`Authorization`](kafka_tower_core::ErrorKind::Authorization) or
    /// [`UnknownTopicOrPartition`](kafka_tower_core::ErrorKind::UnknownTopicOrPartition), with the cause, when the time
    /// is up or waiting longer cannot help.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection; its threads end by themselves.
    pub async fn connect(self) -> Result<RdkafkaTransport> {
        let tokens = Tokens::new(self.token_provider.as_ref(), &self.properties)?;
        threads::run("kafka-tower-connect", "cannot connect", move |given_up| self.connect_now(tokens, given_up)).await
    }

    fn connect_now(self, tokens: Option<Tokens>, given_up: &dyn Fn() -> bool) -> Result<RdkafkaTransport> {
        let started = Instant::now();
        self.topics.iter().try_for_each(|topic| validate::topic_name(topic))?;
        let config = properties::client_config(&self.properties)?;
        let client = Client::create(&config).map_err(|error| properties::creation_error(&error, &config))?;
        let inner = TransportInner::new(
            client,
            config,
            self.limits,
            Hooks { events: self.events, tokens },
            self.delivery_bound,
            self.per_partition,
            event_loop::spawn_isolated,
        );
        if !self.replaces_after_unclean_end {
            inner.transactions.previous.ignore();
        }
        if !self.replaces_after_fatal_error {
            inner.ended.never_replace();
        }
        let thread = event_loop::spawn(Arc::clone(&inner)).map_err(threads::no_thread)?;
        let transactional = properties::get(&self.properties, "transactional.id").is_some();
        let owner = Owner::new(inner, thread, transactional);
        if self.check {
            connect::check(&ConnectCheck {
                inner: owner.inner(),
                brokers: properties::get(&self.properties, "bootstrap.servers").unwrap_or_default(),
                plaintext: connect::is_plaintext(properties::get(&self.properties, "security.protocol")),
                topics: &self.topics,
                // With transactions `init` obtains the producer id.
                purpose: "send to",
                producer_id: properties::is_idempotent(&self.properties) && !transactional,
                timeout: self.connect_timeout,
                deadline: later(started, self.connect_timeout),
                given_up,
                probing: OnceCell::new(),
            })?;
        }
        owner.inner().request_limit.begin();
        Ok(RdkafkaTransport::new(Arc::new(owner)))
    }
}

/// Shows the names of properties only, because some values are secret.
impl fmt::Debug for RdkafkaBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaBuilder")
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("topics", &self.topics)
            .field("limits", &self.limits)
            .field("connect_timeout", &self.connect_timeout)
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}
