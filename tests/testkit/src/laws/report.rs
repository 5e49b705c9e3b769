use std::fmt;

use crate::{Fixture, Law, Verdict};

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
