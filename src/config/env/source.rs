use std::env;
use std::ffi::OsString;

use kafka_tower_core::Result;

use super::Unknown;
use crate::KafkaSourceConfig;

/// Prefix of a source's variables.
const PREFIX: &str = "KAFKA_SOURCE_";

impl KafkaSourceConfig {
    /// Reads the settings from environment variables with the prefix `KAFKA_SOURCE_`. See
    /// [`from_env_with_prefix`](Self::from_env_with_prefix).
    ///
    /// # Errors
    ///
    /// As [`with_vars`](Self::with_vars).
    ///
    /// ```no_run
    /// use kafka_tower::KafkaSourceConfig;
    ///
    /// // KAFKA_SOURCE_BROKERS=kafka-1:9092 KAFKA_SOURCE_GROUP_ID=billing KAFKA_SOURCE_TOPICS=orders,returns …
    /// let config = KafkaSourceConfig::from_env()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn from_env() -> Result<Self> {
        Self::from_env_with_prefix(PREFIX)
    }

    /// Reads the settings from environment variables with a prefix. Settings without a variable have their defaults.
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
    /// | variable, with the prefix `KAFKA_SOURCE_` | sets |
    /// |---|---|
    /// | `KAFKA_SOURCE_BROKERS`, `KAFKA_SOURCE_GROUP_ID`, … | the field of that name |
    /// | `KAFKA_SOURCE_TOPICS` | `topics`, separated by commas |
    /// | `KAFKA_SOURCE_SECURITY_PROTOCOL`, … | librdkafka's property: upper case, underscores for dots |
    /// | `KAFKA_SOURCE_SASL_PASSWORD_FILE`, … | the same, to the content of the file, without a line break at its end |
    ///
    /// | setting | choices |
    /// |---|---|
    /// | `start` | `earliest`, `latest`, or a time: milliseconds since 1970 |
    /// | `on_out_of_range` | `earliest`, `latest`, `fail` |
    /// | `isolation` | `read_committed`, `read_uncommitted` |
    /// | `commit` | `automatic`, `periodic`, `each`, `manual`, `transaction`, `checkpoint`, `at_most_once` |
    /// | `group_protocol` | `classic`, `consumer` |
    /// | `assignor` | `cooperative-sticky`, `range`, `roundrobin` |
    ///
    /// They are read in any case, and with or without separators, so that `CooperativeSticky` is known, too. The other rules are
    /// those of [`KafkaSinkConfig::with_vars`](crate::KafkaSinkConfig::with_vars).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with everything that is wrong, by the variables' names. If anything is
    /// wrong, it also lists settings that do not fit together. It shows only values of numbers, flags, choices, topics and
    /// hosts, and no value from a file.
    ///
    /// ```
    /// use kafka_tower::{KafkaSourceConfig, StartFrom};
    ///
    /// let vars = [
    ///     ("KAFKA_SOURCE_GROUP_ID", "billing"),
    ///     ("KAFKA_SOURCE_TOPICS", "orders,returns"),
    ///     ("KAFKA_SOURCE_START", "latest"),
    ///     ("KAFKA_SOURCE_SASL_USERNAME", "ada"),
    /// ];
    /// let config = KafkaSourceConfig::default().with_vars("KAFKA_SOURCE_", vars)?;
    /// assert_eq!((config.topics, config.start), (vec!["orders".to_owned(), "returns".to_owned()], StartFrom::Latest));
    /// assert_eq!(config.properties["sasl.username"], "ada");
    ///
    /// let wrong = KafkaSourceConfig::default().with_vars("KAFKA_SOURCE_", [("KAFKA_SOURCE_GROUP", "billing")]);
    /// assert!(wrong.unwrap_err().message().starts_with(
    ///     "the environment cannot be used: KAFKA_SOURCE_GROUP is an unknown setting: did you mean KAFKA_SOURCE_GROUP_ID?",
    /// ));
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
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with everything that is wrong, by the variables' names.
    pub fn with_vars_lenient<N, V>(self, prefix: &str, vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        super::with_vars(self, prefix, vars, Unknown::Ignore(&mut super::warn))
    }
}
