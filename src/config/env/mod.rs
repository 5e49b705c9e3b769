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
use super::variables::canonical;
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
    /// Flags are `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case. An empty variable counts as not set. Left
    /// alone are variables of Kubernetes services and of Docker's links (`KAFKA_SERVICE_HOST`, `KAFKA_PORT`, `KAFKA_NAME`,
    /// `KAFKA_ENV_…`, …), consumers' properties, and under `KAFKA_` those of Kafka's scripts and images: `KAFKA_HOME`, `…_OPTS`,
    /// `KAFKA_JMX_…`, `KAFKA_LOG4J_…`, `KAFKA_CFG_…`, `KAFKA_TOWER_…`. Any other one with the prefix is an error, or ignored by
    /// [`with_vars_lenient`](Self::with_vars_lenient).
    ///
    /// A value that cannot work whatever the other settings are is an error here. What does not fit together or is missing is
    /// left to [`validate`](Self::validate), because the program may still change it: `validate` and [`warnings`](Self::warnings)
    /// name the variables, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with all that is wrong, by the variables' names; if there is anything, also with what does not fit
    /// together. No value is shown but those of numbers, flags, choices, topics and hosts, and none that comes from a file.
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
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        overlay(self, prefix, vars, |path| fs::read_to_string(path), Unknown::Refuse)
    }

    /// [`with_vars`](Self::with_vars) for a prefix that variables of other programs share: a variable that is no setting is
    /// logged as a warning, with the setting whose name is near, and ignored.
    ///
    /// A wrong value of a setting is an error as there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with all that is wrong, by the variables' names.
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

/// A value, and where it is from.
struct Given {
    target: Target,
    variable: String,
    value: String,
    from_file: bool,
}

/// What to do with variables that set nothing and are nobody else's.
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
                    overlay.fault(&format!("{} and {variable} set the same: remove one of them", other.variable));
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
        // By the variables' names, which stand first.
        faults.sort_unstable();
        Error::new(ErrorKind::Config, format!("the environment cannot be used: {}", faults.join("; "))).with_help(
            "correct the variables; if some are not meant for the sink, read another prefix \
             (KafkaSinkConfig::from_env_with_prefix) or ignore them (KafkaSinkConfig::with_vars_lenient)",
        )
    })
}

/// What a variable is.
enum Found {
    Sets(Given),
    /// Somebody else's.
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
        // The path is not shown: it may be the secret, if somebody took the variable for the other.
        match read(Path::new(&value)) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                text.strip_suffix('\r').unwrap_or(text).to_owned()
            }
            Err(error) => {
                let problem = format!("its file cannot be read ({error})");
                return Found::Fault(format!("{variable}: {problem}: correct the path, or the rights to it"));
            }
        }
    } else {
        match value.into_string() {
            Ok(value) => value,
            Err(_) => return Found::Fault(format!("{variable}: its value is no UTF-8: write it in UTF-8")),
        }
    };
    Found::Sets(Given { target, variable: variable.to_owned(), value, from_file })
}

impl Given {
    /// Whether both set the same, maybe by two names of one property.
    fn is_same(&self, other: &Self) -> bool {
        match (self.target, other.target) {
            (Target::Property(one), Target::Property(two)) => canonical(one) == canonical(two),
            (one, two) => one == two,
        }
    }
}
