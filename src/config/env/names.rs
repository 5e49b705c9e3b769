//! Meaning of a variable's name, without its prefix.

use std::ffi::OsStr;

use crate::config::overlay::Setting;
use crate::config::properties::property::Client;
use crate::config::properties::{closest, java, set_by};
use crate::config::side::Side;
use crate::config::variables::image;

/// The setting that a variable sets.
pub(super) type Target = Setting<'static>;

/// Meaning of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Sets(Target),
    /// Set to the content of the file.
    FromFile(Target),
    /// A variable of another program.
    Foreign,
    /// Unknown: the problem, and what to do. Names of variables have a `$` in place of their prefix.
    Unknown(String, String),
}

/// Variables under `KAFKA_` of Kafka's scripts and images, and of the tests of this project.
const FOREIGN: [&str; 5] = ["CONF_DIR", "HOME", "LOG_DIR", "SCALA_VERSION", "VERSION"];
const FOREIGN_STARTS: [&str; 4] = ["CFG_", "JMX_", "LOG4J_", "TOWER_"];
/// Prefix of a source's variables, after Kafka's.
const OF_A_SOURCE: &str = "SOURCE_";

/// Common wrong names of any client, and the right ones.
const HINTS: [(&str, &str); 11] = [
    ("BOOTSTRAP", "BROKERS"),
    ("BOOTSTRAP_SERVER", "BROKERS"),
    ("BROKER", "BROKERS"),
    ("BROKER_LIST", "BROKERS"),
    ("HOST", "BROKERS"),
    ("HOSTS", "BROKERS"),
    ("SERVERS", "BROKERS"),
    ("URL", "BROKERS"),
    ("PASSWORD", "SASL_PASSWORD"),
    ("USER", "SASL_USERNAME"),
    ("USERNAME", "SASL_USERNAME"),
];

pub(super) fn meaning(side: &Side, name: &str, value: &OsStr, kafkas_prefix: bool) -> Meaning {
    if let Some(target) = target(side, name) {
        return Meaning::Sets(target);
    }
    let file = name.strip_suffix("_FILE");
    if let Some(target) = file.and_then(|name| target(side, name)) {
        return Meaning::FromFile(target);
    }
    if is_of_kubernetes(name)
        || is_of_docker(name, value, kafkas_prefix)
        || (side.client == Client::Producer && is_of_a_consumer(side, name, kafkas_prefix))
        || (kafkas_prefix && is_of_kafka(name))
    {
        return Meaning::Foreign;
    }
    let (problem, cure) = unknown(side, file.unwrap_or(name), if file.is_some() { "_FILE" } else { "" });
    Meaning::Unknown(problem, cure)
}

/// Fields take precedence: `batch_size` and librdkafka's `batch.size` have the same variable.
fn target(side: &Side, name: &str) -> Option<Target> {
    if name == "BOOTSTRAP_SERVERS" {
        return Some(Target::Field("brokers"));
    }
    let field = side.fields.iter().copied().find(|field| image(field) == name).map(Target::Field);
    field.or_else(|| property(side, name).filter(|name| set_by(side, name).is_none()).map(Target::Property))
}

fn property(side: &Side, name: &str) -> Option<&'static str> {
    side.properties().map(|property| property.name).find(|known| image(known) == name)
}

fn unknown(side: &Side, name: &str, file: &str) -> (String, String) {
    let dotted = name.to_ascii_lowercase().replace('_', ".");
    if let Some(field) = property(side, name).and_then(|name| set_by(side, name)) {
        let field = image(field);
        return (format!("sets the same as ${field}"), format!("set ${field}{file} instead"));
    }
    if let Some((_, cure)) = side.set_by_transport.iter().find(|(known, _)| image(known) == name) {
        return ("is set by the transport".to_owned(), (*cure).to_owned());
    }
    if side.client == Client::Consumer && is_foreign(side, name) {
        return ("is for producers".to_owned(), "remove it".to_owned());
    }
    if let Some(cure) = java::cure(side.client, &dotted) {
        return ("is a setting of the Java client".to_owned(), cure.to_owned());
    }
    let hint =
        HINTS.iter().chain(side.hints).find(|(written, _)| *written == name).map(|(_, meant)| (*meant).to_owned());
    let near = || {
        let known = side.fields.iter().copied().chain(side.properties().map(|property| property.name));
        closest(name, known).map(|near| image(set_by(side, near).unwrap_or(near)))
    };
    let cure = match hint.or_else(near) {
        Some(meant) => format!("did you mean ${meant}{file}?"),
        None => "correct or remove it, or use another prefix".to_owned(),
    };
    ("is an unknown setting".to_owned(), cure)
}

