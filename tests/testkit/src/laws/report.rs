use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::Applied;
use crate::{Fixture, Law, NotApplicable};

/// Runs all laws, one after the other, and collects the verdicts. It does not panic if a law is broken.
///
/// The panic hook still runs, so the standard hook prints each broken law on stderr.
pub async fn all<F: Fixture>(fixture: &F) -> Report {
    let mut verdicts = Vec::new();
    for &law in Law::ALL {
        verdicts.push((law, law.judge(fixture).await));
    }
    Report { verdicts }
}

impl Law {
    /// Runs the law and returns the verdict, also where it is broken. The panic hook runs, as in [`all`].
    pub async fn judge<F: Fixture>(self, fixture: &F) -> Verdict {
        let run = AssertUnwindSafe(self.run(fixture)).catch_unwind().await;
        run.map_or_else(|panic| Verdict::Broken(text_of(&*panic)), |applied| self.verdict(applied, fixture))
    }

    /// Compares the result of a run that did not panic with the fixture's list.
    pub(super) fn verdict<F: Fixture>(self, applied: Applied, fixture: &F) -> Verdict {
        match (applied, fixture.not_applicable().contains(&self)) {
            (Ok(()), false) => Verdict::Kept,
            (Err(why), true) => Verdict::NotApplicable(why),
            (Err(why), false) => Verdict::Broken(format!(
                "the law `{self}` cannot run: {why}. If that is right, list the law in `Fixture::not_applicable`"
            )),
            (Ok(()), true) => Verdict::Broken(format!(
                "the law `{self}` is kept, but the fixture lists it as not applicable: remove it from \
                 `Fixture::not_applicable`"
            )),
        }
    }
}

pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "it panicked".into())
}

/// Result of a law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The transport keeps the law.
    Kept,
    /// The law cannot run for this transport, and the fixture [lists](Fixture::not_applicable) it.
    NotApplicable(NotApplicable),
    /// The transport breaks the law, or the fixture's list does not agree with the run. The text says how.
    Broken(String),
}

/// Verdicts of [`all`]. `Display` prints a line for each law.
#[derive(Clone, Debug)]
#[must_use = "it says whether the laws are kept"]
pub struct Report {
    verdicts: Vec<(Law, Verdict)>,
}

impl Report {
    /// The laws with their verdicts.
    pub fn verdicts(&self) -> &[(Law, Verdict)] {
        &self.verdicts
    }

    /// Whether no law is broken.
    pub fn is_kept(&self) -> bool {
        self.broken().is_empty()
    }

    /// The broken laws.
    pub fn broken(&self) -> Vec<Law> {
        self.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Broken(_))).map(|(law, _)| *law).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (law, verdict) in &self.verdicts {
            match verdict {
                Verdict::Kept => writeln!(f, "kept            {law}")?,
                Verdict::NotApplicable(why) => writeln!(f, "not applicable  {law}: {why}")?,
                Verdict::Broken(text) => writeln!(f, "BROKEN          {law}: {}", text.replace('\n', " "))?,
            }
        }
        Ok(())
    }
}
