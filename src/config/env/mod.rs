//! A configuration from environment variables.

mod names;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;
use std::{env, fs, io};

use kafka_tower_core::{Error, ErrorKind, Result};

use super::KafkaSinkConfig;
use super::overlay::Overlay;
use super::properties::canonical;
use names::{Meaning, Target, meaning};

const PREFIX: &str = "KAFKA_";

/// Longer names are cut to this number of characters when shown.
const SHOWN: usize = 80;

impl KafkaSinkConfig {
    /// Reads the settings from environment variables with the prefix `KAFKA_`. See
    /// [`from_env_with_prefix`](Self::from_env_with_prefix).
    ///
    /// # Errors
    ///
    /// As [`with_vars`](Self::with_vars).
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

    /// Reads the settings from environment variables with a prefix. Settings without a variable have their defaults.
    ///
    /// [`with_vars`](Self::with_vars) documents the names of the variables.
    ///
    /// # Errors
    ///
    /// As [`with_vars`](Self::with_vars).
    pub fn from_env_with_prefix(prefix: &str) -> Result<Self> {
        Self::default().with_vars(prefix, env::vars_os())
    }

    /// Overrides these settings with variables. Use it for a preset or a file that the environment may change, and for
    /// tests.
    ///
    /// | variable, with the prefix `KAFKA_` | sets |
    /// |---|---|
    /// | `KAFKA_BROKERS`, `KAFKA_TOPIC`, `KAFKA_BATCH_SIZE`, … | the field of that name |
    /// | `KAFKA_BOOTSTRAP_SERVERS` | `brokers` |
    /// | `KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_PASSWORD`, … | librdkafka's property: upper case, underscores for dots |
    /// | `KAFKA_SASL_PASSWORD_FILE`, … | the same, to the content of the file, without a line break at its end |
    ///
    /// Flags are `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case. An empty variable counts as not
    /// set. Ignored are variables of Kubernetes services and of Docker's links (`KAFKA_SERVICE_HOST`, `KAFKA_PORT`,
    /// `KAFKA_NAME`, `KAFKA_ENV_…`, …), consumers' properties, and under `KAFKA_` those of Kafka's scripts and images:
    /// `KAFKA_HOME`, `…_OPTS`, `KAFKA_JMX_…`, `KAFKA_LOG4J_…`, `KAFKA_CFG_…`, `KAFKA_TOWER_…`. Any other variable with
    /// the prefix is an error; [`with_vars_lenient`](Self::with_vars_lenient) ignores it.
    ///
    /// A value that cannot work with any other settings is an error here. Missing settings and settings that do not fit
    /// together are left to [`validate`](Self::validate), because the program may still change them. `validate` and
    /// [`warnings`](Self::warnings) name the variables, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with everything that is wrong, by the variables' names. If anything is wrong, it also
    /// lists settings that do not fit together. It shows only values of numbers, flags, choices, topics and hosts, and
    /// no value from a file.
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
    ///     "the environment cannot be used: KAFKA_LINGR_MS is an unknown setting: did you mean KAFKA_LINGER_MS?; \
    ///      KAFKA_MAX_RETRIES: expected a whole number in range, got \"many\": write digits, without a unit",
    /// );
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn with_vars<N, V>(self, prefix: &str, vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        overlay(self, prefix, vars, |path| fs::read_to_string(path), Unknown::Refuse)
    }

    /// Like [`with_vars`](Self::with_vars), for a prefix that variables of other programs share: an unknown variable is
    /// ignored and logged as a warning that names the nearest setting.
    ///
    /// An invalid value of a setting is still an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with everything that is wrong, by the variables' names.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let vars = [("KAFKA_TOPIC", "orders"), ("KAFKA_DEAD_LETTERS", "orders.dead")];
    /// let config = KafkaSinkConfig::default().with_vars_lenient("KAFKA_", vars)?;
    /// assert_eq!(config.topic, "orders");
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    pub fn with_vars_lenient<N, V>(self, prefix: &str, vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut say = |text: &str| tracing::warn!("ignored: {text}");
        overlay(self, prefix, vars, |path| fs::read_to_string(path), Unknown::Ignore(&mut say))
    }
}

