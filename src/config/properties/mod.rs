//! Pass-through properties: known names, valid values, and the build options of librdkafka that they need.

#[cfg(all(test, feature = "rdkafka"))]
mod against_librdkafka;
pub(super) mod java;
mod nearest;
pub(super) mod property;
pub(super) mod table;
pub(super) mod value;

use std::collections::BTreeMap;

use super::Conflict;
use super::built::Built;
use super::client_credentials::{is_replaced, lack_the_mechanism, lacking};
use super::side::Side;
use nearest::{Meant, nearest};
use property::{Client, Needs, Property};

pub(super) use nearest::closest;

/// Properties as they were given, by name.
pub(super) type Properties = BTreeMap<String, String>;

/// Properties whose values are certificates or keys.
const PEM: [&str; 3] = ["ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem"];

/// Longer names are cut to this number of characters when shown.
const SHOWN: usize = 60;

pub(super) fn check(side: &Side, properties: &Properties, built: Built, found: &mut Vec<Conflict>) {
    for (name, value) in properties {
        let Err((problem, cure)) = look_at(side, properties, built, name, value) else { continue };
        found.push(Conflict::new("properties", format!("`properties` has {problem}"), cure));
    }
}

/// Returns what is wrong (a phrase that follows "has") and what to do.
fn look_at(
    side: &Side,
    properties: &Properties,
    built: Built,
    name: &str,
    value: &str,
) -> Result<(), (String, String)> {
    if side.set_by_transport.iter().any(|(known, _)| *known == name) {
        return Err(refusal(side, name, value));
    }
    if let Some(field) = set_by(side, name) {
        let problem = format!("{name:?}, which `{field}` sets");
        return Err((problem, format!("set the field `{field}` and remove the property")));
    }
    let Some(property) = find(name).filter(|property| property.is_of(side.client)) else {
        return Err(unknown(side, name, value));
    };
    if property.alias_of.is_some_and(|other| properties.contains_key(other)) {
        let other = property.canonical();
        return Err((
            format!("{name:?} and {other:?}, which are two names of one property"),
            "remove one of them".to_owned(),
        ));
    }
    if property.needs == Some(Needs::Curl) && is_replaced(name) {
        if built.oidc {
            return value::check(&property.kind, value)
                .map_err(|fault| (format!("{name:?}: {}", fault.problem), fault.cure));
        }
        if let Some(other) = lacking(properties).filter(|_| cfg!(feature = "oidc")) {
            let problem = format!("{name:?}, which is part of incomplete client credentials: {other:?} is missing");
            return Err((problem, format!("set {other:?} in the same file or environment")));
        }
        if cfg!(feature = "oidc") && lack_the_mechanism(properties) {
            let cure = "set \"sasl.mechanism\" to OAUTHBEARER in the same file or environment, or remove the property";
            return Err((format!("{name:?}, which is for another mechanism of SASL"), cure.to_owned()));
        }
    }
    if let Some(cure) = property.needs.and_then(|needs| missing(needs, built)) {
        return Err((format!("{name:?}, which {}", cure.0), cure.1.to_owned()));
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
pub(super) fn set(side: &Side, properties: &mut Properties, name: &str, value: &str) -> Vec<Conflict> {
    let built = Built { oidc: cfg!(feature = "oidc"), ..Built::WHOLE };
    if let Err((problem, cure)) = look_at(side, properties, built, name, value) {
        return vec![Conflict::new("properties", format!("`properties` has {problem}"), cure)];
    }
    properties.insert(name.to_owned(), value.to_owned());
    Vec::new()
}

/// Returns what is wrong with a setting that is not a property of such a client, and what to do.
pub(super) fn refusal(side: &Side, name: &str, value: &str) -> (String, String) {
    let set_by_transport = side.set_by_transport.iter().find(|(known, _)| *known == name);
    match set_by_transport {
        Some((_, cure)) => (format!("{name:?}, which the transport sets"), (*cure).to_owned()),
        None => unknown(side, name, value),
    }
}

fn missing(needs: Needs, built: Built) -> Option<(&'static str, &'static str)> {
    match needs {
        Needs::Tls if !built.tls => Some(("needs TLS", Built::TLS)),
        Needs::Curl => Some((
            "needs libcurl, and librdkafka is built without it",
            "remove it, and get the tokens in a provider: `with_token_provider` with `tokens::OidcProvider` (crate feature \
             `oidc`)",
        )),
        Needs::Windows if !cfg!(windows) => Some(("is for Windows", "use \"ssl.ca.location\"")),
        Needs::Tls | Needs::Windows => None,
    }
}

fn unknown(side: &Side, name: &str, value: &str) -> (String, String) {
    let shown: String = name.chars().take(SHOWN).collect();
    if side.foreign().any(|foreign| foreign == name) {
        let whose = if side.client == Client::Producer { "consumers" } else { "producers" };
        return (format!("{name:?}, which is for {whose}"), "remove it".to_owned());
    }
    if table::API.contains(&name) {
        return (format!("{name:?}, which can only be set in code"), "remove it".to_owned());
    }
    if let Some(cure) = java::cure(side.client, name) {
        return (format!("{shown:?}, which is a name of the Java client"), cure.to_owned());
    }
    // Name and value may be swapped, and the name then be the secret.
    if find(value).is_some() {
        return (format!("{value:?} as the value of a property"), "swap its name and its value".to_owned());
    }
    let cure = match nearest(side, name) {
        Some(Meant::Field(field)) => {
            return (
                format!("{shown:?}, which is a field"),
                format!("set the field `{field}` and remove the property"),
            );
        }
        Some(Meant::Property(meant)) => match set_by(side, meant) {
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
pub(super) fn set_by(side: &Side, property: &str) -> Option<&'static str> {
    let property = canonical(property);
    side.set_by_fields.iter().find(|(name, _)| canonical(name) == property).map(|(_, field)| *field)
}

pub(super) fn find(name: &str) -> Option<&'static Property> {
    table::TABLE.iter().find(|property| property.name == name)
}

/// Returns the name and value of a property that is set under any of its names.
pub(super) fn get<'a>(properties: &'a Properties, name: &str) -> Option<(&'a str, &'a str)> {
    let one = |name: &str| properties.get_key_value(name).map(|(name, value)| (name.as_str(), value.as_str()));
    one(name).or_else(|| {
        let canonical = find(name)?.canonical();
        let same = table::TABLE.iter().filter(|property| property.canonical() == canonical);
        same.map(|property| property.name).find_map(one)
    })
}

/// Returns whether a text property is set and not blank.
pub(super) fn has(properties: &Properties, name: &str) -> bool {
    get(properties, name).is_some_and(|(_, value)| !value.trim().is_empty())
}

/// Returns a property's value if it is set and a whole number.
pub(super) fn whole(properties: &Properties, name: &str) -> Option<i64> {
    get(properties, name).and_then(|(_, value)| value::whole(value))
}

/// Returns a property's value if it is set and a flag.
pub(super) fn flag(properties: &Properties, name: &str) -> Option<bool> {
    get(properties, name).and_then(|(_, value)| value::flag(value))
}

#[cfg(test)]
mod tests {
    use super::super::side::{SINK, SOURCE};
    use super::super::{KafkaSinkConfig, KafkaSourceConfig};
    use super::*;

    #[test]
    fn tables_are_sorted_and_agree() {
        let names: Vec<_> = table::TABLE.iter().map(|property| property.name).collect();
        assert!(names.is_sorted() && table::API.is_sorted());
        for property in table::TABLE {
            assert!(property.alias_of.is_none_or(|other| find(other).is_some_and(|p| p.alias_of.is_none())));
            assert!(!table::API.contains(&property.name));
        }
        for side in [&SINK, &SOURCE] {
            for property in side.properties() {
                assert_eq!(java::cure(side.client, property.name), None, "{}", property.name);
            }
            for (name, field) in side.set_by_fields {
                assert!(find(name).is_some_and(|property| property.is_of(side.client)), "{name}");
                assert!(side.fields.contains(field), "{name} {field}");
            }
            assert!(side.set_by_transport.iter().all(|(name, _)| find(name).is_none()));
        }
    }

    #[test]
    fn the_list_of_fields_is_complete() {
        let fields = |shown: String| {
            let lines = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(':'));
            let not_by_text = ["properties", "token_provider"];
            let names =
                lines.map(|(name, _)| name).filter(|name| !name.starts_with(' ') && !not_by_text.contains(name));
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(fields(format!("{:#?}", KafkaSinkConfig::default())), SINK.fields);
        assert_eq!(fields(format!("{:#?}", KafkaSourceConfig::default())), SOURCE.fields);
    }

    #[test]
    fn a_property_belongs_to_its_side() {
        let of = |side, name: &str| look_at(side, &Properties::new(), Built::WHOLE, name, "1").err();
        let for_whom = |side, name| of(side, name).unwrap_or_default().0;
        assert_eq!(for_whom(&SINK, "check.crcs"), "\"check.crcs\", which is for consumers");
        assert_eq!(for_whom(&SINK, "enable.auto.commit"), "\"enable.auto.commit\", which is for consumers");
        assert_eq!(for_whom(&SOURCE, "retries"), "\"retries\", which is for producers");
        assert_eq!(
            for_whom(&SOURCE, "delivery.report.only.error"),
            "\"delivery.report.only.error\", which is for producers"
        );
        assert_eq!(for_whom(&SOURCE, "enable.auto.commit"), "\"enable.auto.commit\", which the transport sets");
        assert_eq!(
            for_whom(&SOURCE, "max.partition.fetch.bytes"),
            "\"max.partition.fetch.bytes\", which `partition_fetch_bytes` sets"
        );
        assert_eq!((of(&SOURCE, "check.crcs"), of(&SOURCE, "socket.timeout.ms").is_some()), (None, true));
    }

    #[test]
    fn a_value_is_found_under_each_of_its_names() {
        let config = KafkaSinkConfig::default().with_property("retries", "3").with_property("sasl.mechanisms", "PLAIN");
        let given = &config.properties;
        assert_eq!(get(given, "message.send.max.retries"), Some(("retries", "3")));
        assert_eq!(get(given, "sasl.mechanism"), Some(("sasl.mechanisms", "PLAIN")));
        assert_eq!(whole(given, "retries"), Some(3));
        assert_eq!(get(given, "debug"), None);
    }
}
