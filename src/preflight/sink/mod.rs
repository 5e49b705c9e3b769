//! Tries the configuration of a sink.

mod display;
mod evaluate;
mod found;
mod transactions;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_tower_core::Error;
use kafka_tower_rdkafka::{Inspection, inspect};

use crate::config::shown_properties;
use crate::{Conflict, KafkaSinkConfig};

/// Tries a configuration: reports the properties that librdkafka would get, the conflicts, and what connecting finds.
///
/// Sends nothing, creates no topic, and does not initialise the transactional id. Connecting takes as long as for a
/// sink, at most `connect_timeout_ms`; the questions after it take a few more round trips. With conflicts nothing
/// connects.
///
/// Whether this principal may use the transactional id is not checked: asking would fence the producer that uses it.
///
/// # Cancel safety
///
/// Dropping the future cancels the connection.
///
/// ```no_run
/// # async fn example() {
/// use kafka_tower::KafkaSinkConfig;
///
/// let config = KafkaSinkConfig { topic: "orders".to_string(), ..Default::default() };
/// let report = kafka_tower::preflight(&config).await;
/// println!("{report}");
/// assert!(report.passed());
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
pub async fn preflight(config: &KafkaSinkConfig) -> PreflightReport {
    let started = Instant::now();
    let mut report = PreflightReport::of(config);
    if report.conflicts.is_empty() {
        let within = config.connect_timeout();
        let provider = config.token_provider.get().cloned();
        match inspect(config.librdkafka_properties(), &config.topic, within, provider).await {
            Ok(found) => {
                evaluate::evaluate(config, &found, &mut report);
                report.inspection = Some(found);
            }
            Err(error) => report.error = Some(error),
        }
        report.elapsed = started.elapsed();
    }
    report
}

/// Result of [`preflight`]. `Display` prints it for people; it contains no secrets.
///
/// ```no_run
/// # async fn example() {
/// # let config = kafka_tower::KafkaSinkConfig::default();
/// let report = kafka_tower::preflight(&config).await;
/// for problem in &report.problems {
///     println!("{problem}");
/// }
/// let partitions = report.inspection.and_then(|found| found.topic.ok()).map(|topic| topic.partitions.len());
/// println!("{partitions:?}");
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
pub struct PreflightReport {
    /// The brokers, without user information before an `@`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The properties for librdkafka. Values that may be secret are shown as `***`; properties not listed have
    /// librdkafka's defaults.
    pub properties: BTreeMap<String, String>,
    /// Settings that cannot work: [`KafkaSinkConfig::conflicts`].
    pub conflicts: Vec<Conflict>,
    /// Settings that may be unintended: [`KafkaSinkConfig::warnings`], and what the cluster's answers add.
    pub warnings: Vec<String>,
    /// The cluster's answers. None if it could not be asked.
    pub inspection: Option<Inspection>,
    /// Why connecting failed.
    pub error: Option<Error>,
    /// Reasons why sends to this topic would fail although connecting succeeded.
    pub problems: Vec<String>,
    /// Time that the preflight took. Zero without an attempt to connect.
    pub elapsed: Duration,
}

impl PreflightReport {
    fn of(config: &KafkaSinkConfig) -> Self {
        let properties = shown_properties(config.librdkafka_properties());
        Self {
            brokers: properties.get("bootstrap.servers").cloned().unwrap_or_default(),
            topic: config.topic.clone(),
            properties,
            conflicts: config.conflicts(),
            warnings: config.warnings(),
            inspection: None,
            error: None,
            problems: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// Returns whether a sink with this configuration would work now. Ignores warnings.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.conflicts.is_empty() && self.problems.is_empty() && self.error.is_none() && self.inspection.is_some()
    }
}
