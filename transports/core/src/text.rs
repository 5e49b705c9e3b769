//! Helpers for error texts.

use std::time::Duration;

/// Formats a duration for an error text, rounded: "30 s", "1.5 s", "80 ms".
///
/// ```
/// use std::time::Duration;
/// use kafka_tower_core::text::seconds;
///
/// assert_eq!(seconds(Duration::from_millis(1_540)), "1.5 s");
/// assert_eq!(seconds(Duration::from_micros(80_400)), "80 ms");
/// ```
#[must_use]
pub fn seconds(duration: Duration) -> String {
    let millis = (duration.as_micros() + 500) / 1_000;
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    let tenths = (millis + 50) / 100;
    if tenths % 10 == 0 { format!("{} s", tenths / 10) } else { format!("{}.{} s", tenths / 10, tenths % 10) }
}

/// Formats a number with its noun: "1 record", "3 records".
///
/// ```
/// assert_eq!(kafka_tower_core::text::count(1, "record"), "1 record");
/// assert_eq!(kafka_tower_core::text::count(0, "record"), "0 records");
/// ```
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
