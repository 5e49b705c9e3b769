//! The list of fields, and setting them by name, from text.

use std::str::FromStr;

use super::properties::Properties;
pub(super) use super::properties::value::Fault;
use super::properties::value::{self, shown};
use super::side::Side;
use super::{Conflict, Variables, built::Built};

/// Declares the configuration: its fields with their defaults, and, after `..`, what is not set by a text of its own.
/// Everything that goes through all fields by name comes from this list.
macro_rules! config {
    (
        $(#[$meta:meta])*
        pub struct $config:ident {
            $($(#[$doc:meta])* pub $field:ident: $kind:ty = $default:expr,)*
            ..
            $($(#[$other_doc:meta])* pub $other:ident: $other_kind:ty,)*
        }
    ) => {
        $(#[$meta])*
        pub struct $config {
            $($(#[$doc])* pub $field: $kind,)*
            $($(#[$other_doc])* pub $other: $other_kind,)*
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: $default,)* $($other: <$other_kind>::default(),)* }
            }
        }

        /// Names of the fields that a text can set.
        pub(in crate::config) const FIELDS: [&str; [$(stringify!($field)),*].len()] = [$(stringify!($field)),*];

        impl $crate::config::fields::Fields for $config {
            fn assign(&mut self, field: &str, text: &str) -> Result<(), $crate::config::fields::Fault> {
                match field {
                    $(stringify!($field) => self.$field = $crate::config::fields::Value::parse(text)?,)*
                    _ => return Err($crate::config::fields::no_field()),
                }
                Ok(())
            }

            fn same(&self, other: &Self, field: &str) -> bool {
                match field {
                    $(stringify!($field) => self.$field == other.$field,)*
                    _ => false,
                }
            }

            #[cfg(feature = "serde")]
            fn is_text(field: &str) -> bool {
                match field {
                    // Its value may look like a number.
                    "acks" => false,
                    $(stringify!($field) => <$kind as $crate::config::fields::Value>::IS_TEXT,)*
                    _ => false,
                }
            }

            fn properties(&self) -> &$crate::config::properties::Properties {
                &self.properties
            }

            fn properties_mut(&mut self) -> &mut $crate::config::properties::Properties {
                &mut self.properties
            }

            #[cfg(feature = "oidc")]
            fn token_provider_mut(&mut self) -> &mut $crate::config::TokenSource {
                &mut self.token_provider
            }

            fn variables(&self) -> &$crate::config::Variables {
                &self.variables
            }

            fn variables_mut(&mut self) -> &mut $crate::config::Variables {
                &mut self.variables
            }
        }

        /// Shows the names of `properties` without their values, and brokers without the part before an `@`, because both
        /// may be secret.
        impl std::fmt::Debug for $config {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let masked = Self { brokers: $crate::config::validate::masked(&self.brokers), ..self.clone() };
                let mut shown = f.debug_struct(stringify!($config));
                $(shown.field(stringify!($field), &masked.$field);)*
                shown.field("properties", &self.properties.keys()).field("token_provider", &self.token_provider).finish()
            }
        }
    };
}
pub(super) use config;

/// Fields by name. [`config`] implements it.
pub(super) trait Fields: Clone + Default {
    /// Sets a field from text.
    fn assign(&mut self, field: &str, text: &str) -> Result<(), Fault>;

    /// Returns whether a field is equal in both.
    fn same(&self, other: &Self, field: &str) -> bool;

    /// Returns whether a field is a text, and not a number or a flag.
    #[cfg(feature = "serde")]
    fn is_text(field: &str) -> bool;

    fn properties(&self) -> &Properties;

    fn properties_mut(&mut self) -> &mut Properties;

    #[cfg(feature = "oidc")]
    fn token_provider_mut(&mut self) -> &mut super::TokenSource;

    fn variables(&self) -> &Variables;

    fn variables_mut(&mut self) -> &mut Variables;
}

/// A configuration.
pub(super) trait Settings: Fields {
    const SIDE: &'static Side;

    /// Returns the conflicts of single fields, which cannot work with any other settings.
    fn alone(&self, built: Built) -> Vec<Conflict>;

    /// Returns all conflicts, as this crate names settings.
    fn all_conflicts(&self, built: Built) -> Vec<Conflict>;
}

/// The value of a field.
pub(super) trait Value: Sized {
    #[cfg(feature = "serde")]
    const IS_TEXT: bool = false;

    fn parse(text: &str) -> Result<Self, Fault>;
}

impl Value for String {
    #[cfg(feature = "serde")]
    const IS_TEXT: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(text.to_owned())
    }
}

impl Value for Option<String> {
    #[cfg(feature = "serde")]
    const IS_TEXT: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(Some(text.to_owned()))
    }
}

/// Names separated by commas.
impl Value for Vec<String> {
    #[cfg(feature = "serde")]
    const IS_TEXT: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, Fault> {
        value::flag(text).ok_or_else(|| Fault {
            problem: format!("{} is neither true nor false", shown(text)),
            cure: "write true or false".to_owned(),
        })
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Value for $number {
            fn parse(text: &str) -> Result<Self, Fault> {
                number(text)
            }
        }
    )*};
}
numbers! { u32 u64 usize }

impl Value for Option<u64> {
    fn parse(text: &str) -> Result<Self, Fault> {
        number(text).map(Some)
    }
}

/// A choice by one of its names, also as the program writes it: `read_committed`, `ReadCommitted`.
pub(super) fn choice<T: Clone>(text: &str, known: &[(&str, T)]) -> Result<T, Fault> {
    let normal = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
    let found = known.iter().find(|(name, _)| normal(name) == normal(text));
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        Fault { problem: format!("unknown value {}", shown(text)), cure: format!("use one of {}", names.join(", ")) }
    })
}

fn number<T: FromStr>(text: &str) -> Result<T, Fault> {
    let number = if value::is_whole(text) { text.parse().ok() } else { None };
    number.ok_or_else(|| Fault {
        problem: format!("expected a whole number in range, got {}", shown(text)),
        cure: "write digits, without a unit".to_owned(),
    })
}

pub(super) fn no_field() -> Fault {
    Fault { problem: "is no field".to_owned(), cure: "correct its name".to_owned() }
}

/// Sets a field. If the value cannot work with any other settings and any build, sets nothing and returns the conflicts.
pub(super) fn set<C: Settings>(config: &mut C, field: &'static str, text: &str) -> Vec<Conflict> {
    let mut changed = config.clone();
    if let Err(Fault { problem, cure }) = changed.assign(field, text) {
        return vec![Conflict::new(field, format!("`{field}`: {problem}"), cure)];
    }
    let mut found = changed.alone(Built::WHOLE);
    found.retain(|conflict| conflict.field == field);
    if found.is_empty() {
        *config = changed;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{KafkaSinkConfig, KafkaSourceConfig};
    use super::*;

    fn each_field_is_set_by_its_own_name_only<C: Settings + PartialEq>(values: &[&str]) {
        let fields = || C::SIDE.fields.iter();
        for field in fields() {
            let changed = values.iter().any(|value| {
                let mut config = C::default();
                let set = set(&mut config, field, value).is_empty() && config != C::default();
                let others = fields().filter(|other| *other != field);
                let mut others = others.filter(|other| !config.same(&C::default(), other));
                assert_eq!(others.next(), None, "{field}");
                set && !config.same(&C::default(), field)
            });
            assert!(changed, "{field}");
        }
    }

    #[test]
    fn fields_are_set_by_name() {
        each_field_is_set_by_its_own_name_only::<KafkaSinkConfig>(&["7", "false", "lz4", "0", "true"]);
        let values = ["7", "false", "Latest", "ReadUncommitted", "each", "consumer", "roundrobin", "orders:1"];
        each_field_is_set_by_its_own_name_only::<KafkaSourceConfig>(&values);
        assert!(!set(&mut KafkaSinkConfig::default(), "properties", "x").is_empty());
    }

    #[test]
    fn a_list_is_separated_by_commas() {
        let mut config = KafkaSourceConfig::default();
        assert_eq!(set(&mut config, "topics", " a, b ,,c"), []);
        assert_eq!(config.topics, ["a", "b", "c"]);
        assert_eq!(set(&mut config, "topics", " ,").len(), 1, "no topic");
    }

    #[test]
    fn an_unknown_choice_names_the_known_ones() {
        let conflicts = set(&mut KafkaSourceConfig::default(), "isolation", "committed");
        assert_eq!(
            conflicts[0].to_string(),
            "`isolation`: unknown value \"committed\": use one of read_committed, read_uncommitted"
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
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
