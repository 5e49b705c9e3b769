//! The end of a soak.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::ledger::{Fault, Verdict};
use crate::output::style::{BAD, DOUBT, verdict};

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    r#type: &'static str,
    pub(crate) passed: bool,
    #[serde(flatten)]
    verdict: Verdict,
    /// Whether the topic was read to its end.
    read_to_the_end: bool,
    elapsed_ms: u64,
    p50_latency_us: u64,
    p99_latency_us: u64,
    last_error: Option<String>,
}

/// Beside the verdict: facts of the run.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) elapsed: Duration,
    pub(crate) p50_latency_us: u64,
    pub(crate) p99_latency_us: u64,
    pub(crate) last_error: Option<String>,
}

impl Summary {
    pub(crate) fn new(verdict: Verdict, read_to_the_end: bool, run: Run) -> Self {
        let Run { elapsed, p50_latency_us, p99_latency_us, last_error } = run;
        let passed = verdict.passed() && read_to_the_end;
        let elapsed_ms = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        Self {
            r#type: "soak",
            passed,
            verdict,
            read_to_the_end,
            elapsed_ms,
            p50_latency_us,
            p99_latency_us,
            last_error,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { counts, possibly_persisted_found, unread, faults } = &self.verdict;
        let seconds = self.elapsed_ms as f64 / 1_000.0;
        writeln!(f, "{} records sent in {seconds:.1} s, {} read back", counts.sent, counts.read)?;
        writeln!(f, "  delivered         {}", counts.delivered)?;
        writeln!(f, "  not written       {}", counts.not_persisted)?;
        write!(f, "  possibly written  {}", counts.possibly_persisted)?;
        if counts.possibly_persisted > 0 {
            write!(f, "{DOUBT} ({possibly_persisted_found} of them are there){DOUBT:#}")?;
        }
        writeln!(f, "\n  latency           p50 {} µs, p99 {} µs", self.p50_latency_us, self.p99_latency_us)?;
        if counts.overtaken > 0 {
            writeln!(f, "  overtaken         {} while in flight, which retries may do", counts.overtaken)?;
        }
        if let Some(error) = &self.last_error {
            writeln!(f, "  last error        {error}")?;
        }
        let named = [
            (faults.lost, "lost"),
            (faults.doubled, "doubled"),
            (faults.reordered, "out of order"),
            (faults.written_after_all, "there although reported as not written"),
            (faults.damaged, "damaged"),
        ];
        for (count, name) in named.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "{BAD}{count} {name}{BAD:#}")?;
        }
        for fault in &faults.first {
            writeln!(f, "  - {fault}")?;
        }
        if !self.read_to_the_end {
            writeln!(f, "{BAD}the topic was not read to its end{BAD:#}: {unread} delivered records were not judged")?;
        } else if counts.delivered == 0 {
            writeln!(f, "{BAD}nothing was delivered{BAD:#}, which proves nothing")?;
        }
        f.write_str(&verdict(self.passed))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(number) => write!(f, "record {number} was delivered, and is not there"),
            Self::Doubled(number) => write!(f, "record {number} is there more than once"),
            Self::Reordered(number) => write!(f, "record {number} is behind one that was sent after its delivery"),
            Self::WrittenAfterAll(number) => write!(f, "record {number} was reported as not written, and is there"),
            Self::Damaged(place) => write!(f, "a record is not as it was sent, behind {place} others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Ledger, Said};
    use super::*;

    fn summary(read: bool, to_the_end: bool) -> Summary {
        let mut ledger = Ledger::new(1);
        let number = ledger.send();
        ledger.said(number, Said::Delivered);
        if read {
            ledger.read(number);
        }
        Summary::new(ledger.verdict(to_the_end), to_the_end, Run::default())
    }

    #[test]
    fn the_text_ends_with_the_verdict() {
        assert!(summary(true, true).passed && summary(true, true).to_string().contains("passed"));
        let lost = summary(false, true);
        assert!(!lost.passed && lost.to_string().contains("record 0 was delivered, and is not there"), "{lost}");
        let unread = summary(false, false);
        assert!(unread.to_string().contains("1 delivered records were not judged"), "{unread}");
        assert!(!summary(true, false).passed, "a later double may not have been read");
    }

    #[test]
    fn the_document_has_the_documented_names() {
        let document = serde_json::to_value(summary(false, true)).unwrap();
        let names: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "delivered",
            "elapsed_ms",
            "faults",
            "last_error",
            "not_persisted",
            "overtaken",
            "p50_latency_us",
            "p99_latency_us",
            "passed",
            "possibly_persisted",
            "possibly_persisted_found",
            "read",
            "read_to_the_end",
            "sent",
            "type",
            "unread",
        ];
        assert_eq!(names, documented);
        let fault = &document["faults"]["first"][0];
        assert_eq!((fault["fault"].as_str(), fault["number"].as_u64()), (Some("lost"), Some(0)));
    }
}
