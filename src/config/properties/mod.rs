//! Pass-through properties: known names, valid values, and the build options of librdkafka that they need.

#[cfg(all(test, feature = "rdkafka"))]
mod against_librdkafka;
pub(super) mod java;
mod nearest;
pub(super) mod property;
pub(super) mod table;
pub(super) mod value;

use super::built::Built;
use super::{Conflict, KafkaSinkConfig};
use nearest::{Meant, nearest};
use property::{Needs, Property};

pub(super) use nearest::closest;

/// Properties of librdkafka that a field sets under each of their names, with the field.
const SET_BY_FIELDS: [(&str, &str); 11] = [
    ("acks", "acks"),
    ("batch.num.messages", "batch_size"),
    ("bootstrap.servers", "brokers"),
    ("client.id", "client_id"),
    ("compression.type", "compression_type"),
    ("enable.idempotence", "enable_idempotence"),
    ("linger.ms", "linger_ms"),
    ("max.in.flight", "max_in_flight_requests"),
    ("queue.buffering.max.kbytes", "buffer_memory"),
    ("queue.buffering.max.messages", "buffer_memory"),
    ("transactional.id", "transactional_id"),
];

/// Properties that the transport sets because it depends on them.
const SET_BY_TRANSPORT: [(&str, &str); 5] = [
    ("builtin.features", "remove it, because it only lists what librdkafka was built with"),
    ("delivery.report.only.error", "remove it, because no send is answered without its delivery report"),
    ("enabled_events", "remove it, because the transport needs all of them"),
    ("log.queue", "remove it, because the log goes to `tracing`"),
    ("log_level", "remove it, and filter the target `librdkafka` of `tracing`"),
];

/// Properties whose values are certificates or keys.
const PEM: [&str; 3] = ["ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem"];

/// Longer names are cut to this number of characters when shown.
const SHOWN: usize = 60;

pub(super) fn check(config: &KafkaSinkConfig, built: Built, found: &mut Vec<Conflict>) {
    for (name, value) in &config.properties {
        let Err((problem, cure)) = look_at(config, built, name, value) else { continue };
        found.push(Conflict::new("properties", format!("`properties` has {problem}"), cure));
    }
}

/// Returns what is wrong (a phrase that follows "has") and what to do.
fn look_at(config: &KafkaSinkConfig, built: Built, name: &str, value: &str) -> Result<(), (String, String)> {
    let of = |table: &[(&str, &'static str)]| table.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    if let Some(cure) = of(&SET_BY_TRANSPORT) {
        return Err((format!("{name:?}, which the transport sets"), cure.to_owned()));
    }
    if let Some(field) = set_by(name) {
        let problem = format!("{name:?}, which `{field}` sets");
        return Err((problem, format!("set the field `{field}` and remove the property")));
    }
    let Some(property) = find(name) else { return Err(unknown(name, value)) };
    if let Some(cure) = property.needs.and_then(|needs| missing(needs, built)) {
        return Err((format!("{name:?}, which {}", cure.0), cure.1.to_owned()));
    }
    if property.alias_of.is_some_and(|other| config.properties.contains_key(other)) {
        let other = property.canonical();
        return Err((
            format!("{name:?} and {other:?}, which are two names of one property"),
            "remove one of them".to_owned(),
        ));
    }
    if PEM.contains(&name) && !value.contains("-----BEGIN ") {
        let cure = "write the PEM text itself, starting with -----BEGIN; for a path use the property whose name ends \
                    with .location";
        return Err((format!("{name:?} with a value that is not PEM"), cure.to_owned()));
    }
    value::check(&property.kind, value).map_err(|fault| (format!("{name:?}: {}", fault.problem), fault.cure))
}

/// Sets a property. If its name or value cannot work with any other settings and any build, sets nothing and returns
/// the conflict.
pub(super) fn set(config: &mut KafkaSinkConfig, name: &str, value: &str) -> Vec<Conflict> {
    if let Err((problem, cure)) = look_at(config, Built::WHOLE, name, value) {
        return vec![Conflict::new("properties", format!("`properties` has {problem}"), cure)];
    }
    config.properties.insert(name.to_owned(), value.to_owned());
    Vec::new()
}

fn missing(needs: Needs, built: Built) -> Option<(&'static str, &'static str)> {
    match needs {
        Needs::Tls if !built.tls => Some(("needs TLS", Built::TLS)),
        Needs::Curl => Some((
            "needs libcurl, and librdkafka is built without it",
            "remove it, because tokens come from `ClientEvents::oauth_token` of the transport",
        )),
        Needs::Windows if !cfg!(windows) => Some(("is for Windows", "use \"ssl.ca.location\"")),
        Needs::Tls | Needs::Windows => None,
    }
}

fn unknown(name: &str, value: &str) -> (String, String) {
    let shown: String = name.chars().take(SHOWN).collect();
    if table::CONSUMER.contains(&name) {
        return (format!("{name:?}, which is for consumers"), "remove it".to_owned());
    }
    if table::API.contains(&name) {
        return (format!("{name:?}, which can only be set in code"), "remove it".to_owned());
    }
    if let Some(cure) = java::cure(name) {
        return (format!("{shown:?}, which is a name of the Java client"), cure.to_owned());
    }
    // Name and value may be swapped, and the name then be the secret.
    if find(value).is_some() {
        return (format!("{value:?} as the value of a property"), "swap its name and its value".to_owned());
    }
    let cure = match nearest(name) {
        Some(Meant::Field(field)) => {
            return (
                format!("{shown:?}, which is a field"),
                format!("set the field `{field}` and remove the property"),
            );
        }
        Some(Meant::Property(meant)) => match set_by(meant) {
            Some(field) => format!("did you mean {meant:?}? The field `{field}` sets it"),
            None => format!("did you mean {meant:?}?"),
        },
        None => "correct it (see CONFIGURATION.md of librdkafka 2.12.1), or remove it".to_owned(),
    };
    (format!("{shown:?}, which librdkafka does not know"), cure)
}

/// The main name of a property.
pub(super) fn canonical(name: &str) -> &str {
    find(name).map_or(name, |property| property.canonical())
}

/// Returns the field that sets a property.
pub(super) fn set_by(property: &str) -> Option<&'static str> {
    let property = canonical(property);
    SET_BY_FIELDS.iter().find(|(name, _)| canonical(name) == property).map(|(_, field)| *field)
}

