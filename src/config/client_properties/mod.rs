//! A configuration from a properties file of Java's clients or of librdkafka.

mod jaas;
mod kerberos;
mod names;
mod read;
mod text;

use kafka_tower_core::Result;

use super::{KafkaSinkConfig, KafkaSourceConfig};

impl KafkaSinkConfig {
    /// Reads a `client.properties` file: the text that Confluent Cloud, Amazon MSK, Azure Event Hubs, Aiven and others hand
    /// out. Settings that it does not have keep their defaults; set `topic` afterwards.
    ///
    /// Names are those of Java's clients and of librdkafka. `sasl.jaas.config` becomes user name and password, a truststore or
    /// keystore of the type `PEM` librdkafka's certificates and keys, `delivery.timeout.ms` becomes `send_timeout_ms`, and a
    /// `transactional.id` enables transactions. With the crate feature `oidc`, the client credentials of OAUTHBEARER become a
    /// [`token_provider`](Self::token_provider), which replaces the settings they come from; Amazon's `AWS_MSK_IAM` becomes
    /// OAUTHBEARER, and the program gives the provider. Settings for consumers and for schema registries, serializers and Java's
    /// metrics have no effect: one line of the log names them, of the level `INFO`. The format is that of `java.util.Properties`;
    /// blanks at the end of a value are removed.
    ///
    /// A `sasl.kerberos.kinit.cmd` that is only the path of `kinit`, as Java expects it, becomes librdkafka's command with that
    /// program; with `useTicketCache` and no keytab, the command only renews the ticket. Anything else is a command of
    /// librdkafka's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with everything that is wrong, by line and name: unknown names, invalid values,
    /// placeholders, names that are set to two values, and what librdkafka cannot do, for example to read a JKS truststore. It
    /// shows only values of numbers, flags, choices, topics and hosts.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let text = r#"
    ///     bootstrap.servers=kafka.example.com:9092
    ///     security.protocol=SASL_SSL
    ///     sasl.mechanism=PLAIN
    ///     sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username='ada' password='hunter2';
    ///     acks=all
    ///     session.timeout.ms=45000
    ///     schema.registry.url=https://registry.example.com
    /// "#;
    /// let config = KafkaSinkConfig { topic: "orders".into(), ..KafkaSinkConfig::from_properties(text)? };
    /// assert_eq!((config.brokers.as_str(), config.acks.as_str()), ("kafka.example.com:9092", "all"));
    /// assert_eq!(config.librdkafka_properties()["sasl.username"], "ada");
    ///
    /// let wrong = KafkaSinkConfig::from_properties("linger.ms=5ms\nsasl.mechanism=PLAIN\nsasl.pasword=hunter2");
    /// assert_eq!(
    ///     wrong.unwrap_err().message(),
    ///     "the properties cannot be used: \
    ///      line 1: linger.ms: expected a whole number in range, got \"5ms\": write digits, without a unit; \
    ///      line 3: \"sasl.pasword\", which librdkafka does not know: did you mean \"sasl.password\"?",
    /// );
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn from_properties(text: &str) -> Result<Self> {
        read::read(text)
    }
}

impl KafkaSourceConfig {
    /// Reads a `client.properties` file, as [`KafkaSinkConfig::from_properties`] does. Set `topics` afterwards, and `group_id` if
    /// the text has no `group.id`.
    ///
    /// `auto.offset.reset` becomes `start`, `max.poll.interval.ms` becomes `rebalance_timeout_ms`, and `enable.auto.commit` the
    /// commit strategy: `Automatic` commits what was acknowledged, and `Manual` what the application asks for. Settings for
    /// producers have no effect.
    ///
    /// # Errors
    ///
    /// As [`KafkaSinkConfig::from_properties`].
    ///
    /// ```
    /// use kafka_tower::{CommitStrategy, KafkaSourceConfig, StartFrom};
    ///
    /// let text = "bootstrap.servers=a:9092\ngroup.id=billing\nauto.offset.reset=latest\nenable.auto.commit=false\nacks=all";
    /// let config = KafkaSourceConfig { topics: vec!["orders".into()], ..KafkaSourceConfig::from_properties(text)? };
    /// assert_eq!((config.group_id.as_str(), config.start), ("billing", StartFrom::Latest));
    /// assert_eq!(config.commit, CommitStrategy::Manual);
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn from_properties(text: &str) -> Result<Self> {
        read::read(text)
    }
}
