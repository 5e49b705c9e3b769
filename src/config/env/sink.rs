use std::env;
use std::ffi::OsString;

use kafka_tower_core::Result;

use super::{PREFIX, Unknown};
use crate::KafkaSinkConfig;

impl KafkaSinkConfig {
    /// Reads the settings from environment variables with the prefix `KAFKA_`. See
    /// [`from_env_with_prefix`](Self::from_env_with_prefix).
    ///
    /// # Errors
    ///
    /// As [`with_vars`](Self::with_vars).
    ///
    /// ```no_run
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// // KAFKA_BROKERS=kafka-1:9092 KAFKA_TOPIC=orders KAFKA_SECURITY_PROTOCOL=sasl_ssl …
    /// let config = KafkaSinkConfig::from_env()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn from_env() -> Result<Self> {
        Self::from_env_with_prefix(PREFIX)
    }

    /// Reads the settings from environment variables with a prefix. Settings without a variable have their defaults.
    ///
    /// [`with_vars`](Self::with_vars) documents the names of the variables.
    ///
    /// # Errors
    ///
    /// As [`with_vars`](Self::with_vars).
    pub fn from_env_with_prefix(prefix: &str) -> Result<Self> {
        Self::default().with_vars(prefix, env::vars_os())
    }

    /// Overrides these settings with variables. Use it for a preset or a file that the environment may change, and for
    /// tests.
    ///
    /// | variable, with the prefix `KAFKA_` | sets |
    /// |---|---|
    /// | `KAFKA_BROKERS`, `KAFKA_TOPIC`, `KAFKA_BATCH_SIZE`, … | the field of that name |
    /// | `KAFKA_BOOTSTRAP_SERVERS` | `brokers` |
    /// | `KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_PASSWORD`, … | librdkafka's property: upper case, underscores for dots |
    /// | `KAFKA_SASL_PASSWORD_FILE`, … | the same, to the content of the file, without a line break at its end |
    ///
    /// Flags are `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case. An empty variable counts as not
    /// set. Ignored are variables of Kubernetes services and of Docker's links (`KAFKA_SERVICE_HOST`, `KAFKA_PORT`,
    /// `KAFKA_NAME`, `KAFKA_ENV_…`, …), consumers' properties, and under `KAFKA_` those of a source (`KAFKA_SOURCE_…`) and
    /// of Kafka's scripts and images: `KAFKA_HOME`, `…_OPTS`, `KAFKA_JMX_…`, `KAFKA_LOG4J_…`, `KAFKA_CFG_…`,
    /// `KAFKA_TOWER_…`. Any other variable with the prefix is an error; [`with_vars_lenient`](Self::with_vars_lenient)
    /// ignores it.
    ///
    /// A value that cannot work with any other settings is an error here. Missing settings and settings that do not fit
    /// together are left to [`validate`](Self::validate), because the program may still change them. `validate` and
    /// [`warnings`](Self::warnings) name the variables, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with everything that is wrong, by the variables' names. If anything is wrong, it also
    /// lists settings that do not fit together. It shows only values of numbers, flags, choices, topics and hosts, and
    /// no value from a file.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let vars = [("KAFKA_BROKERS", "kafka-1:9092"), ("KAFKA_LINGER_MS", "20"), ("KAFKA_SASL_USERNAME", "ada"), ("HOME", "/")];
    /// let config = KafkaSinkConfig::high_throughput("localhost:9092", "clicks").with_vars("KAFKA_", vars)?;
    /// assert_eq!((config.brokers.as_str(), config.linger_ms, config.batch_size), ("kafka-1:9092", 20, 10_000));
    /// assert_eq!(config.properties["sasl.username"], "ada");
    ///
    /// let wrong = KafkaSinkConfig::default().with_vars("KAFKA_", [("KAFKA_LINGR_MS", "5"), ("KAFKA_MAX_RETRIES", "many")]);
    /// assert_eq!(
    ///     wrong.unwrap_err().message(),
    ///     "the environment cannot be used: KAFKA_LINGR_MS is an unknown setting: did you mean KAFKA_LINGER_MS?; \
    ///      KAFKA_MAX_RETRIES: expected a whole number in range, got \"many\": write digits, without a unit",
    /// );
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn with_vars<N, V>(self, prefix: &str, vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        super::with_vars(self, prefix, vars, Unknown::Refuse)
    }

    /// Like [`with_vars`](Self::with_vars), for a prefix that variables of other programs share: an unknown variable is
    /// ignored and logged as a warning that names the nearest setting.
    ///
    /// An invalid value of a setting is still an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with everything that is wrong, by the variables' names.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let vars = [("KAFKA_TOPIC", "orders"), ("KAFKA_DEAD_LETTERS", "orders.dead")];
    /// let config = KafkaSinkConfig::default().with_vars_lenient("KAFKA_", vars)?;
    /// assert_eq!(config.topic, "orders");
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn with_vars_lenient<N, V>(self, prefix: &str, vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        super::with_vars(self, prefix, vars, Unknown::Ignore(&mut super::warn))
    }
}
