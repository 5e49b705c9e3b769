//! A configuration from environment variables.

mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::{env, fs, io};

use kafka_tower_core::{Error, ErrorKind, Result};

use super::properties::value::{self, Fault};
use super::properties::{find, table};
use super::{KafkaSinkConfig, fields};
use names::{Meaning, Target, meaning};

const PREFIX: &str = "KAFKA_";

/// A name is cut here when it is shown.
const SHOWN: usize = 80;

impl KafkaSinkConfig {
    /// The settings of the environment: [`from_env_with_prefix`](Self::from_env_with_prefix) with `KAFKA_`.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```no_run
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// // KAFKA_BROKERS=kafka-1:9092 KAFKA_TOPIC=orders KAFKA_SECURITY_PROTOCOL=sasl_ssl …
    /// let config = KafkaSinkConfig::from_env()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn from_env() -> Result<Self> {
        Self::from_env_with_prefix(PREFIX)
    }

    /// The settings of the environment's variables with a prefix; what none of them sets has its default.
    ///
    /// See [`with_vars`](Self::with_vars) for their names.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_env_with_prefix(prefix: &str) -> Result<Self> {
        Self::default().with_vars(prefix, env::vars_os())
    }

    /// Lays variables over these settings: for a preset or a file that the environment may change, and for tests.
    ///
    /// | variable, with the prefix `KAFKA_` | sets |
    /// |---|---|
    /// | `KAFKA_BROKERS`, `KAFKA_TOPIC`, `KAFKA_BATCH_SIZE`, … | the field of that name |
    /// | `KAFKA_BOOTSTRAP_SERVERS` | `brokers` |
    /// | `KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_PASSWORD`, … | librdkafka's property: upper case, underscores for dots |
    /// | `KAFKA_SASL_PASSWORD_FILE`, … | the same, with what the file has, without a line break at its end |
    ///
    /// An empty variable counts as not set. Left alone are variables of Kubernetes services (`KAFKA_SERVICE_HOST`, `KAFKA_PORT`,
    /// …), consumers' properties, and under `KAFKA_` those of Kafka's scripts and images: `KAFKA_HOME`, `…_OPTS`, `KAFKA_JMX_…`,
    /// `KAFKA_LOG4J_…`, `KAFKA_CFG_…`, `KAFKA_TOWER_…`. Any other one with the prefix is an error.
    ///
    /// Values are looked at alone: [`validate`](Self::validate) says what they are together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with all that is wrong, by the variables' names. No value is shown but those of numbers, flags and
    /// choices, and none that comes from a file.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let vars = [("KAFKA_BROKERS", "kafka-1:9092"), ("KAFKA_LINGER_MS", "20"), ("KAFKA_SASL_USERNAME", "ada"), ("HOME", "/")];
    /// let config = KafkaSinkConfig::high_throughput("localhost:9092", "clicks").with_vars("KAFKA_", vars)?;
    /// assert_eq!((config.brokers.as_str(), config.linger_ms, config.batch_size), ("kafka-1:9092", 20, 10_000));
    /// assert_eq!(config.properties["sasl.username"], "ada");
    ///
    /// let wrong = KafkaSinkConfig::default().with_vars("KAFKA_", [("KAFKA_LINGR_MS", "5"), ("KAFKA_MAX_RETRIES", "many")]);
    /// assert_eq!(
    ///     wrong.unwrap_err().message(),
    ///     "the environment cannot be used: KAFKA_LINGR_MS is no setting: did you mean KAFKA_LINGER_MS?; \
    ///      KAFKA_MAX_RETRIES: \"many\" is no whole number, or out of range: write digits, without a unit",
    /// );
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn with_vars<N, V>(self, prefix: &str, vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        overlay(self, prefix, vars.into_iter().map(|(name, value)| (name.into(), value.into())), |path| {
            fs::read_to_string(path)
        })
    }
}

