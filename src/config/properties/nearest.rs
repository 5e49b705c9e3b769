//! "Did you mean": finds the known name nearest to an unknown one.

use strsim::osa_distance;

use super::table;
use crate::config::side::Side;

/// Prefixes that are common where settings of several kinds are in one place.
const PREFIXES: [&str; 6] = ["consumer.", "kafka.", "librdkafka.", "producer.", "rdkafka.", "topic."];

/// Maximum length of a name that is compared, in characters. No known name is that long.
const LONGEST: usize = 80;

/// The field or property that was meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    Field(&'static str),
    Property(&'static str),
}

pub(super) fn nearest(side: &Side, name: &str) -> Option<Meant> {
    if let Some(field) = side.fields.iter().find(|field| **field == name) {
        return Some(Meant::Field(field));
    }
    closest(name, side.properties().map(|property| property.name)).map(Meant::Property)
}

/// Returns the nearest of the known names, if one is near enough.
pub(in crate::config) fn closest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.chars().count() > LONGEST {
        return None;
    }
    let normal = normal(name);
    let bare = bare(&normal);
    let limit = match bare.chars().count() {
        0..=3 => return None,
        4..=7 => 1,
        8..=15 => 2,
        _ => 3,
    };
    known
        .map(|known| (osa_distance(bare, &known.replace('_', ".")), known))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Lower case, with dots between words: `SECURITY_PROTOCOL` becomes `security.protocol`.
fn normal(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace(['_', '-', ' '], ".")
}

fn bare(mut name: &str) -> &str {
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        if table::TABLE.iter().any(|property| property.name == name) {
            break;
        }
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::side::{SINK, SOURCE};

    #[test]
    fn edit_distances_are_counted() {
        for (a, b, far) in [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("lingr", "linger", 1), ("acsk", "acks", 1)]
        {
            assert_eq!(osa_distance(a, b), far, "{a} {b}");
            assert_eq!(osa_distance(b, a), far, "{b} {a}");
        }
        assert_eq!(osa_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_misspelt_property_gets_a_suggestion() {
        for (written, meant) in [
            ("lingr.ms", "linger.ms"),
            ("sasl.pasword", "sasl.password"),
            ("security_protocol", "security.protocol"),
            ("KAFKA_SASL_MECHANISM", "sasl.mechanism"),
            ("topic.request.timeout.ms", "request.timeout.ms"),
            ("kafka.producer.socket.timeout.ms", "socket.timeout.ms"),
            ("ssl.ca.locations", "ssl.ca.location"),
        ] {
            assert_eq!(nearest(&SINK, written), Some(Meant::Property(meant)), "{written}");
        }
        assert_eq!(nearest(&SINK, "batch_size"), Some(Meant::Field("batch_size")));
        assert_eq!(nearest(&SOURCE, "batch_size"), None);
        assert_eq!(nearest(&SOURCE, "fetch.eror.backoff.ms"), Some(Meant::Property("fetch.error.backoff.ms")));
        for nonsense in ["", "a", "nonsense", "topic.", "ü", &"x".repeat(100_000)] {
            assert_eq!(nearest(&SINK, nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn every_name_is_its_own_nearest() {
        for side in [&SINK, &SOURCE] {
            for property in side.properties().filter(|property| !side.fields.contains(&property.name)) {
                assert_eq!(nearest(side, property.name), Some(Meant::Property(property.name)));
            }
        }
    }
}
