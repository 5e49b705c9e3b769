use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{COLOURS, FONT, escape, seconds, short};
use crate::Error;
use crate::prometheus::{Expr, Labels, Store};

const COLUMN: f64 = 50.0;
const LINE: f64 = 28.0;
const STEPS: u64 = 120;

/// A panel of a Grafana dashboard.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// Grafana's unit.
    pub unit: String,
    /// x, y, width and height in Grafana's grid.
    pub place: [u64; 4],
    /// The fixed maximum of its axis.
    pub max: Option<f64>,
    /// Whether values are drawn as steps.
    pub steps: bool,
    /// Queries, and the names of their series.
    pub targets: Vec<(Expr, String)>,
}

/// The panels of a dashboard.
///
/// # Errors
///
/// If it is not a dashboard, or has an unknown query.
pub fn panels(text: &str) -> Result<Vec<Panel>, Error> {
    let dashboard: Value = serde_json::from_str(text).map_err(Error::with("the dashboard"))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut panels = Vec::new();
    for panel in list(&dashboard["panels"]) {
        let mut targets = Vec::new();
        for target in list(&panel["targets"]) {
            targets.push((Expr::parse(&text(&target["expr"]))?, text(&target["legendFormat"])));
        }
        let defaults = &panel["fieldConfig"]["defaults"];
        panels.push(Panel {
            title: text(&panel["title"]),
            unit: text(&defaults["unit"]),
            place: ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap_or_default()),
            max: defaults["max"].as_f64(),
            steps: defaults["custom"]["lineInterpolation"] == "stepAfter",
            targets,
        });
    }
    Ok(panels)
}

/// All panels over the whole time of a store; rates over `window` nanoseconds.
#[must_use]
pub fn dashboard(panels: &[Panel], store: &Store, window: u64) -> String {
    let edge = |size: fn(&Panel) -> u64| panels.iter().map(size).max().unwrap_or_default() as f64;
    let width = edge(|panel| panel.place[0] + panel.place[2]) * COLUMN;
    let height = edge(|panel| panel.place[1] + panel.place[3]) * LINE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" {FONT} font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#111217\"/>\n"
    );
    for panel in panels {
        draw(panel, store, window, &mut svg);
    }
    svg + "</svg>\n"
}

fn draw(panel: &Panel, store: &Store, window: u64, svg: &mut String) {
    let Some((start, end)) = store.times() else { return };
    let [x, y, w, h] = panel.place.map(|side| side as f64);
    let (x, y, w, h) = (x * COLUMN + 4.0, y * LINE + 4.0, w * COLUMN - 8.0, h * LINE - 8.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"3\" fill=\"#181b1f\" stroke=\"#2a2d34\"/>\n\
         <text x=\"{}\" y=\"{}\" fill=\"#d8d9da\" font-size=\"12\" font-weight=\"bold\">{}</text>",
        x + 8.0,
        y + 18.0,
        escape(&panel.title)
    );
    let mut series: BTreeMap<(usize, Labels), Vec<(u64, f64)>> = BTreeMap::new();
    for step in 0..=STEPS {
        let time = start + (end - start) / STEPS * step;
        for (index, (expr, _)) in panel.targets.iter().enumerate() {
            for (labels, value) in store.at(expr, time, window) {
                if value.is_finite() {
                    series.entry((index, labels)).or_default().push((step, value));
                }
            }
        }
    }
    let highest = series.values().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
    let top = panel.max.unwrap_or(if highest > 0.0 { highest * 1.1 } else { 1.0 });
    let (left, right, upper, lower) = (x + 58.0, x + w - 10.0, y + 30.0, y + h - 44.0);
    for part in 0..=2 {
        let line = lower - (lower - upper) * f64::from(part) / 2.0;
        let label = value(&panel.unit, top * f64::from(part) / 2.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {line}H{right}\" stroke=\"#2a2d34\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#9fa2a8\" text-anchor=\"end\">{label}</text>",
            left - 6.0,
            line + 4.0
        );
    }
    let seconds_all = (end - start) as f64 / 1e9;
    for part in 0..=4 {
        let at = left + (right - left) * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"{}\" fill=\"#9fa2a8\" text-anchor=\"middle\">{:.0} s</text>",
            lower + 15.0,
            seconds_all * f64::from(part) / 4.0
        );
    }
    let mut legend = left - 46.0;
    for (number, ((target, labels), points)) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let mut path = String::new();
        let mut last = None;
        for (step, value) in points {
            let at = left + (right - left) * *step as f64 / STEPS as f64;
            let height = lower - (lower - upper) * (value / top).min(1.0);
            // A gap where there was no value.
            let next = last.is_some_and(|last| last + 1 == *step);
            let _ = match (next, panel.steps) {
                (false, _) => write!(path, "M{at:.1} {height:.1}h1"),
                (true, false) => write!(path, "L{at:.1} {height:.1}"),
                (true, true) => write!(path, "H{at:.1}V{height:.1}"),
            };
            last = Some(*step);
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
        let format = &panel.targets[*target].1;
        let name =
            labels.iter().fold(format.clone(), |name, (label, value)| name.replace(&format!("{{{{{label}}}}}"), value));
        let _ = writeln!(
            svg,
            "<rect x=\"{legend}\" y=\"{}\" width=\"10\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#d8d9da\">{}</text>",
            y + h - 14.0,
            legend + 14.0,
            y + h - 9.0,
            escape(&name)
        );
        legend += 28.0 + 6.2 * name.len() as f64;
    }
}

fn value(unit: &str, value: f64) -> String {
    match unit {
        _ if value == 0.0 => "0".to_owned(),
        "s" => seconds(value),
        "reqps" => format!("{}/s", short(value)),
        "percentunit" => format!("{} %", short(value * 100.0)),
        "bytes" if value >= 1024.0 => format!("{} KiB", short(value / 1024.0)),
        "bytes" => format!("{} B", short(value)),
        _ => short(value),
    }
}
