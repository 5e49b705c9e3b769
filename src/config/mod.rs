//! Settings of a sink and of a source: their validation, and their translation to librdkafka's properties.

mod built;
mod client_credentials;
mod client_properties;
mod conflict;
#[cfg(feature = "serde")]
mod de;
mod env;
mod fields;
#[cfg(all(feature = "opentelemetry", feature = "rdkafka"))]
mod only_broker;
mod overlay;
mod presets;
mod properties;
mod rdkafka;
#[cfg(feature = "rdkafka")]
mod shown;
mod side;
mod source;
#[cfg(feature = "oidc")]
mod token_maker;
mod token_source;
mod validate;
mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Result, TokenProvider};

pub use conflict::Conflict;
#[cfg(all(feature = "opentelemetry", feature = "rdkafka"))]
pub(crate) use only_broker::only_broker;
#[cfg(feature = "rdkafka")]
pub(crate) use shown::properties as shown_properties;
pub use source::{Assignor, GroupProtocol, KafkaSourceConfig, StartFrom};
pub use token_source::TokenSource;
pub use variables::Variables;

fields::config! {
    /// Settings of a [`KafkaSink`](crate::KafkaSink).
    ///
    /// Create it with `..Default::default()`; with a preset ([`high_throughput`](Self::high_throughput),
    /// [`low_latency`](Self::low_latency), [`exactly_once`](Self::exactly_once)); from the environment with
    /// [`from_env`](Self::from_env); or from a file with serde. [`validate`](Self::validate) reports all conflicts at once;
    /// connecting calls it first.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let config = KafkaSinkConfig {
    ///     brokers: "kafka-1:9092,kafka-2:9092".to_string(),
    ///     topic: "orders".to_string(),
    ///     linger_ms: 5,
    ///     ..Default::default()
    /// }
    /// .with_property("socket.keepalive.enable", "true");
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[derive(Clone, PartialEq, Eq)]
    pub struct KafkaSinkConfig {
        /// Addresses of brokers, `host:port`, separated by commas. Default: `localhost:9092`. Default port: 9092.
        pub brokers: String = "localhost:9092".to_owned(),

        /// Topic of messages that do not set one. Required.
        pub topic: String = String::new(),

        /// Name of this producer in the brokers' logs and quotas. Default: `kafka-tower`.
        pub client_id: String = "kafka-tower".to_owned(),

        /// Maximum number of records per request. Default: 100.
        pub batch_size: usize = 100,

        /// Time budget of one send in milliseconds, shared by the wait for room, retries and the broker. Default: 30 000.
        ///
        /// When it is used up, the caller gets an error. A record that waits for room is then not sent; a record that the
        /// client has accepted may still arrive, and the error says so.
        pub send_timeout_ms: u64 = 30_000,

        /// Time that connecting may take in milliseconds, also for `preflight`. Default: 10 000.
        ///
        /// A broker that starts within that time is connected to. A distant broker needs a few round trips.
        pub connect_timeout_ms: u64 = 10_000,

        /// Time that a record may be in flight in milliseconds, independent of its deadline. Default: 300 000.
        ///
        /// If a record has no answer for that long while brokers answer, the client is replaced, and the records in flight
        /// are `PossiblyPersisted`.
        pub delivery_bound_ms: u64 = 300_000,

        /// Whether brokers discard duplicates from the client's own retries and keep the records in order. Default: true.
        pub enable_idempotence: bool = true,

        /// Whether sends belong to transactions. Needs `transactional_id`, `enable_idempotence`, and `acks` of `all`.
        /// Default: false.
        pub enable_transactions: bool = false,

        /// The transactional id. Required with transactions, ignored without.
        pub transactional_id: Option<String> = None,

        /// Compression: `none`, `gzip`, `snappy`, `lz4` or `zstd` (crate feature `zstd`). Default: `snappy`.
        pub compression_type: String = "snappy".to_owned(),

        /// Replicas that must have a record before it is acknowledged: `0` (none), `1` (the leader), `all`. Default: `all`.
        pub acks: String = "all".to_owned(),

        /// Maximum number of retries of a send by the retry layer, in addition to the client's own. Default: 5.
        pub max_retries: u32 = 5,

        /// First delay between these retries in milliseconds; it doubles with each retry. Default: 100.
        pub base_backoff_ms: u64 = 100,

        /// Maximum number of requests in flight per broker. Default: 5.
        ///
        /// With idempotence the client uses at most 5, Kafka's limit. The number also bounds the records that the sink
        /// admits: 2 × `max_in_flight_requests` × `batch_size` for each partition of its topic.
        pub max_in_flight_requests: usize = 5,

        /// Time that a record waits for others to share its request, in milliseconds. Default: 0.
        pub linger_ms: u64 = 0,

        /// Maximum size of the records that are admitted and not settled, in bytes. Default: 33 554 432 (32 MiB).
        pub buffer_memory: usize = 33_554_432,

        /// Whether sends are rejected at once while Kafka is failing. Has no effect with transactions, because a commit
        /// would lack the rejected records. Default: true.
        pub enable_circuit_breaker: bool = true,

        /// Number of consecutive failures that open the circuit breaker. Default: 5.
        pub circuit_breaker_threshold: u32 = 5,

        /// Time until an open circuit breaker lets a probe through, in seconds. Default: 60.
        pub circuit_breaker_timeout_secs: u64 = 60,

        ..

        /// Other properties of librdkafka 2.12.1, by librdkafka's names: `security.protocol`, `sasl.username`, …
        ///
        /// [`validate`](Self::validate) checks their names and values; a property that a field above sets is rejected.
        /// `Debug` does not show the values.
        pub properties: BTreeMap<String, String>,

        /// The provider of tokens for the SASL mechanism OAUTHBEARER, which needs one. Default: none.
        ///
        /// [`with_token_provider`](Self::with_token_provider) sets it.
        pub token_provider: TokenSource,

        /// The environment variables that these settings come from, so that conflicts and warnings can name them. Default:
        /// none.
        ///
        /// [`with_vars`](Self::with_vars) fills it.
        pub variables: Variables,
    }
}

