//! A failing seed: run again, shrunk and reported.

use std::collections::BTreeSet;

use super::outcome::{Outcome, Schedule};
use super::report::Failure;
use super::shrink;

/// Maximum number of sends made while shrinking a failing run.
const SHRINK_SENDS: usize = 40_000;

/// Number of sends that each run counts as, in addition to its own.
const RUN_COST: usize = 20;

/// Maximum number of trace lines in a report.
const TRACE_LINES: usize = 200;

/// Runs the seed again, shrinks it and describes the failure.
pub(super) fn failure(seed: u64, first: Outcome, shrinks: bool, once: impl Fn(u64, &Schedule) -> Outcome) -> Failure {
    let again = once(seed, &Schedule::default());
    let not_deterministic = difference(&lines(&first), &lines(&again));
    let verdict = first.violations.first().map(|violation| violation.verdict);
    let mut schedule = Schedule { sends: Some(first.sends.clone()), faults: Some(first.listed.clone()) };
    if shrinks && not_deterministic.is_none() {
        let mut budget = SHRINK_SENDS;
        let mut fails = |schedule: &Schedule| {
            let cost = schedule.sends.as_ref().map_or(0, BTreeSet::len) + RUN_COST;
            budget = budget.checked_sub(cost)?;
            let outcome = once(seed, schedule);
            Some(outcome.violations.iter().any(|violation| Some(violation.verdict) == verdict))
        };
        // Sends first: that shortens the runs, and removes the sends' faults too.
        for _ in 0..2 {
            let sends: Vec<_> = schedule.sends.iter().flatten().copied().collect();
            let kept = shrink::shrink(&sends, |sends| {
                let sends = Some(sends.iter().copied().collect());
                fails(&Schedule { sends, faults: schedule.faults.clone() })
            });
            schedule.sends = Some(kept.into_iter().collect());
            let faults: Vec<_> = schedule.faults.iter().flatten().map(|(at, what)| (*at, *what)).collect();
            let kept = shrink::shrink(&faults, |faults| {
                let faults = Some(faults.iter().copied().collect());
                fails(&Schedule { faults, sends: schedule.sends.clone() })
            });
            schedule.faults = Some(kept.into_iter().collect());
        }
    }
    let last = if shrinks { once(seed, &schedule) } else { again };
    let mut trace = lines(&last);
    if trace.len() > TRACE_LINES {
        let left = trace.len() - TRACE_LINES;
        trace.truncate(TRACE_LINES);
        trace.push(format!("… and {left} more lines"));
    }
    Failure {
        seed,
        violations: if last.violations.is_empty() { first.violations } else { last.violations },
        sends: last.sends.into_iter().collect(),
        sends_before: first.sends.len(),
        faults: last.faults,
        faults_before: first.faults.len(),
        trace,
        not_deterministic,
    }
}

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.trace.iter().map(ToString::to_string).collect()
}

/// Returns the first two lines that differ.
fn difference(first: &[String], second: &[String]) -> Option<String> {
    let end = "the end".to_owned();
    let at = (0..first.len().max(second.len())).find(|at| first.get(*at) != second.get(*at))?;
    Some(format!("  {}\n  {}", first.get(at).unwrap_or(&end), second.get(at).unwrap_or(&end)))
}