/// A value, and where it is from.
struct Given {
    variable: String,
    value: String,
    from_file: bool,
    /// The property's name as it was written, of those that mean the same.
    property: Option<&'static str>,
}

fn overlay(
    config: KafkaSinkConfig,
    prefix: &str,
    vars: impl Iterator<Item = (OsString, OsString)>,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<KafkaSinkConfig> {
    if prefix.is_empty() {
        return Err(Error::new(ErrorKind::Config, "the prefix of the variables is empty").with_help("use \"KAFKA_\""));
    }
    let mut ours: Vec<(String, OsString)> = vars
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    ours.sort_unstable();
    let mut faults = Vec::new();
    let mut given: BTreeMap<Target, Given> = BTreeMap::new();
    for (variable, value) in ours {
        match look_at(&variable, prefix, value, &read) {
            Ok(Some((target, one))) => {
                if let Some(other) = given.get(&target).filter(|other| other.value != one.value) {
                    faults.push(format!("{} and {variable} set the same: remove one of them", other.variable));
                } else {
                    given.insert(target, one);
                }
            }
            Ok(None) => {}
            Err(fault) => faults.push(fault),
        }
    }
    let config = apply(config, given, &mut faults);
    if faults.is_empty() {
        return Ok(config);
    }
    Err(Error::new(ErrorKind::Config, format!("the environment cannot be used: {}", faults.join("; ")))
        .with_help("correct the variables, or read others: KafkaSinkConfig::from_env_with_prefix"))
}

/// What a variable sets; none if it is somebody else's.
fn look_at(
    variable: &str,
    prefix: &str,
    value: OsString,
    read: &impl Fn(&Path) -> io::Result<String>,
) -> Result<Option<(Target, Given)>, String> {
    let (target, from_file) = match meaning(&variable[prefix.len()..], prefix == PREFIX) {
        Meaning::Sets(target) => (target, false),
        Meaning::FromFile(target) => (target, true),
        Meaning::Foreign => return Ok(None),
        Meaning::Unknown(problem, cure) => {
            let shown: String = variable.chars().take(SHOWN).collect();
            return Err(format!("{shown} {}", format!("{problem}: {cure}").replace('$', prefix)));
        }
    };
    let value = if from_file {
        // The path is not shown: it may be the secret, if somebody took the variable for the other.
        let text = read(Path::new(&value)).map_err(|error| {
            format!("{variable}: its file cannot be read ({error}): correct the path, or the rights to it")
        })?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        text.strip_suffix('\r').unwrap_or(text).to_owned()
    } else {
        value.into_string().map_err(|_| format!("{variable}: its value is no UTF-8: write it in UTF-8"))?
    };
    let (target, property) = match target {
        Target::Property(name) => (Target::Property(canonical(name)), Some(name)),
        field @ Target::Field(_) => (field, None),
    };
    Ok(Some((target, Given { variable: variable.to_owned(), value, from_file, property })))
}

fn apply(mut config: KafkaSinkConfig, given: BTreeMap<Target, Given>, faults: &mut Vec<String>) -> KafkaSinkConfig {
    for (target, one) in given {
        let set = match (target, one.property.and_then(find)) {
            (Target::Field(field), _) => fields::set(&mut config, field, &one.value),
            (Target::Property(_), Some(property)) => value::check(&property.kind, &one.value).map(|()| {
                config.properties.retain(|name, _| canonical(name) != property.canonical());
                config.properties.insert(property.name.to_owned(), one.value);
            }),
            (Target::Property(_), None) => Ok(()),
        };
        if let Err(Fault { problem, cure }) = set {
            let problem = if one.from_file { "what its file has is no value for it" } else { problem.as_str() };
            faults.push(format!("{}: {problem}: {cure}", one.variable));
        }
    }
    // By the variables' names, which stand first.
    faults.sort_unstable();
    config
}

fn canonical(name: &str) -> &str {
    table::TABLE.iter().find(|property| property.name == name).map_or(name, |property| property.canonical())
}
