//! Sets fields by name, from text.

use std::str::FromStr;

use kafka_tower_core::Result;

use super::properties::value::{self, Fault, shown};
use super::{Conflict, KafkaSinkConfig, built::Built, validate};

/// For every field: sets it from text, and compares it.
macro_rules! fields {
    ($($field:ident: $kind:ident),* $(,)?) => {
        fn assign(config: &mut KafkaSinkConfig, field: &str, text: &str) -> Result<(), Fault> {
            match field {
                $(stringify!($field) => config.$field = $kind(text)?,)*
                _ => return Err(Fault { problem: "is no field".to_owned(), cure: "correct its name".to_owned() }),
            }
            Ok(())
        }

        /// Returns whether a field is equal in both.
        pub(super) fn same(a: &KafkaSinkConfig, b: &KafkaSinkConfig, field: &str) -> bool {
            match field {
                $(stringify!($field) => a.$field == b.$field,)*
                _ => false,
            }
        }

        /// Returns whether a field is a text, and not a number or a flag.
        #[cfg(feature = "serde")]
        pub(super) fn is_text(field: &str) -> bool {
            // `acks` is a text whose value may look like a number.
            field != "acks" && match field {
                $(stringify!($field) => matches!(stringify!($kind), "text" | "optional"),)*
                _ => false,
            }
        }
    };
}

fields! {
    acks: text,
    base_backoff_ms: number,
    batch_size: number,
    brokers: text,
    buffer_memory: number,
    circuit_breaker_threshold: number,
    circuit_breaker_timeout_secs: number,
    client_id: text,
    compression_type: text,
    connect_timeout_ms: number,
    delivery_bound_ms: number,
    enable_circuit_breaker: flag,
    enable_idempotence: flag,
    enable_transactions: flag,
    linger_ms: number,
    max_in_flight_requests: number,
    max_retries: number,
    send_timeout_ms: number,
    topic: text,
    transactional_id: optional,
}

/// Sets one of [`FIELDS`](super::properties::FIELDS). If the value cannot work with any other settings and any build,
/// sets nothing and returns the conflicts.
pub(super) fn set(config: &mut KafkaSinkConfig, field: &'static str, text: &str) -> Vec<Conflict> {
    let mut changed = config.clone();
    if let Err(Fault { problem, cure }) = assign(&mut changed, field, text) {
        return vec![Conflict::new(field, format!("`{field}`: {problem}"), cure)];
    }
    let mut found = validate::alone(&changed, Built::WHOLE);
    found.retain(|conflict| conflict.field == field);
    if found.is_empty() {
        *config = changed;
    }
    found
}

#[allow(clippy::unnecessary_wraps)] // the macro needs one signature
fn text(text: &str) -> Result<String, Fault> {
    Ok(text.to_owned())
}

#[allow(clippy::unnecessary_wraps)] // the macro needs one signature
fn optional(text: &str) -> Result<Option<String>, Fault> {
    Ok(Some(text.to_owned()))
}

fn number<T: FromStr>(text: &str) -> Result<T, Fault> {
    let number = if value::is_whole(text) { text.parse().ok() } else { None };
    number.ok_or_else(|| Fault {
        problem: format!("{} is no whole number, or out of range", shown(text)),
        cure: "write digits, without a unit".to_owned(),
    })
}

fn flag(text: &str) -> Result<bool, Fault> {
    value::flag(text).ok_or_else(|| Fault {
        problem: format!("{} is neither true nor false", shown(text)),
        cure: "write true or false".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::properties::FIELDS;
    use super::*;

    #[test]
    fn each_field_is_set_and_by_nothing_else() {
        for field in FIELDS {
            let changed = ["7", "false", "lz4", "0", "true"].iter().any(|value| {
                let mut config = KafkaSinkConfig::default();
                let set = set(&mut config, field, value).is_empty() && config != KafkaSinkConfig::default();
                let others = FIELDS.into_iter().filter(|other| *other != field);
                let mut others = others.filter(|other| !same(&config, &KafkaSinkConfig::default(), other));
                assert_eq!(others.next(), None, "{field}");
                set && !same(&config, &KafkaSinkConfig::default(), field)
            });
            assert!(changed, "{field}");
        }
        assert!(!set(&mut KafkaSinkConfig::default(), "properties", "x").is_empty());
    }

    #[test]
    fn numbers_fit() {
        let set = |field: &'static str, text: &str| set(&mut KafkaSinkConfig::default(), field, text).is_empty();
        assert!(set("max_retries", "4294967295") && !set("max_retries", "4294967296"));
        assert!(set("send_timeout_ms", "18446744073709551615") && !set("send_timeout_ms", "18446744073709551616"));
        for text in ["-1", "-0", "", "5ms", "0x10", "010", " 5", "1_000"] {
            assert!(!set("batch_size", text), "{text:?}");
            assert!(!set("max_retries", text), "{text:?}");
        }
    }

    #[test]
    fn a_value_that_cannot_work_is_not_set() {
        let mut config = KafkaSinkConfig::default();
        for (field, text) in [
            ("acks", "2"),
            ("brokers", "kafka://a"),
            ("compression_type", "brotli"),
            ("topic", "a b"),
            ("batch_size", "0"),
        ] {
            let conflicts = set(&mut config, field, text);
            assert_eq!(conflicts.len(), 1);
            assert!(conflicts[0].problem.starts_with(&format!("`{field}`")), "{conflicts:?}");
        }
        assert_eq!(config, KafkaSinkConfig::default());
        assert_eq!(set(&mut config, "brokers", "a:x,b:y").len(), 2);
        assert!(set(&mut config, "acks", "1").is_empty(), "what it is beside idempotence is another question");
    }
}