pub(super) fn find(name: &str) -> Option<&'static Property> {
    table::TABLE.iter().find(|property| property.name == name)
}

/// Returns the name and value of a property that is set under any of its names.
pub(super) fn get<'a>(config: &'a KafkaSinkConfig, name: &str) -> Option<(&'a str, &'a str)> {
    let one = |name: &str| config.properties.get_key_value(name).map(|(name, value)| (name.as_str(), value.as_str()));
    one(name).or_else(|| {
        let canonical = find(name)?.canonical();
        let same = table::TABLE.iter().filter(|property| property.canonical() == canonical);
        same.map(|property| property.name).find_map(one)
    })
}

/// Returns whether a text property is set and not blank.
pub(super) fn has(config: &KafkaSinkConfig, name: &str) -> bool {
    get(config, name).is_some_and(|(_, value)| !value.trim().is_empty())
}

/// Returns a property's value if it is set and a whole number.
pub(super) fn whole(config: &KafkaSinkConfig, name: &str) -> Option<i64> {
    get(config, name).and_then(|(_, value)| value::whole(value))
}

/// Returns a property's value if it is set and a flag.
pub(super) fn flag(config: &KafkaSinkConfig, name: &str) -> Option<bool> {
    get(config, name).and_then(|(_, value)| value::flag(value))
}

#[cfg(test)]
mod tests {
    use super::super::FIELDS;
    use super::*;

    #[test]
    fn tables_are_sorted_and_agree() {
        let names: Vec<_> = table::TABLE.iter().map(|property| property.name).collect();
        assert!(names.is_sorted() && table::CONSUMER.is_sorted() && table::API.is_sorted());
        for property in table::TABLE {
            assert!(property.alias_of.is_none_or(|other| find(other).is_some_and(|p| p.alias_of.is_none())));
            assert!(!table::CONSUMER.contains(&property.name) && !table::API.contains(&property.name));
            assert_eq!(java::cure(property.name), None, "{}", property.name);
        }
        for (name, field) in SET_BY_FIELDS {
            assert!(find(name).is_some() && FIELDS.contains(&field), "{name} {field}");
        }
        assert!(SET_BY_TRANSPORT.iter().all(|(name, _)| find(name).is_none()));
    }

    #[test]
    fn the_list_of_fields_is_complete() {
        let shown = format!("{:#?}", KafkaSinkConfig::default());
        let fields: Vec<_> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(':').map(|(name, _)| name))
            .filter(|name| !name.starts_with(' ') && *name != "properties")
            .collect();
        assert_eq!(fields, FIELDS);
    }

    #[test]
    fn a_value_is_found_under_each_of_its_names() {
        let config = KafkaSinkConfig::default().with_property("retries", "3").with_property("sasl.mechanisms", "PLAIN");
        assert_eq!(get(&config, "message.send.max.retries"), Some(("retries", "3")));
        assert_eq!(get(&config, "sasl.mechanism"), Some(("sasl.mechanisms", "PLAIN")));
        assert_eq!(whole(&config, "retries"), Some(3));
        assert_eq!(get(&config, "debug"), None);
    }
}
