//! Names of Java client settings that librdkafka does not have.

use super::property::Client;

const NONE: &str = "remove it, because librdkafka has no counterpart";
const PEM: &str = "use \"ssl.ca.location\" with a PEM file";
const LEVEL: &str = "use \"compression.level\"";
const STATISTICS: &str = "use \"statistics.interval.ms\", or remove it";
const TOKEN: &str = "give the configuration a provider: `with_token_provider`";
const CREDENTIALS: &str = "use \"sasl.username\" and \"sasl.password\"";

/// The name, and what to use instead, for any client.
const NAMES: &[(&str, &str)] = &[
    ("auto.include.jmx.reporter", STATISTICS),
    ("config.providers", NONE),
    ("interceptor.classes", "write a tower layer"),
    ("metadata.max.idle.ms", "use \"metadata.max.age.ms\""),
    ("metric.reporters", STATISTICS),
    ("metrics.num.samples", STATISTICS),
    ("metrics.recording.level", STATISTICS),
    ("metrics.sample.window.ms", STATISTICS),
    ("receive.buffer.bytes", "use \"socket.receive.buffer.bytes\""),
    ("sasl.client.callback.handler.class", TOKEN),
    ("sasl.jaas.config", CREDENTIALS),
    ("sasl.login.callback.handler.class", TOKEN),
    ("sasl.login.class", CREDENTIALS),
    ("security.providers", "use \"ssl.providers\""),
    ("send.buffer.bytes", "use \"socket.send.buffer.bytes\""),
    ("socket.connection.setup.timeout.max.ms", "use \"socket.connection.setup.timeout.ms\""),
    ("ssl.enabled.protocols", NONE),
    ("ssl.engine.factory.class", NONE),
    ("ssl.keymanager.algorithm", NONE),
    ("ssl.keystore.certificate.chain", "use \"ssl.certificate.pem\""),
    ("ssl.keystore.key", "use \"ssl.key.pem\""),
    ("ssl.keystore.type", "a keystore is PKCS#12; for PEM use \"ssl.key.location\" and \"ssl.certificate.location\""),
    ("ssl.protocol", NONE),
    ("ssl.provider", "use \"ssl.providers\""),
    ("ssl.secure.random.implementation", NONE),
    ("ssl.trustmanager.algorithm", NONE),
    ("ssl.truststore.certificates", "use \"ssl.ca.pem\""),
    ("ssl.truststore.location", PEM),
    ("ssl.truststore.password", PEM),
    ("ssl.truststore.type", PEM),
];

/// The same for a producer.
const PRODUCER: &[(&str, &str)] = &[
    ("buffer.memory", "set the field `buffer_memory`"),
    ("compression.gzip.level", LEVEL),
    ("compression.lz4.level", LEVEL),
    ("compression.zstd.level", LEVEL),
    ("key.serializer", "remove it, because keys are bytes"),
    ("max.block.ms", "set the field `send_timeout_ms`"),
    ("max.request.size", "use \"message.max.bytes\""),
    ("partitioner.adaptive.partitioning.enable", NONE),
    ("partitioner.availability.timeout.ms", NONE),
    ("partitioner.class", "use \"partitioner\""),
    ("partitioner.ignore.keys", "use \"partitioner\" with \"random\""),
    ("transaction.two.phase.commit.enable", NONE),
    ("value.serializer", "give the sink a `MessageSerializer`"),
];

/// The same for a consumer.
const CONSUMER: &[(&str, &str)] = &[
    ("default.api.timeout.ms", "set the field `connect_timeout_ms`"),
    ("exclude.internal.topics", "remove it, because topics are named"),
    ("fetch.max.wait.ms", "set the field `fetch_max_wait_ms`"),
    ("key.deserializer", "remove it, because keys are bytes"),
    ("max.poll.records", "remove it, because the source reads in batches of its own"),
    ("value.deserializer", "give the source a `MessageDeserializer`"),
];

/// Prefixes of names without a counterpart in librdkafka.
const FAMILIES: &[&str] = &[
    "sasl.kerberos.ticket.renew.",
    "sasl.login.",
    "sasl.oauthbearer.expected.",
    "sasl.oauthbearer.header.",
    "sasl.oauthbearer.jwks.",
    "sasl.oauthbearer.jwt.",
    "sasl.oauthbearer.scope.claim.",
    "sasl.oauthbearer.sub.claim.",
];

/// Returns what to do about a name of the Java client.
pub(in crate::config) fn cure(client: Client, name: &str) -> Option<&'static str> {
    let own = if client == Client::Producer { PRODUCER } else { CONSUMER };
    let known = own.iter().chain(NAMES).find(|(java, _)| *java == name).map(|(_, cure)| *cure);
    known.or_else(|| FAMILIES.iter().any(|family| name.starts_with(family)).then_some(NONE))
}

#[cfg(all(test, feature = "rdkafka"))]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().chain(PRODUCER).chain(CONSUMER).map(|(name, _)| *name)
}