fn is_of_kafka(name: &str) -> bool {
    FOREIGN.contains(&name)
        || FOREIGN_STARTS.iter().any(|start| name.starts_with(start))
        || name == "OPTS"
        || name.ends_with("_OPTS")
}

/// Returns whether the variable may be of a consumer in the same program.
fn is_of_a_consumer(side: &Side, name: &str, kafkas_prefix: bool) -> bool {
    (kafkas_prefix && name.starts_with(OF_A_SOURCE)) || is_foreign(side, name)
}

/// Returns whether the variable is of a property that only the other kind of client has.
fn is_foreign(side: &Side, name: &str) -> bool {
    side.foreign().any(|foreign| image(foreign) == name)
}

/// Returns whether Kubernetes or Docker's links set the variable for a service `kafka` or `kafka-…`:
/// `KAFKA_SERVICE_HOST`, `KAFKA_PORT_9092_TCP_ADDR`, `KAFKA_BROKER_SERVICE_PORT_TCP_CLIENT`, …
fn is_of_kubernetes(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let service = words.windows(2).any(|two| two[0] == "SERVICE" && (two[1] == "HOST" || two[1] == "PORT"));
    let port = words
        .windows(3)
        .any(|three| three[0] == "PORT" && number(three[1]) && matches!(three[2], "TCP" | "UDP" | "SCTP"));
    service || port || words.last() == Some(&"PORT")
}

