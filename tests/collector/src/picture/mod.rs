//! Pictures for docs/observability.md, drawn from the data of a Collector in a real run.

mod dashboard;
mod trace;

pub use dashboard::{Panel, dashboard, panels};
pub use trace::trace;

const FONT: &str = "font-family=\"Helvetica,Arial,sans-serif\"";
const COLOURS: [&str; 8] = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#b877d9", "#f2495c", "#8ab8ff", "#fade2a"];

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Formats a time with a suitable unit.
fn seconds(value: f64) -> String {
    match value {
        value if value >= 1.0 => format!("{} s", short(value)),
        value if value >= 1e-3 => format!("{} ms", short(value * 1e3)),
        value => format!("{} µs", short(value * 1e6)),
    }
}

fn short(value: f64) -> String {
    let digits = if value >= 100.0 || value == value.trunc() { 0 } else { usize::from(value < 10.0) + 1 };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
