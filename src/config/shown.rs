//! Properties for display, without secrets.

use std::collections::BTreeMap;

use super::properties::property::Kind;
use super::properties::{find, value};
use super::validate;

/// Shown in place of a value that may be secret.
const HIDDEN: &str = "***";
/// Maximum length of a shown text, in bytes: a longer one is more likely a secret than a file name.
const LONGEST: usize = 200;

/// Text properties that are not secret.
const OPEN: [&str; 21] = [
    "client.id",
    "client.rack",
    "client.software.name",
    "client.software.version",
    "group.id",
    "group.instance.id",
    "group.remote.assignor",
    "partition.assignment.strategy",
    "plugin.library.paths",
    "sasl.kerberos.service.name",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.sigalgs.list",
    "topic.blacklist",
    "transactional.id",
];

/// Returns librdkafka's properties for display: numbers, flags, choices and known non-secrets in clear.
pub(crate) fn properties(all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let all = all.into_iter();
    all.map(|(name, text)| match name.as_str() {
        "bootstrap.servers" => (name, validate::masked(&text)),
        _ if is_open(&name, &text) => (name, text),
        // Name and value may be swapped: then the name is the secret.
        _ if find(&name).is_none() && find(&text).is_some() => (HIDDEN.to_owned(), HIDDEN.to_owned()),
        _ => (name, HIDDEN.to_owned()),
    })
    .collect()
}

fn is_open(name: &str, text: &str) -> bool {
    match find(name) {
        Some(property) if matches!(property.kind, Kind::Text) => {
            OPEN.contains(&name) && text.len() <= LONGEST && !text.contains(char::is_control)
        }
        Some(property) => value::check(&property.kind, text).is_ok() || text == "all" && name == "acks",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::KafkaSinkConfig;
    use super::super::properties::table;
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let config = KafkaSinkConfig { brokers: "u:hunter2@a:9092".into(), ..KafkaSinkConfig::default() }
            .with_property("sasl.password", "hunter2")
            .with_property("sasl.username", "hunter2")
            .with_property("sasl.mechanism", "hunter2")
            .with_property("retries", "hunter2")
            .with_property("hunter2", "sasl.password")
            .with_property("ssl.key.location", "-----BEGIN\nhunter2")
            .with_property("ssl.ca.location", "/ca.pem")
            .with_property("security.protocol", "SASL_SSL");
        let shown = properties(config.librdkafka_properties());
        assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
        let of = |name: &str| shown.get(name).map(String::as_str);
        assert_eq!((of("bootstrap.servers"), of("acks"), of("linger.ms")), (Some("…@a:9092"), Some("all"), Some("0")));
        assert_eq!((of("ssl.ca.location"), of("security.protocol")), (Some("/ca.pem"), Some("SASL_SSL")));
        assert_eq!((of("sasl.password"), of("***")), (Some("***"), Some("***")));
    }

    #[test]
    fn no_text_property_that_is_not_listed_is_shown() {
        assert!(OPEN.is_sorted() && OPEN.iter().all(|name| find(name).is_some()));
        for property in table::TABLE.iter().filter(|property| matches!(property.kind, Kind::Text)) {
            let open = OPEN.contains(&property.name);
            assert_eq!(is_open(property.name, "hunter2"), open, "{}", property.name);
        }
    }
}
