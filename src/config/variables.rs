//! Names settings by the environment variables that set them.

use std::collections::BTreeMap;
use std::fmt;

use super::fields::{self, Settings};
use super::side::Side;

/// The environment variables that set a configuration. Its conflicts and warnings name these variables instead of fields and
/// properties.
///
/// [`KafkaSinkConfig::with_vars`](crate::KafkaSinkConfig::with_vars) and
/// [`KafkaSourceConfig::with_vars`](crate::KafkaSourceConfig::with_vars) fill it. A setting that the program changes afterwards is named by its field again.
/// All values of this type compare equal, and `Debug` shows no values of settings.
///
/// ```
/// use kafka_tower::KafkaSinkConfig;
///
/// let mut config = KafkaSinkConfig::default().with_vars("KAFKA_", [("KAFKA_TOPIC", "orders"), ("KAFKA_ACKS", "1")])?;
/// assert_eq!(
///     config.validate().unwrap_err().message(),
///     "the configuration cannot work: KAFKA_ACKS is \"1\" while KAFKA_ENABLE_IDEMPOTENCE is true: \
///      set KAFKA_ACKS to \"all\", or KAFKA_ENABLE_IDEMPOTENCE to false",
/// );
/// # Ok::<(), kafka_tower::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Variables {
    /// Prefix of the variables that could set the remaining settings. Empty if no variables were read.
    prefix: String,
    /// By field or property: the variable, and the value that it has set.
    set: BTreeMap<&'static str, (String, String)>,
}

impl PartialEq for Variables {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Variables {}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.set.values().map(|(variable, _)| variable)).finish()
    }
}

impl Variables {
    pub(super) fn read_with(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
    }

    pub(super) fn note(&mut self, name: &'static str, variable: &str, value: &str) {
        self.set.insert(name, (variable.to_owned(), value.to_owned()));
    }

    /// Returns the variable to name for a field or property: the one that set it, or the one that could if it is unset.
    fn of<C: Settings>(&self, config: &C, name: &'static str) -> Option<String> {
        let is_field = C::SIDE.fields.contains(&name);
        let Some((variable, value)) = self.set.get(name) else {
            let untouched =
                if is_field { config.same(&C::default(), name) } else { !config.properties().contains_key(name) };
            return untouched.then(|| format!("{}{}", self.prefix, image(name)));
        };
        let unchanged = if is_field {
            let mut as_set = config.clone();
            fields::set(&mut as_set, name, value).is_empty() && config.same(&as_set, name)
        } else {
            config.properties().get(name) == Some(value)
        };
        unchanged.then(|| variable.clone())
    }

    /// Replaces `` `fields` `` and `"properties"` in a text by their variables.
    pub(super) fn show<C: Settings>(&self, config: &C, text: &str) -> String {
        if self.prefix.is_empty() {
            return text.to_owned();
        }
        let mut shown = text.to_owned();
        for (name, notations) in settings(C::SIDE) {
            if notations.iter().all(|notation| !text.contains(notation)) {
                continue;
            }
            if let Some(variable) = self.of(config, name) {
                for notation in notations {
                    for before in ["`properties` has ", "the property ", "the field "] {
                        shown = shown.replace(&format!("{before}{notation}"), &variable);
                    }
                    shown = shown.replace(&format!("`properties` has no {notation}"), &format!("no {variable}"));
                    shown = shown.replace(&notation, &variable);
                }
            }
        }
        shown
    }

    /// Returns whether one of `others` names a setting that `text` names too.
    pub(super) fn share_a_setting<C: Settings>(&self, config: &C, text: &str, others: &[String]) -> bool {
        settings(C::SIDE).filter(|(_, notations)| notations.iter().any(|notation| text.contains(notation))).any(
            |(name, notations)| {
                let variable = if self.prefix.is_empty() { None } else { self.of(config, name) };
                others.iter().any(|other| {
                    notations.iter().any(|notation| other.contains(notation))
                        || variable.as_ref().is_some_and(|variable| has_word(other, variable))
                })
            },
        )
    }
}

/// Fields and properties, with their notation in this crate's texts.
fn settings(side: &'static Side) -> impl Iterator<Item = (&'static str, Vec<String>)> {
    let fields = side.fields.iter().copied().map(|field| (field, vec![format!("`{field}`")]));
    let properties = side.properties().map(|property| property.name).filter(|name| !side.fields.contains(name));
    fields.chain(properties.map(|name| (name, vec![format!("{name:?}")])))
}

/// Name of the variable, by the rule of Kafka's images: upper case, underscores for dots.
pub(super) fn image(name: &str) -> String {
    name.to_ascii_uppercase().replace('.', "_")
}

fn has_word(text: &str, word: &str) -> bool {
    let of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| !text[at + word.len()..].starts_with(of_word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KafkaSinkConfig;

    fn read(vars: &[(&str, &str)]) -> KafkaSinkConfig {
        KafkaSinkConfig::default().with_vars("MY_", vars.iter().copied()).unwrap()
    }

    fn conflicts(config: &KafkaSinkConfig) -> Vec<String> {
        config.conflicts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn conflicts_name_the_variables() {
        let config = read(&[
            ("MY_SECURITY_PROTOCOL", "sasl_plaintext"),
            ("MY_SASL_MECHANISM", "PLAIN"),
            ("MY_LINGER_MS", "40000"),
        ]);
        assert_eq!(
            conflicts(&config),
            [
                "MY_TOPIC is empty: set the topic for messages that name none",
                "MY_LINGER_MS (40000) uses up MY_SEND_TIMEOUT_MS (30000): lower MY_LINGER_MS, or raise MY_SEND_TIMEOUT_MS",
                "no MY_SASL_USERNAME, which PLAIN needs: set it",
                "no MY_SASL_PASSWORD, which PLAIN needs: set it",
            ]
        );
        let warnings =
            read(&[("MY_BOOTSTRAP_SERVERS", "a"), ("MY_RETRIES", "1"), ("MY_TRANSACTION_TIMEOUT_MS", "5000")])
                .warnings();
        assert_eq!(warnings, ["MY_TRANSACTION_TIMEOUT_MS is set but unused: MY_ENABLE_TRANSACTIONS is false"]);
    }

    #[test]
    fn a_setting_changed_by_the_program_is_named_by_its_field() {
        let mut config = read(&[("MY_TOPIC", "t"), ("MY_ACKS", "1"), ("MY_RETRIES", "1")]);
        config.acks = "0".into();
        config.properties.insert("retries".into(), "0".into());
        assert_eq!(
            conflicts(&config),
            [
                "`acks` is \"0\" while MY_ENABLE_IDEMPOTENCE is true: set `acks` to \"all\", or MY_ENABLE_IDEMPOTENCE to false",
                "`properties` has \"retries\" with 0 while MY_ENABLE_IDEMPOTENCE is true: allow 1 or more, or set MY_ENABLE_IDEMPOTENCE to false",
            ]
        );
    }

    #[test]
    fn the_variable_that_was_read_is_named() {
        let mut config = read(&[("MY_TOPIC", "t"), ("MY_BOOTSTRAP_SERVERS", "a:1")]);
        assert_eq!(config.variables.show(&config, "`brokers`"), "MY_BOOTSTRAP_SERVERS");
        config.brokers = "b:1".into();
        assert_eq!(config.variables.show(&config, "`brokers`"), "`brokers`");
        assert_eq!(format!("{:?}", config.variables), "{\"MY_BOOTSTRAP_SERVERS\", \"MY_TOPIC\"}");
        assert_eq!(Variables::default().show(&config, "`topic`"), "`topic`", "no variables were read");
    }
}
