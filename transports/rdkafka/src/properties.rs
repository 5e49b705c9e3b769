//! librdkafka's properties: defaults of this transport, required build features, and errors that never show a value.

use std::collections::BTreeMap;

use kafka_tower_core::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka_sys::RDKafkaConfRes;

pub(crate) type Properties = BTreeMap<String, String>;

/// Defaults of this transport, unless the user sets the property.
const DEFAULTS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // The Java client's partitioner. librdkafka's default (CRC32) sends a key to another partition than Java producers
    // do.
    ("partitioner", "murmur2_random"),
    // 0 is no limit. A local time-out of a record that may have been sent makes librdkafka bump its epoch and send
    // others a second time, all reported as delivered.
    ("message.timeout.ms", "0"),
    // A record for an unknown topic fails after 2 s instead of 30 s.
    ("topic.metadata.propagation.max.ms", "2000"),
    // The Java client's value. With librdkafka's 10 s, a broker that is up again would not be found within a usual
    // connect time-out.
    (RECONNECT_MAX, "1000"),
    // The gate enforces the limits, so librdkafka's own must not be reached first.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "2147483647"),
];

const RECONNECT_MAX: &str = "reconnect.backoff.max.ms";

/// Names of the same property; the first is librdkafka's main name.
const ALIASES: &[(&str, &str)] = &[
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.codec", "compression.type"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("request.required.acks", "acks"),
    ("message.send.max.retries", "retries"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
];

/// Properties that the transport depends on.
const OURS: &[&str] = &["delivery.report.only.error", "enabled_events", "log.queue"];

/// Returns the value of a property under any of its names.
pub(crate) fn get<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    let same = ALIASES.iter().filter(|(a, b)| *a == name || *b == name).flat_map(|(a, b)| [*a, *b]);
    std::iter::once(name).chain(same).find_map(|name| properties.get(name)).map(String::as_str)
}

/// Returns the bootstrap servers of a client's configuration.
pub(crate) fn bootstrap_servers(config: &ClientConfig) -> Option<&str> {
    config.get("bootstrap.servers").or_else(|| config.get("metadata.broker.list"))
}

/// Returns the configuration of the client.
pub(crate) fn client_config(properties: &Properties) -> Result<ClientConfig> {
    features(properties)?;
    if let Some(ours) = OURS.iter().find(|name| properties.contains_key(**name)) {
        return Err(Error::new(ErrorKind::Config, format!("the property `{ours}` is set by the transport"))
            .with_help("leave it out: without its reports no send would ever resolve"));
    }
    // In a transaction a local time-out aborts; it must be below transaction.timeout.ms, and librdkafka sets it so by
    // itself.
    let transactional = get(properties, "transactional.id").is_some();
    if !transactional && get(properties, "message.timeout.ms").is_some_and(|value| value != "0") {
        tracing::warn!(
            "a finite message.timeout.ms can write records twice: a local time-out of a record that may have been sent makes \
             librdkafka send others again under a new epoch; use deadlines of records instead"
        );
    }
    if !is_idempotent(properties) && get(properties, "max.in.flight") != Some("1") {
        tracing::warn!(
            "without enable.idempotence librdkafka's own retries can reorder and repeat records; max.in.flight=1 keeps the order"
        );
    }
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS {
        let left_out = match *name {
            "message.timeout.ms" => transactional,
            // The maximum may not be below the user's initial value.
            RECONNECT_MAX => properties.contains_key("reconnect.backoff.ms"),
            _ => false,
        };
        if get(properties, name).is_none() && !left_out {
            config.set(*name, *value);
        }
    }
    for (name, value) in properties {
        config.set(name, value);
    }
    // A few lines per connection and metadata request, none per record. Only a line of `eos` shows that the producer id
    // is there, for which connecting waits: otherwise the first record waits half a second. Only lines of `topic` show
    // lost connections per partition and refused metadata; error events of the same text are held back for 30 s.
    let facets = [
        properties.get("debug").map(String::as_str),
        is_idempotent(properties).then_some("eos"),
        (!transactional).then_some("topic"),
    ];
    let facets: Vec<_> = facets.into_iter().flatten().collect();
    if !facets.is_empty() {
        config.set("debug", facets.join(","));
    }
    // The application's filter for `tracing` decides what is shown.
    config.set_log_level(RDKafkaLogLevel::Debug);
    Ok(config)
}

