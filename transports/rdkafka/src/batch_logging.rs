//! Decides when librdkafka's debug lines about batches are worth their cost. Only they name the codes that librdkafka
//! retries by itself, but every successful batch writes two: they are enabled only while a record takes long. Pure.

use std::time::{Duration, Instant};

/// Age from which a record takes long, or a quarter of its time budget if that is less.
const LONG: Duration = Duration::from_millis(400);
/// The same while other records are delivered, because a backlog is no sign of trouble; or half of its budget if that
/// is less.
const LONG_IN_A_BACKLOG: Duration = Duration::from_secs(5);
/// Records count as being delivered if the last report is not older than this.
const DELIVERING: Duration = Duration::from_millis(300);
/// How long the lines stay enabled after the last record that took long.
const LINGER: Duration = Duration::from_secs(2);

/// Returns whether a record takes long. `budget` is its whole time budget; `since_report` the time since the last
/// report.
pub(crate) fn takes_long(age: Duration, budget: Option<Duration>, since_report: Duration) -> bool {
    let part = |of: u32, most: Duration| budget.map_or(most, |budget| most.min(budget / of));
    age >= part(4, LONG) && (since_report >= DELIVERING || age >= part(2, LONG_IN_A_BACKLOG))
}

/// Returns until when the lines stay enabled if a record takes long now.
pub(crate) fn enabled_until(now: Instant) -> Instant {
    now + LINGER
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_record_takes_long_by_its_age_and_its_time() {
        for (age, budget, since_report, long) in [
            (399, None, 10_000, false),
            (400, None, 10_000, true),
            (250, Some(1_000), 10_000, true),
            (249, Some(1_000), 10_000, false),
            // Others are delivered.
            (400, None, 100, false),
            (5_000, None, 100, true),
            (2_000, Some(4_000), 100, true),
            (1_999, Some(4_000), 100, false),
            (400, None, 300, true),
        ] {
            let found = takes_long(ms(age), budget.map(ms), ms(since_report));
            assert_eq!(found, long, "{age} ms of {budget:?}, last report {since_report} ms ago");
        }
    }
}
