//! Finds a source of Kafka, and skips tests without one.

use std::io::Write as _;
use std::sync::{Once, OnceLock};

use crate::kafka::home::Home;
use crate::kafka::launcher::{self, Launcher};
use crate::kafka::node::Node;
use crate::kafka::{Error, jars};

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Java(Launcher),
    Docker,
}

impl Source {
    /// Looks once per process. The error says what is missing.
    pub(crate) fn find() -> Result<Self, String> {
        static FOUND: OnceLock<Result<Source, String>> = OnceLock::new();
        FOUND
            .get_or_init(|| match jars::prepare() {
                Ok(launcher) => Ok(Self::Java(launcher)),
                Err(_) if launcher::docker_works() => Ok(Self::Docker),
                Err(missing) => Err(format!("{missing}, and no Docker engine")),
            })
            .clone()
    }

    pub(crate) fn launcher(&self, home: &Home, nodes: &[Node]) -> Result<Launcher, Error> {
        match self {
            Self::Java(launcher) => Ok(launcher.clone()),
            Self::Docker => {
                let ports: Vec<_> = nodes.iter().flat_map(|node| node.ports.iter().map(|port| port.bind)).collect();
                launcher::docker_namespace(home.dir(), &ports)
            }
        }
    }
}

/// The bootstrap servers of `KAFKA_BROKERS`.
pub(crate) fn external() -> Option<String> {
    std::env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.trim().is_empty())
}

/// Prints once per test binary that there is no Kafka.
///
/// # Panics
///
/// If `KAFKA_TOWER_REQUIRE_KAFKA=1`, because a required suite would not run.
pub(crate) fn skip(missing: &str) {
    static SAID: Once = Once::new();
    let line =
        format!("no Apache Kafka: {missing}. Install Java 17 and Maven, or Docker, or set KAFKA_BROKERS=host:port");
    stand_aside(&SAID, &line);
}

/// Skips a test whose requirements the machine does not meet, and prints a line once for each `said`.
///
/// # Panics
///
/// If `KAFKA_TOWER_REQUIRE_KAFKA=1`, because a required suite would not run.
pub fn stand_aside(said: &Once, line: &str) {
    let required = std::env::var("KAFKA_TOWER_REQUIRE_KAFKA").is_ok_and(|value| value == "1");
    assert!(!required, "KAFKA_TOWER_REQUIRE_KAFKA=1, but {line}");
    said.call_once(|| skipped(line));
}

/// Skips a test that needs a cluster of its own if `KAFKA_BROKERS` is set, even if Kafka is required.
pub(crate) fn skip_own() {
    static SAID: Once = Once::new();
    SAID.call_once(|| skipped("tests that need a cluster of their own do not run with KAFKA_BROKERS"));
}

/// Skips a comparison with Kafka's Java code, which is not possible with a cluster in Docker.
pub(crate) fn skip_java() {
    static SAID: Once = Once::new();
    stand_aside(&SAID, "no Java 17 with its compiler and Maven: nothing is compared with Java");
}

/// Prints that something was skipped, past the test harness's capture.
pub fn skipped(line: &str) {
    let suite = std::env::current_exe().ok().and_then(|exe| exe.file_stem().map(|stem| stem.to_owned()));
    let suite = suite.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let suite = suite.rsplit_once('-').map_or(suite.as_str(), |(name, _hash)| name);
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {suite}: {line}\n");
}
