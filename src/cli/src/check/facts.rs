//! What a check found, for programs.

use std::collections::BTreeMap;

use kafka_tower::source::SourcePreflightReport;
use kafka_tower::{Conflict, PreflightReport};
use serde::Serialize;

use crate::output::facts::ErrorFacts;

/// The document of `check`.
#[derive(Debug, Serialize)]
pub(crate) struct Checked<'a> {
    r#type: &'static str,
    pub(crate) passed: bool,
    sink: Option<Side<'a>>,
    source: Option<Side<'a>>,
}

#[derive(Debug, Serialize)]
struct Side<'a> {
    passed: bool,
    brokers: &'a str,
    topics: BTreeMap<&'a str, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    /// Without secrets.
    properties: &'a BTreeMap<String, String>,
    conflicts: Vec<Fault<'a>>,
    problems: &'a [String],
    warnings: &'a [String],
    error: Option<ErrorFacts>,
    cluster: Option<Cluster<'a>>,
    /// Where a source would begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    begins: Option<Vec<Begin<'a>>>,
    elapsed_ms: u64,
}

#[derive(Debug, Serialize)]
struct Fault<'a> {
    field: &'a str,
    problem: &'a str,
    cure: &'a str,
}

#[derive(Debug, Serialize)]
struct Cluster<'a> {
    id: Option<&'a str>,
    brokers: Vec<Broker<'a>>,
}

#[derive(Debug, Serialize)]
struct Broker<'a> {
    id: i32,
    host: &'a str,
    port: u16,
    /// Why it cannot be reached from here.
    unreachable: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Begin<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

impl<'a> Checked<'a> {
    pub(crate) fn of(sink: Option<&'a PreflightReport>, source: Option<&'a SourcePreflightReport>) -> Self {
        let passed = sink.is_none_or(PreflightReport::passed) && source.is_none_or(SourcePreflightReport::passed);
        Self { r#type: "check", passed, sink: sink.map(of_sink), source: source.map(of_source) }
    }
}

macro_rules! cluster {
    ($found:expr) => {
        $found.as_ref().map(|found| Cluster {
            id: found.cluster_id.as_deref(),
            brokers: found
                .brokers
                .iter()
                .map(|broker| Broker {
                    id: broker.id,
                    host: &broker.host,
                    port: broker.port,
                    unreachable: broker.unreachable.as_deref(),
                })
                .collect(),
        })
    };
}

fn of_sink(report: &PreflightReport) -> Side<'_> {
    let topic = report.inspection.as_ref().and_then(|found| found.topic.as_ref().ok());
    Side {
        passed: report.passed(),
        brokers: &report.brokers,
        topics: topic.map(|topic| (report.topic.as_str(), topic.partitions.len())).into_iter().collect(),
        group: None,
        properties: &report.properties,
        conflicts: report.conflicts.iter().map(fault).collect(),
        problems: &report.problems,
        warnings: &report.warnings,
        error: report.error.as_ref().map(ErrorFacts::from),
        cluster: cluster!(report.inspection),
        begins: None,
        elapsed_ms: millis(report.elapsed),
    }
}

fn of_source(report: &SourcePreflightReport) -> Side<'_> {
    let topics = report.inspection.iter().flat_map(|found| &found.topics);
    let begins = report.begins.iter();
    Side {
        passed: report.passed(),
        brokers: &report.brokers,
        topics: topics.filter_map(|(name, found)| Some((&**name, found.as_ref().ok()?.partitions.len()))).collect(),
        group: Some(&report.group_id),
        properties: &report.properties,
        conflicts: report.conflicts.iter().map(fault).collect(),
        problems: &report.problems,
        warnings: &report.warnings,
        error: report.error.as_ref().map(ErrorFacts::from),
        cluster: cluster!(report.inspection),
        begins: Some(
            begins.map(|(at, offset)| Begin { topic: &at.topic, partition: at.partition, offset: *offset }).collect(),
        ),
        elapsed_ms: millis(report.elapsed),
    }
}

fn fault(conflict: &Conflict) -> Fault<'_> {
    Fault { field: conflict.field, problem: &conflict.problem, cure: &conflict.cure }
}

fn millis(elapsed: std::time::Duration) -> u64 {
    elapsed.as_millis().try_into().unwrap_or(u64::MAX)
}