/// A value and its source.
struct Given {
    target: Target,
    variable: String,
    value: String,
    from_file: bool,
}

/// What to do with unknown variables.
enum Unknown<'a> {
    Refuse,
    Ignore(&'a mut dyn FnMut(&str)),
}

fn overlay(
    config: KafkaSinkConfig,
    prefix: &str,
    vars: impl Iterator<Item = (OsString, OsString)>,
    read: impl Fn(&Path) -> io::Result<String>,
    mut unknown: Unknown<'_>,
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
    let mut overlay = Overlay::by_variables(config, prefix);
    let mut given: Vec<Given> = Vec::new();
    for (variable, value) in ours {
        match look_at(&variable, prefix, value, &read) {
            Found::Sets(one) => match given.iter().find(|other| one.is_same(other)) {
                Some(other) if other.value != one.value => {
                    overlay
                        .fault(&format!("{} and {variable} set the same setting: remove one of them", other.variable));
                }
                Some(_) => {}
                None => given.push(one),
            },
            Found::Foreign => {}
            Found::Fault(text) => overlay.fault(&text),
            Found::Unknown(text) => match &mut unknown {
                Unknown::Refuse => overlay.fault(&text),
                Unknown::Ignore(say) => say(&overlay.show(&text)),
            },
        }
    }
    for one in given {
        overlay.set_by_variable(one.target, &one.value, &one.variable, one.from_file);
    }
    overlay.finish().map_err(|mut faults| {
        // Sorted by the names of the variables, which the texts begin with.
        faults.sort_unstable();
        Error::new(ErrorKind::Config, format!("the environment cannot be used: {}", faults.join("; "))).with_help(
            "correct the variables; if some are not meant for the sink, use another prefix \
             (KafkaSinkConfig::from_env_with_prefix) or ignore them (KafkaSinkConfig::with_vars_lenient)",
        )
    })
}

/// What a variable means.
enum Found {
    Sets(Given),
    /// A variable of another program.
    Foreign,
    Fault(String),
    Unknown(String),
}

fn look_at(variable: &str, prefix: &str, value: OsString, read: &impl Fn(&Path) -> io::Result<String>) -> Found {
    let (target, from_file) = match meaning(&variable[prefix.len()..], &value, prefix == PREFIX) {
        Meaning::Sets(target) => (target, false),
        Meaning::FromFile(target) => (target, true),
        Meaning::Foreign => return Found::Foreign,
        Meaning::Unknown(problem, cure) => {
            let shown: String = variable.chars().take(SHOWN).collect();
            return Found::Unknown(format!("{shown} {}", format!("{problem}: {cure}").replace('$', prefix)));
        }
    };
    let value = if from_file {
        // The path is not shown: if the `_FILE` suffix is there by mistake, it is the secret itself.
        match read(Path::new(&value)) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                text.strip_suffix('\r').unwrap_or(text).to_owned()
            }
            Err(error) => {
                let problem = format!("its file cannot be read ({error})");
                return Found::Fault(format!("{variable}: {problem}: correct the path, or the file's permissions"));
            }
        }
    } else {
        match value.into_string() {
            Ok(value) => value,
            Err(_) => return Found::Fault(format!("{variable}: its value is not UTF-8: write it in UTF-8")),
        }
    };
    Found::Sets(Given { target, variable: variable.to_owned(), value, from_file })
}

impl Given {
    /// Returns whether both set the same setting, also by two names of one property.
    fn is_same(&self, other: &Self) -> bool {
        match (self.target, other.target) {
            (Target::Property(one), Target::Property(two)) => canonical(one) == canonical(two),
            (one, two) => one == two,
        }
    }
}