/// Returns whether Docker's links set the variable, apart from ports: `KAFKA_NAME`, the path of both containers, and
/// the other container's environment, `KAFKA_ENV_…`; for an alias of several words `KAFKA_BROKER_NAME`, …
fn is_of_docker(name: &str, value: &OsStr, kafkas_prefix: bool) -> bool {
    let is_path = || value.to_str().is_some_and(|value| value.starts_with('/'));
    let is_name = name == "NAME" || name.ends_with("_NAME");
    is_name && (is_path() || kafkas_prefix && name == "NAME") || name.starts_with("ENV_") || name.contains("_ENV_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::side::{SINK, SOURCE};

    fn meaning(name: &str, kafkas_prefix: bool) -> Meaning {
        super::meaning(&SINK, name, OsStr::new("x"), kafkas_prefix)
    }

    #[test]
    fn a_docker_link_is_recognized_by_its_path() {
        let of = |name: &str, value: &str| super::meaning(&SINK, name, OsStr::new(value), false);
        assert_eq!(of("BROKER_NAME", "/web/kafka-broker"), Meaning::Foreign);
        assert!(matches!(of("BROKER_NAME", "a"), Meaning::Unknown(..)));
        assert!(matches!(of("TOPIC_NAME", "orders"), Meaning::Unknown(..)));
    }

    #[test]
    fn every_field_and_property_has_its_variable() {
        for side in [&SINK, &SOURCE] {
            let sets = |name: &str| match super::meaning(side, name, OsStr::new("x"), true) {
                Meaning::Sets(target) => Some(target),
                _ => None,
            };
            for field in side.fields {
                assert_eq!(sets(&image(field)), Some(Target::Field(field)));
            }
            let mut images: Vec<_> = side.properties().map(|property| image(property.name)).collect();
            for property in side.properties() {
                let (name, target) = (image(property.name), sets(&image(property.name)));
                match target {
                    Some(Target::Property(found)) => assert_eq!(found, property.name),
                    Some(Target::Field(field)) => {
                        assert!(set_by(side, property.name) == Some(field) || property.name == "batch.size", "{name}");
                    }
                    None => assert!(set_by(side, property.name).is_some(), "{name}"),
                }
            }
            images.sort_unstable();
            images.dedup();
            assert_eq!(images.len(), side.properties().count(), "no two properties share a variable");
        }
    }

    #[test]
    fn a_source_has_its_own_variables() {
        let of = |name: &str, kafkas_prefix| super::meaning(&SOURCE, name, OsStr::new("x"), kafkas_prefix);
        assert_eq!(of("CHECK_CRCS", false), Meaning::Sets(Target::Property("check.crcs")));
        assert_eq!(of("BOOTSTRAP_SERVERS", false), Meaning::Sets(Target::Field("brokers")));
        assert_eq!(of("SERVICE_HOST", false), Meaning::Foreign);
        for (name, problem, cure) in [
            ("GROUP", "is an unknown setting", "did you mean $GROUP_ID?"),
            ("TOPIC", "is an unknown setting", "did you mean $TOPICS?"),
            ("FETCH_MAX_WAT_MS", "is an unknown setting", "did you mean $FETCH_MAX_WAIT_MS?"),
            ("MAX_POLL_INTERVAL_MS", "sets the same as $REBALANCE_TIMEOUT_MS", "set $REBALANCE_TIMEOUT_MS instead"),
            (
                "MAX_POLL_RECORDS",
                "is a setting of the Java client",
                "remove it, because the source reads in batches of its own",
            ),
            ("ENABLE_AUTO_COMMIT", "is set by the transport", "remove it, and set the field `commit`"),
            ("LINGER_MS", "is for producers", "remove it"),
        ] {
            assert_eq!(of(name, false), Meaning::Unknown(problem.into(), cure.into()), "{name}");
        }
        for name in ["SOURCE_BROKERS", "SOURCE_X"] {
            assert_eq!(meaning(name, true), Meaning::Foreign, "a sink ignores what is a source's");
            assert!(matches!(meaning(name, false), Meaning::Unknown(..)), "not under a prefix of its own");
        }
    }

    #[test]
    fn variables_of_other_programs_are_ignored() {
        for name in [
            "HOME",
            "OPTS",
            "HEAP_OPTS",
            "LOG4J_OPTS",
            "JVM_PERFORMANCE_OPTS",
            "JMX_PORT",
            "JMX_HOSTNAME",
            "VERSION",
            "CFG_NODE_ID",
            "TOWER_REQUIRE_KAFKA",
            "TOWER_SEED",
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_TCP_CLIENT",
            "PORT",
            "PORT_9092_TCP",
            "PORT_9092_TCP_ADDR",
            "PORT_9092_TCP_PORT",
            "PORT_9092_TCP_PROTO",
            "BROKER_SERVICE_HOST",
            "BROKER_PORT_9092_TCP",
            "PORT_9092_TCP_START",
            "NAME",
            "ENV_KAFKA_HEAP_OPTS",
            "BROKER_ENV_PATH",
            "GROUP_ID",
            "AUTO_OFFSET_RESET",
        ] {
            assert_eq!(meaning(name, true), Meaning::Foreign, "{name}");
        }
        assert!(matches!(meaning("HEAP_OPTS", false), Meaning::Unknown(..)), "not Kafka's prefix");
        assert_eq!(meaning("SERVICE_HOST", false), Meaning::Foreign);
    }

    #[test]
    fn files() {
        let password = Target::Property("sasl.password");
        assert_eq!(meaning("SASL_PASSWORD_FILE", true), Meaning::FromFile(password));
        assert_eq!(meaning("BROKERS_FILE", true), Meaning::FromFile(Target::Field("brokers")));
        let own = Target::Property("sasl.oauthbearer.assertion.file");
        assert_eq!(meaning("SASL_OAUTHBEARER_ASSERTION_FILE", true), Meaning::Sets(own), "a name of its own");
    }

    #[test]
    fn an_unknown_variable_gets_a_suggestion() {
        for (name, cure) in [
            ("LINGR_MS", "did you mean $LINGER_MS?"),
            ("SASL_PASWORD", "did you mean $SASL_PASSWORD?"),
            ("SASL_PASWORD_FILE", "did you mean $SASL_PASSWORD_FILE?"),
            ("CIRCUIT_BREAKER_TRESHOLD", "did you mean $CIRCUIT_BREAKER_THRESHOLD?"),
            ("brokers", "did you mean $BROKERS?"),
            ("BROKER", "did you mean $BROKERS?"),
            ("PASSWORD", "did you mean $SASL_PASSWORD?"),
            ("BATCH_NUM_MESSAGES", "set $BATCH_SIZE instead"),
            ("MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION", "set $MAX_IN_FLIGHT_REQUESTS instead"),
            ("SSL_TRUSTSTORE_LOCATION", "use \"ssl.ca.location\" with a PEM file"),
            ("DLQ_TOPIC", "correct or remove it, or use another prefix"),
            ("TOPIC_NAME", "did you mean $TOPIC?"),
            ("", "correct or remove it, or use another prefix"),
        ] {
            match meaning(name, true) {
                Meaning::Unknown(_, found) => assert_eq!(found, cure, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
