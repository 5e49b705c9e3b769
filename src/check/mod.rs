//! Tries a configuration without sending anything.

mod display;
mod judge;
mod transactions;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_tower_core::Error;
use kafka_tower_rdkafka::{Inspection, inspect};

use crate::config::shown_properties;
use crate::{Conflict, KafkaSinkConfig};

/// Tries a configuration: what librdkafka would be told, what cannot work, and what connecting finds.
///
/// Nothing is sent, no topic is made, and a transactional id is not taken from the producer that has it. Connecting takes as long
/// as a sink's would, at most `connect_timeout_ms`, and what follows a few round trips more. With conflicts nothing connects.
///
/// Whether this principal may use the transactional id is not tried: asking would take the id from the producer that has it.
///
/// OAUTHBEARER needs a source of tokens, which a configuration has not: its connection is reported as one that failed.
///
/// # Cancel safety
///
/// Dropping the future gives the connection up.
///
/// ```no_run
/// # async fn example() {
/// use kafka_tower::KafkaSinkConfig;
///
/// let config = KafkaSinkConfig { topic: "orders".to_string(), ..Default::default() };
/// let report = kafka_tower::check(&config).await;
/// println!("{report}");
/// assert!(report.is_good());
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
pub async fn check(config: &KafkaSinkConfig) -> CheckReport {
    let started = Instant::now();
    let mut report = CheckReport::of(config);
    if report.conflicts.is_empty() {
        let within = config.connect_timeout();
        match inspect(config.librdkafka_properties(), &config.topic, within).await {
            Ok(found) => {
                judge::judge(config, &found, &mut report);
                report.found = Some(found);
            }
            Err(error) => report.error = Some(error),
        }
        report.elapsed = started.elapsed();
    }
    report
}

/// What [`check`] found. `Display` prints it for people; no secret is in it.
///
/// ```no_run
/// # async fn example() {
/// # let config = kafka_tower::KafkaSinkConfig::default();
/// let report = kafka_tower::check(&config).await;
/// for problem in &report.problems {
///     println!("{problem}");
/// }
/// let partitions = report.found.and_then(|found| found.topic.ok()).map(|topic| topic.partitions.len());
/// println!("{partitions:?}");
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
pub struct CheckReport {
    /// The brokers, without what stands before an `@`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// What librdkafka is told. Values that may be secret are `***`; what is not here has librdkafka's default.
    pub properties: BTreeMap<String, String>,
    /// What cannot work: [`KafkaSinkConfig::conflicts`].
    pub conflicts: Vec<Conflict>,
    /// What may not be meant: [`KafkaSinkConfig::warnings`], and what the cluster has to say to these settings.
    pub warnings: Vec<String>,
    /// What the cluster says; none if it could not be asked.
    pub found: Option<Inspection>,
    /// Why connecting failed.
    pub error: Option<Error>,
    /// Why sends to this topic would fail, though connecting went well.
    pub problems: Vec<String>,
    /// How long it took; zero without an attempt to connect.
    pub elapsed: Duration,
}

impl CheckReport {
    fn of(config: &KafkaSinkConfig) -> Self {
        let properties = shown_properties(config);
        Self {
            brokers: properties.get("bootstrap.servers").cloned().unwrap_or_default(),
            topic: config.topic.clone(),
            properties,
            conflicts: config.conflicts(),
            warnings: config.warnings(),
            found: None,
            error: None,
            problems: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// Whether a sink with this configuration would work now. Warnings do not count.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.conflicts.is_empty() && self.problems.is_empty() && self.error.is_none() && self.found.is_some()
    }
}