/// Settings that each sink of a client has for itself.
const OF_A_SINK: [&str; 8] = [
    "topic",
    "send_timeout_ms",
    "connect_timeout_ms",
    "max_retries",
    "base_backoff_ms",
    "enable_circuit_breaker",
    "circuit_breaker_threshold",
    "circuit_breaker_timeout_secs",
];

impl fields::Settings for KafkaSinkConfig {
    const SIDE: &'static side::Side = &side::SINK;

    fn alone(&self, built: built::Built) -> Vec<Conflict> {
        validate::alone(self, built)
    }

    fn all_conflicts(&self, built: built::Built) -> Vec<Conflict> {
        validate::conflicts(self, built)
    }
}

impl KafkaSinkConfig {
    /// Sets a property of librdkafka.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Sets the provider of tokens for the SASL mechanism OAUTHBEARER: a function that returns a future, or a type that implements
    /// [`TokenProvider`].
    ///
    /// It is called on the tokio runtime that connects, when a client is made and when 80 % of a token's lifetime are over. A call
    /// may take 30 s, and no send waits for it while the token is valid. After a failure, a panic or a time-out it is repeated,
    /// after 0.5 s at first and 10 s at most. Without a valid token connecting fails after
    /// [`connect_timeout_ms`](Self::connect_timeout_ms), and its error names the last failure.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kafka_tower::{BoxError, KafkaSinkConfig, OauthToken};
    ///
    /// # async fn request() -> Result<(String, u64), BoxError> { Ok(("secret".into(), 300)) }
    /// let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() }
    ///     .with_property("security.protocol", "sasl_ssl")
    ///     .with_property("sasl.mechanism", "OAUTHBEARER")
    ///     .with_token_provider(|| async {
    ///         let (access_token, expires_in) = request().await?;
    ///         Ok::<_, BoxError>(OauthToken::new(access_token, Duration::from_secs(expires_in)))
    ///     });
    /// # if cfg!(feature = "ssl") { config.validate()?; }
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn with_token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.token_provider = TokenSource::new(Arc::new(provider));
        self
    }

    /// Checks all settings, alone and together. Reads no file and does not connect: whether a certificate exists and is
    /// valid, a cipher is known, or a plug-in can be loaded is reported when connecting.
    ///
    /// A setting that needs a cargo feature of this crate is rejected without it, if the feature `rdkafka` is on. The
    /// error shows values of numbers, flags and choices only.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with every conflict and its cure in the text;
    /// [`conflicts`](Self::conflicts) returns them one by one.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let config = KafkaSinkConfig { topic: "orders".into(), acks: "1".into(), ..Default::default() };
    /// assert_eq!(
    ///     config.validate().unwrap_err().message(),
    ///     "the configuration cannot work: `acks` is \"1\" while `enable_idempotence` is true: \
    ///      set `acks` to \"all\", or `enable_idempotence` to false",
    /// );
    /// ```
    pub fn validate(&self) -> Result<()> {
        conflict::refuse(&self.conflicts())
    }

    /// Returns every conflict in these settings. Empty if they can work.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        conflict::by_variables(self)
    }

    /// Returns warnings about settings that work but may be unintended, one line each. Connecting logs them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let warnings = validate::warnings(self).into_iter();
        warnings.map(|text| self.variables.show(self, &text)).collect()
    }

    /// Returns the properties for librdkafka: the fields under librdkafka's names, and [`properties`](Self::properties)
    /// unchanged. Contains secrets if `properties` does.
    ///
    /// It also sets properties that have no field and differ from librdkafka's defaults: `partitioner` is
    /// `murmur2_random`, so that a key goes to the same partition as with the Java client; a record for an unknown
    /// topic fails after 2 s (`topic.metadata.propagation.max.ms`); a connection that is idle for 230 s is closed
    /// (`connections.max.idle.ms`), before a load balancer forgets it; `message.timeout.ms` is 0, because a record that
    /// times out in the client after it may have been sent makes the client send others twice. The sink enforces the
    /// time budget of a send. With transactions `message.timeout.ms` is 1 s (at most a tenth) below
    /// `transaction.timeout.ms`, which is 60 000 ms unless set in `properties`: a record that times out aborts its
    /// transaction.
    #[must_use]
    pub fn librdkafka_properties(&self) -> BTreeMap<String, String> {
        rdkafka::properties(self)
    }

    /// Returns the limits of the sink's gate for a topic with this number of partitions: twice the records of the
    /// requests in flight, so that one set can be filled while the other is on the wire.
    #[must_use]
    pub fn limits(&self, partitions: u32) -> Limits {
        let records = self
            .max_in_flight_requests
            .saturating_mul(2)
            .saturating_mul(self.batch_size)
            .saturating_mul(partitions.max(1) as usize);
        Limits { records, bytes: self.buffer_memory }
    }

    /// Names of the settings of the producer that differ from those of `client`, whose producer a sink with these settings
    /// shares.
    pub(crate) fn differences(&self, client: &Self) -> Vec<&'static str> {
        let differs = |name: &&str| !OF_A_SINK.contains(name) && !fields::Fields::same(self, client, name);
        let properties = (self.properties != client.properties).then_some("properties");
        FIELDS.into_iter().filter(differs).chain(properties).collect()
    }

    /// `send_timeout_ms` as a `Duration`.
    #[must_use]
    pub fn send_timeout(&self) -> Duration {
        Duration::from_millis(self.send_timeout_ms)
    }

    /// The property `transaction.timeout.ms` as a `Duration`, or its default: 60 s.
    pub(crate) fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(rdkafka::transaction_timeout_ms(self).try_into().unwrap_or_default())
    }

    /// `connect_timeout_ms` as a `Duration`.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// `delivery_bound_ms` as a `Duration`.
    #[must_use]
    pub fn delivery_bound(&self) -> Duration {
        Duration::from_millis(self.delivery_bound_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_values_of_properties() {
        let config = KafkaSinkConfig::default().with_property("sasl.password", "hunter2");
        let shown = format!("{config:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_sink_of_a_client_has_some_settings_for_itself() {
        let client = KafkaSinkConfig::default();
        let sink = KafkaSinkConfig { topic: "orders".into(), max_retries: 0, send_timeout_ms: 1, ..client.clone() };
        assert!(sink.differences(&client).is_empty());
        let other = KafkaSinkConfig { linger_ms: 7, acks: "1".into(), ..sink }.with_property("debug", "broker");
        assert_eq!(other.differences(&client), ["acks", "linger_ms", "properties"]);
        assert!(OF_A_SINK.iter().all(|name| FIELDS.contains(name)));
    }

    #[test]
    fn limits_grow_with_partitions_and_never_overflow() {
        let config = KafkaSinkConfig::default();
        assert_eq!(config.limits(3), Limits { records: 2 * 5 * 100 * 3, bytes: 33_554_432 });
        assert_eq!(config.limits(0).records, 1000, "unknown counts as one");
        let config = KafkaSinkConfig { batch_size: usize::MAX, ..config };
        assert_eq!(config.limits(3).records, usize::MAX);
    }
}
