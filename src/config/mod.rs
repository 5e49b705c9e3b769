//! What a sink can be told, what of it cannot work, and what it means to librdkafka.

mod built;
mod conflict;
#[cfg(feature = "serde")]
mod de;
mod env;
mod fields;
mod overlay;
mod presets;
mod properties;
mod rdkafka;
#[cfg(feature = "rdkafka")]
mod shown;
mod validate;
mod variables;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kafka_tower_core::Result;
use kafka_tower_core::gate::Limits;

pub use conflict::Conflict;
#[cfg(feature = "rdkafka")]
pub(crate) use shown::properties as shown_properties;
pub use variables::Variables;

/// The settings of a [`KafkaSink`](crate::KafkaSink).
///
/// Make it with `..Default::default()`, or with a preset: [`high_throughput`](Self::high_throughput),
/// [`low_latency`](Self::low_latency), [`exactly_once`](Self::exactly_once); from the environment with
/// [`from_env`](Self::from_env), from a file with serde. [`validate`](Self::validate) names every conflict at once, and
/// connecting does that first.
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
    /// Where the cluster is: `host:port`, several with commas. The port may be left out (9092).
    pub brokers: String,

    /// The topic of messages that name none. Required.
    pub topic: String,

    /// How brokers know this producer, in their logs and quotas.
    pub client_id: String,

    /// Records in one request, at most. Default: 100.
    pub batch_size: usize,

    /// The budget of one send in milliseconds, drawn on by waiting for room, retries and the broker. Default: 30 000.
    ///
    /// Running out answers the caller. A record that waits for room is withdrawn; one that the client has taken may still
    /// arrive, and the error says so.
    pub send_timeout_ms: u64,

    /// The time in milliseconds that connecting may take, also that of `check`. Default: 10 000.
    ///
    /// All of it is used: a broker that comes up within it is connected to. A broker that is far away needs a few round trips.
    pub connect_timeout_ms: u64,

    /// The time in milliseconds that a record may be on its way, whatever its deadline. Default: 300 000.
    ///
    /// When one had no answer for so long, the client is replaced if brokers answer, and what is on its way is given up.
    pub delivery_bound_ms: u64,

    /// Whether brokers drop what the client's own retries write twice, and keep its order. Default: true.
    pub enable_idempotence: bool,

    /// Whether sends belong to transactions. Needs a `transactional_id`, idempotence, and `acks` of `all`. Default: false.
    pub enable_transactions: bool,

    /// The transactional id, required with transactions and unused without them.
    pub transactional_id: Option<String>,

    /// `none`, `gzip`, `snappy`, `lz4` or `zstd` (crate feature `zstd`). Default: `snappy`.
    pub compression_type: String,

    /// Who must have a record before it counts as delivered: `0` (nobody), `1` (the leader), `all`. Default: `all`.
    pub acks: String,

    /// Retries of a send by the retry layer, after the client's own. Default: 5.
    pub max_retries: u32,

    /// The first delay between these retries in milliseconds; it doubles. Default: 100.
    pub base_backoff_ms: u64,

    /// Requests on their way to a broker. Default: 5.
    ///
    /// With idempotence the client keeps to 5, Kafka's rule. The number also bounds the records that the sink admits:
    /// twice `max_in_flight_requests` × `batch_size` for each partition of its topic.
    pub max_in_flight_requests: usize,

    /// How long a record waits for others to share its request, in milliseconds. Default: 0.
    pub linger_ms: u64,

    /// Bytes of records that are admitted and not settled. Default: 33 554 432 (32 MiB).
    pub buffer_memory: usize,

    /// Whether sends are refused at once while Kafka fails them all; not in transactions, which would be committed without
    /// what was refused. Default: true.
    pub enable_circuit_breaker: bool,

    /// Failures in a row that open the circuit breaker. Default: 5.
    pub circuit_breaker_threshold: u32,

    /// Seconds until an open circuit breaker lets a trial through. Default: 60.
    pub circuit_breaker_timeout_secs: u64,

    /// Any other property of librdkafka 2.12.1, by its own name: `security.protocol`, `sasl.username`, …
    ///
    /// [`validate`](Self::validate) knows the names and what each value must be; a name that a field above sets is refused.
    /// Values are never shown by `Debug`.
    pub properties: BTreeMap<String, String>,

    /// The environment variables that set these settings, for conflicts and warnings to name. Default: none.
    ///
    /// [`with_vars`](Self::with_vars) fills it.
    pub variables: Variables,
}

impl Default for KafkaSinkConfig {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            topic: String::new(),
            client_id: "kafka-tower".to_owned(),
            batch_size: 100,
            send_timeout_ms: 30_000,
            connect_timeout_ms: 10_000,
            delivery_bound_ms: 300_000,
            enable_idempotence: true,
            enable_transactions: false,
            transactional_id: None,
            compression_type: "snappy".to_owned(),
            acks: "all".to_owned(),
            max_retries: 5,
            base_backoff_ms: 100,
            max_in_flight_requests: 5,
            linger_ms: 0,
            buffer_memory: 33_554_432,
            enable_circuit_breaker: true,
            circuit_breaker_threshold: 5,
            circuit_breaker_timeout_secs: 60,
            properties: BTreeMap::new(),
            variables: Variables::default(),
        }
    }
}