/// Returns whether the user enabled the debug lines about batches.
pub(crate) fn logs_batches(config: &ClientConfig) -> bool {
    config.get("debug").is_some_and(|debug| debug.split(',').any(|facet| matches!(facet.trim(), "msg" | "all")))
}

pub(crate) fn is_idempotent(properties: &Properties) -> bool {
    // As librdkafka parses a boolean.
    let yes = |value: &str| ["true", "t", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes));
    get(properties, "enable.idempotence").is_none_or(yes)
}

/// Returns whether brokers are to be shown tokens that librdkafka does not make itself.
pub(crate) fn needs_token(properties: &Properties) -> bool {
    let is = |name: &str, value: &str| get(properties, name).is_some_and(|given| given.eq_ignore_ascii_case(value));
    let is_sasl = is("security.protocol", "sasl_plaintext") || is("security.protocol", "sasl_ssl");
    let makes_own = ["true", "t", "1"].iter().any(|yes| is("enable.sasl.oauthbearer.unsecure.jwt", yes));
    let makes_own = makes_own || is("sasl.oauthbearer.method", "oidc");
    is_sasl && is("sasl.mechanisms", "OAUTHBEARER") && !makes_own
}

/// Checks settings that need a build option, and names the cargo feature for it.
pub(crate) fn features(properties: &Properties) -> Result<()> {
    let has = |name: &str| get(properties, name).map(str::to_ascii_lowercase).unwrap_or_default();
    let protocol = has("security.protocol");
    let mechanism = has("sasl.mechanisms");
    let tls = cfg!(any(feature = "ssl", feature = "ssl-vendored", feature = "gssapi"));
    let needs = if has("compression.codec") == "zstd" && !cfg!(feature = "zstd") {
        Some(("compression.type=zstd".to_owned(), "`zstd`"))
    } else if (protocol == "ssl" || protocol == "sasl_ssl") && !tls {
        Some((format!("security.protocol={protocol}"), "`ssl` or `ssl-vendored`"))
    } else if (mechanism.starts_with("scram") || mechanism == "oauthbearer") && !tls {
        Some((format!("sasl.mechanism={}", mechanism.to_uppercase()), "`ssl` or `ssl-vendored`"))
    } else if mechanism == "gssapi" && !cfg!(feature = "gssapi") {
        Some(("sasl.mechanism=GSSAPI".to_owned(), "`gssapi`"))
    } else if protocol.starts_with("sasl") && mechanism.is_empty() && !cfg!(feature = "gssapi") {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "security.protocol={protocol} without sasl.mechanism means Kerberos (GSSAPI), which is not built in"
            ),
        )
        .with_help("set sasl.mechanism (PLAIN, SCRAM-SHA-512, …), or enable the cargo feature `gssapi`"));
    } else {
        properties
            .keys()
            .find(|name| name.starts_with("ssl.") && !tls)
            .map(|name| (format!("the property {name}"), "`ssl` or `ssl-vendored`"))
    };
    match needs {
        None => Ok(()),
        Some((setting, feature)) => {
            Err(Error::new(ErrorKind::Config, format!("{setting} needs the cargo feature {feature}"))
                .with_help(format!("enable the feature {feature} of kafka-tower")))
        }
    }
}

/// Error of a client that could not be created. Names properties and never shows their values: the binding's own error
/// prints passwords.
pub(crate) fn creation_error(error: &KafkaError, config: &ClientConfig) -> Error {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            Error::new(ErrorKind::Config, format!("librdkafka has no property `{name}`"))
                .with_help("correct its name: see CONFIGURATION.md of librdkafka 2.12")
        }
        KafkaError::ClientConfig(_, _, name, _) => {
            Error::new(ErrorKind::Config, format!("librdkafka does not accept the value of the property `{name}`"))
                .with_help("correct its value: see CONFIGURATION.md of librdkafka 2.12")
        }
        KafkaError::ClientCreation(text) => {
            Error::new(ErrorKind::Config, format!("the client could not be created: {}", redact(text, config)))
        }
        _ => Error::new(ErrorKind::Config, "the client could not be created"),
    }
}

