use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{FONT, escape, seconds};
use crate::otlp::Span;

const ROW: f64 = 24.0;
const TEXT: f64 = 330.0;
const BARS: f64 = 520.0;
const WIDTH: f64 = TEXT + BARS + 170.0;

/// A waterfall of spans: children below their parents, ordered by time.
#[must_use]
pub fn trace(spans: &[Span]) -> String {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        let parent = if ids.contains(span.parent_id.as_str()) { span.parent_id.as_str() } else { "" };
        children.entry(parent).or_default().push(span);
    }
    children.values_mut().for_each(|spans| spans.sort_by_key(|span| span.start));
    let mut rows = Vec::new();
    below("", 0, &children, &mut rows);

    let start = spans.iter().map(|span| span.start).min().unwrap_or_default();
    let end = spans.iter().map(|span| span.end).max().unwrap_or_default();
    // The gap between the service and the consumer, which starts later, would make all bars thin.
    let axis = Axis::of(spans, start, end);
    let height = ROW * (rows.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" {FONT} font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let trace = spans.first().map_or("", |span| span.trace_id.as_str());
    let _ = writeln!(svg, "<text x=\"8\" y=\"17\" font-weight=\"bold\">Trace {trace}</text>");
    for (index, (depth, span)) in rows.iter().enumerate() {
        let y = ROW * (index as f64 + 1.5);
        let colour = match (span.service.as_str(), span.error) {
            (_, true) => "#d64545",
            ("consumer", _) => "#7b61c4",
            _ if span.scope == "kafka-tower" => "#2f7ed8",
            _ => "#8a8f98",
        };
        if index % 2 == 0 {
            let _ =
                writeln!(svg, "<rect x=\"0\" y=\"{}\" width=\"{WIDTH}\" height=\"{ROW}\" fill=\"#f5f6f8\"/>", y - 16.0);
        }
        let x = 8.0 + 16.0 * *depth as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\"><tspan fill=\"{colour}\">\u{25cf}</tspan> {} <tspan fill=\"#8a8f98\">{}</tspan></text>",
            escape(&span.name),
            escape(&span.service)
        );
        let (from, to) = (TEXT + axis.at(span.start), TEXT + axis.at(span.end));
        let width = (to - from).max(2.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"14\" rx=\"2\" fill=\"{colour}\"/>",
            y - 11.0
        );
        let mut note = seconds((span.end - span.start) as f64 / 1e9);
        let value = |name: &str| span.attributes.get(name);
        if let (Some(partition), Some(offset)) =
            (value("messaging.destination.partition.id"), value("messaging.kafka.offset"))
        {
            let _ = write!(note, "  [{partition}]@{offset}");
        }
        if let Some(error) = value("error.type") {
            let _ = write!(note, "  {error}");
        }
        if let Some(count) = value("messaging.batch.message_count") {
            let _ = write!(note, "  {count} messages");
        }
        if let Some(outcome) = value("kafka_tower.transaction.outcome") {
            let _ = write!(note, "  {outcome}");
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y}\" fill=\"#444a55\">{}</text>",
            to.max(from + 2.0) + 6.0,
            escape(&note)
        );
    }
    svg + "</svg>\n"
}

fn below<'a>(parent: &str, depth: usize, children: &BTreeMap<&str, Vec<&'a Span>>, rows: &mut Vec<(usize, &'a Span)>) {
    for span in children.get(parent).into_iter().flatten() {
        rows.push((depth, span));
        below(&span.span_id, depth + 1, children, rows);
    }
}

/// Maps time to positions. Time that no span covers is shortened to a gap.
struct Axis(Vec<(u64, u64)>, f64);

const GAP: f64 = 12.0;

impl Axis {
    fn of(spans: &[Span], start: u64, end: u64) -> Self {
        let mut times: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
        times.sort_unstable();
        let mut covered: Vec<(u64, u64)> = vec![(start, start)];
        for (from, to) in times {
            match covered.last_mut() {
                Some(last) if from <= last.1 + (end - start) / 50 => last.1 = last.1.max(to),
                _ => covered.push((from, to)),
            }
        }
        let all: u64 = covered.iter().map(|(from, to)| to - from).sum();
        let bars = BARS - GAP * covered.len() as f64;
        Self(covered, bars / all.max(1) as f64)
    }

    fn at(&self, time: u64) -> f64 {
        let mut x = 0.0;
        for (from, to) in &self.0 {
            if time <= *to {
                return x + time.saturating_sub(*from) as f64 * self.1;
            }
            x += (to - from) as f64 * self.1 + GAP;
        }
        x
    }
}