impl KafkaSinkConfig {
    /// Sets a property of librdkafka.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Checks all settings, alone and together. Touches no network and no file: whether a certificate is there and good, a
    /// cipher known, a plug-in to be loaded, is told while connecting.
    ///
    /// A setting that needs a cargo feature of this crate is refused without it, if the feature `rdkafka` is on. No value of a
    /// property is shown but those of numbers, flags and choices.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with every conflict and its cure in the text;
    /// [`conflicts`](Self::conflicts) has them one by one.
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

    /// All that cannot work in these settings; empty if they can.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let shown = |text: &str| Cow::Owned(self.variables.show(self, text));
        let mut conflicts = validate::conflicts(self, built::Built::HERE);
        for conflict in &mut conflicts {
            (conflict.problem, conflict.cure) = (shown(&conflict.problem), shown(&conflict.cure));
        }
        conflicts
    }

    /// What works but may not be what was meant, a line each. Connecting logs them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let warnings = validate::warnings(self).into_iter();
        warnings.map(|text| self.variables.show(self, &text)).collect()
    }

    /// What librdkafka is told: the fields under its names, and [`properties`](Self::properties) as they are. Has
    /// secrets if those do.
    ///
    /// Differences from librdkafka's own defaults that no field names: `partitioner` is `murmur2_random`, so that a key
    /// lands where the Java client puts it; an unknown topic fails after 2 s; a connection that is idle for 230 s is closed
    /// (`connections.max.idle.ms`), before a load balancer forgets it; `message.timeout.ms` is 0, because a
    /// record that times out in the client after it may have been sent makes the client send others twice. The send's
    /// budget is kept by the sink. With transactions `message.timeout.ms` lies a second (at most a tenth) below
    /// `transaction.timeout.ms`, which is 60 000 unless `properties` has it: a record that times out aborts its transaction.
    #[must_use]
    pub fn librdkafka_properties(&self) -> BTreeMap<String, String> {
        rdkafka::properties(self)
    }

    /// What the sink admits at once, for a topic of so many partitions: one set of requests on the wire, one being
    /// filled.
    #[must_use]
    pub fn limits(&self, partitions: u32) -> Limits {
        let records = self
            .max_in_flight_requests
            .saturating_mul(2)
            .saturating_mul(self.batch_size)
            .saturating_mul(partitions.max(1) as usize);
        Limits { records, bytes: self.buffer_memory }
    }

    /// `send_timeout_ms`.
    #[must_use]
    pub fn send_timeout(&self) -> Duration {
        Duration::from_millis(self.send_timeout_ms)
    }

    /// `connect_timeout_ms`.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// `delivery_bound_ms`.
    #[must_use]
    pub fn delivery_bound(&self) -> Duration {
        Duration::from_millis(self.delivery_bound_ms)
    }
}

/// Shows the names of `properties`, not their values, and of a broker's address not what stands before an `@`: those may
/// be secret.
impl fmt::Debug for KafkaSinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSinkConfig")
            .field("brokers", &validate::masked(&self.brokers))
            .field("topic", &self.topic)
            .field("client_id", &self.client_id)
            .field("batch_size", &self.batch_size)
            .field("send_timeout_ms", &self.send_timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("delivery_bound_ms", &self.delivery_bound_ms)
            .field("enable_idempotence", &self.enable_idempotence)
            .field("enable_transactions", &self.enable_transactions)
            .field("transactional_id", &self.transactional_id)
            .field("compression_type", &self.compression_type)
            .field("acks", &self.acks)
            .field("max_retries", &self.max_retries)
            .field("base_backoff_ms", &self.base_backoff_ms)
            .field("max_in_flight_requests", &self.max_in_flight_requests)
            .field("linger_ms", &self.linger_ms)
            .field("buffer_memory", &self.buffer_memory)
            .field("enable_circuit_breaker", &self.enable_circuit_breaker)
            .field("circuit_breaker_threshold", &self.circuit_breaker_threshold)
            .field("circuit_breaker_timeout_secs", &self.circuit_breaker_timeout_secs)
            .field("properties", &self.properties.keys())
            .finish()
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
    fn limits_grow_with_partitions_and_never_overflow() {
        let config = KafkaSinkConfig::default();
        assert_eq!(config.limits(3), Limits { records: 2 * 5 * 100 * 3, bytes: 33_554_432 });
        assert_eq!(config.limits(0).records, 1000, "unknown counts as one");
        let config = KafkaSinkConfig { batch_size: usize::MAX, ..config };
        assert_eq!(config.limits(3).records, usize::MAX);
    }
}