/// Replaces the values of secret properties, in case librdkafka quotes one.
fn redact(text: &str, config: &ClientConfig) -> String {
    let mut text = text.to_owned();
    for (name, value) in config.config_map() {
        if is_secret(name) && !value.is_empty() {
            text = text.replace(value, "***");
        }
    }
    text
}

fn is_secret(name: &str) -> bool {
    const SECRET: &[&str] = &[
        "password",
        "pasword",
        "passwd",
        "secret",
        "token",
        "username",
        "jaas",
        "pem",
        "key",
        "assertion",
        "oauthbearer.config",
    ];
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::Client;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn refusal(pairs: &[(&str, &str)]) -> Error {
        let config = match client_config(&properties(pairs)) {
            Ok(config) => config,
            Err(error) => return error,
        };
        match Client::create(&config) {
            Ok(_) => panic!("{pairs:?} was accepted"),
            Err(error) => creation_error(&error, &config),
        }
    }

    #[test]
    fn defaults_do_not_override_what_is_set_under_any_name() {
        let config =
            client_config(&properties(&[("delivery.timeout.ms", "5000"), ("partitioner", "consistent")])).unwrap();
        assert_eq!(config.get("message.timeout.ms"), None);
        assert_eq!(config.get("partitioner"), Some("consistent"));
        assert_eq!(config.get("queue.buffering.max.messages"), Some("0"));
        assert_eq!(config.get(RECONNECT_MAX), Some("1000"));
        let config = client_config(&properties(&[("reconnect.backoff.ms", "5000")])).unwrap();
        assert_eq!(config.get(RECONNECT_MAX), None, "librdkafka's own");
    }

    #[test]
    fn no_secret_is_ever_shown() {
        const SECRET: &str = "hunter2hunter2";
        let cases: &[&[(&str, &str)]] = &[
            &[("sasl.pasword", SECRET)],
            &[("acks", SECRET)],
            &[("linger.ms", SECRET)],
            &[("sasl.password", SECRET), ("nonsense", "1")],
            &[("ssl.key.pem", SECRET), ("security.protocol", "ssl")],
            &[("sasl.oauthbearer.client.secret", SECRET), ("max.in.flight", "9")],
        ];
        for case in cases {
            let error = refusal(case);
            let shown = format!("{error} {error:#} {error:?}");
            assert!(!shown.contains(SECRET), "{case:?}: {shown}");
            assert_eq!(error.kind(), ErrorKind::Config, "{case:?}");
        }
    }

    #[test]
    fn a_wrong_property_is_named() {
        assert_eq!(refusal(&[("lingr.ms", "5")]).message(), "librdkafka has no property `lingr.ms`");
        assert_eq!(
            refusal(&[("linger.ms", "soon")]).message(),
            "librdkafka does not accept the value of the property `linger.ms`"
        );
        assert!(refusal(&[("max.in.flight", "9")]).message().contains("max.in.flight"));
    }

    #[cfg(not(any(feature = "ssl", feature = "ssl-vendored", feature = "gssapi")))]
    #[test]
    fn a_setting_that_needs_a_feature_names_it() {
        for (case, feature) in [
            (&[("security.protocol", "ssl")][..], "`ssl`"),
            (&[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "SCRAM-SHA-512")], "`ssl`"),
            (&[("ssl.ca.location", "ca.pem")], "`ssl`"),
            (&[("security.protocol", "SASL_PLAINTEXT")], "`gssapi`"),
        ] {
            let error = refusal(case);
            assert!(error.help().contains(feature), "{case:?}: {error:#}");
        }
    }

    #[cfg(not(feature = "zstd"))]
    #[test]
    fn zstd_names_its_feature() {
        assert!(refusal(&[("compression.type", "zstd")]).help().contains("`zstd`"));
    }
}
