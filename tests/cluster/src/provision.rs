//! Where Kafka comes from, and what happens when it comes from nowhere.

use std::io::Write as _;
use std::sync::{Once, OnceLock};

use crate::home::Home;
use crate::launcher::{self, Launcher};
use crate::node::Node;
use crate::{Error, jars};

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

/// Says so when there is no Kafka, once per test binary.
///
/// # Panics
///
/// If `KAFKA_TOWER_REQUIRE_KAFKA=1`: a suite that must run has not.
pub(crate) fn skip(missing: &str) {
    static SAID: Once = Once::new();
    let line =
        format!("no Apache Kafka: {missing}. Install Java 17 and Maven, or Docker, or set KAFKA_BROKERS=host:port");
    stand_aside(&SAID, &line);
}

/// A test that lacks something of the machine stands aside, and says so once for each `said`.
///
/// # Panics
///
/// If `KAFKA_TOWER_REQUIRE_KAFKA=1`: a suite that must run has not.
pub fn stand_aside(said: &Once, line: &str) {
    let required = std::env::var("KAFKA_TOWER_REQUIRE_KAFKA").is_ok_and(|value| value == "1");
    assert!(!required, "KAFKA_TOWER_REQUIRE_KAFKA=1, but {line}");
    said.call_once(|| say(line));
}

/// A test that needs a cluster of its own stands aside for the cluster of `KAFKA_BROKERS`, required
/// or not.
pub(crate) fn skip_own() {
    static SAID: Once = Once::new();
    SAID.call_once(|| say("tests that need a cluster of their own do not run with KAFKA_BROKERS"));
}

/// A test that compares with Kafka's Java code cannot do so with a cluster in Docker.
pub(crate) fn skip_java() {
    static SAID: Once = Once::new();
    stand_aside(&SAID, "no Java 17 with its compiler and Maven: nothing is compared with Java");
}

/// Written past the capture of the test harness.
fn say(line: &str) {
    let suite = std::env::current_exe().ok().and_then(|exe| exe.file_stem().map(|stem| stem.to_owned()));
    let suite = suite.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let suite = suite.rsplit_once('-').map_or(suite.as_str(), |(name, _hash)| name);
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {suite}: {line}\n");
}
