//! Reads the output of the Collector's file exporter, OTLP as JSON, into types for assertions and pictures.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Error;

/// Attributes: values as text, by name.
pub type Attributes = BTreeMap<String, String>;

/// A span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace id in hex.
    pub trace_id: String,
    /// The span id in hex.
    pub span_id: String,
    /// The parent's span id in hex; empty without a parent.
    pub parent_id: String,
    /// Its name.
    pub name: String,
    /// OTLP's kind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// Its attributes.
    pub attributes: Attributes,
    /// The names and attributes of its events, in order.
    pub events: Vec<(String, Attributes)>,
    /// The trace id and span id of each link.
    pub links: Vec<(String, String)>,
    /// Whether its status is an error.
    pub error: bool,
    /// `service.name` of the sender.
    pub service: String,
    /// The name of the instrumentation scope.
    pub scope: String,
    /// The schema of the scope.
    pub schema_url: String,
}

/// OTLP's kind of a producer span.
pub const PRODUCER: u64 = 4;
/// OTLP's kind of a consumer span.
pub const CONSUMER: u64 = 5;
/// OTLP's kind of a server span.
pub const SERVER: u64 = 2;

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A monotonic sum.
    Counter,
    /// A sum that may decrease.
    UpDown,
    /// The current value.
    Gauge,
    /// A histogram: values counted in buckets.
    Histogram,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDown => "updown",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One report of a metric.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its kind.
    pub kind: Kind,
    /// Its values, one for each set of attributes.
    pub points: Vec<Point>,
    /// The name of the instrumentation scope.
    pub scope: String,
}

/// One value of a metric.
#[derive(Clone, Debug)]
pub struct Point {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Its attributes.
    pub attributes: Attributes,
    /// The value; for a histogram the sum of its values.
    pub value: f64,
    /// For a histogram: the upper bounds of the buckets, and the number of values up to each. The last bound is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// Reads the spans in a line.
///
/// # Errors
///
/// If the line is not OTLP.
pub fn spans(line: &str) -> Result<Vec<Span>, Error> {
    let line: Value = serde_json::from_str(line).map_err(Error::with("not JSON"))?;
    let mut spans = Vec::new();
    for resource in list(&line["resourceSpans"]) {
        let service = attributes(&resource["resource"]["attributes"]).remove("service.name").unwrap_or_default();
        for scope in list(&resource["scopeSpans"]) {
            spans.extend(list(&scope["spans"]).map(|span| {
                Span {
                    trace_id: text(&span["traceId"]),
                    span_id: text(&span["spanId"]),
                    parent_id: text(&span["parentSpanId"]),
                    name: text(&span["name"]),
                    kind: span["kind"].as_u64().unwrap_or_default(),
                    start: nanos(&span["startTimeUnixNano"]),
                    end: nanos(&span["endTimeUnixNano"]),
                    attributes: attributes(&span["attributes"]),
                    events: list(&span["events"])
                        .map(|event| (text(&event["name"]), attributes(&event["attributes"])))
                        .collect(),
                    links: list(&span["links"]).map(|link| (text(&link["traceId"]), text(&link["spanId"]))).collect(),
                    error: span["status"]["code"] == 2,
                    service: service.clone(),
                    scope: text(&scope["scope"]["name"]),
                    schema_url: text(&scope["schemaUrl"]),
                }
            }));
        }
    }
    Ok(spans)
}

/// Reads the metrics in a line.
///
/// # Errors
///
/// If the line is not OTLP.
pub fn metrics(line: &str) -> Result<Vec<Metric>, Error> {
    let line: Value = serde_json::from_str(line).map_err(Error::with("not JSON"))?;
    let mut metrics = Vec::new();
    for resource in list(&line["resourceMetrics"]) {
        for scope in list(&resource["scopeMetrics"]) {
            for metric in list(&scope["metrics"]) {
                let (kind, data) = if metric["sum"].is_object() {
                    let grows = metric["sum"]["isMonotonic"] == true;
                    (if grows { Kind::Counter } else { Kind::UpDown }, &metric["sum"])
                } else if metric["gauge"].is_object() {
                    (Kind::Gauge, &metric["gauge"])
                } else {
                    (Kind::Histogram, &metric["histogram"])
                };
                metrics.push(Metric {
                    name: text(&metric["name"]),
                    unit: text(&metric["unit"]),
                    kind,
                    points: list(&data["dataPoints"]).map(point).collect(),
                    scope: text(&scope["scope"]["name"]),
                });
            }
        }
    }
    Ok(metrics)
}

fn point(point: &Value) -> Point {
    let mut below = 0;
    let bounds = list(&point["explicitBounds"]).map(number).chain([f64::INFINITY]);
    let buckets = bounds
        .zip(list(&point["bucketCounts"]))
        .map(|(bound, count)| {
            below += number(count) as u64;
            (bound, below)
        })
        .collect();
    let value = ["asDouble", "asInt", "sum"].iter().map(|name| &point[*name]).find(|value| !value.is_null());
    Point {
        time: nanos(&point["timeUnixNano"]),
        attributes: attributes(&point["attributes"]),
        value: value.map_or(0.0, number),
        buckets,
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// OTLP's JSON represents 64-bit integers as strings.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// Parses the text; a float could not represent them exactly.
fn nanos(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn attributes(value: &Value) -> Attributes {
    let value_of = |value: &Value| {
        let (_, inner) = value.as_object()?.iter().next()?;
        Some(inner.as_str().map_or_else(|| inner.to_string(), str::to_owned))
    };
    list(value).map(|attribute| (text(&attribute["key"]), value_of(&attribute["value"]).unwrap_or_default())).collect()
}
