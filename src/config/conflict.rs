use std::borrow::Cow;
use std::fmt;

use kafka_tower_core::{Error, ErrorKind, Result};

use super::built::Built;
use super::fields::Settings;

/// Reason why a configuration cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The field of [`KafkaSinkConfig`](crate::KafkaSinkConfig) or [`KafkaSourceConfig`](crate::KafkaSourceConfig) to look
    /// at first.
    pub field: &'static str,
    /// What is wrong.
    pub problem: Cow<'static, str>,
    /// What to do.
    pub cure: Cow<'static, str>,
}

impl Conflict {
    pub(super) fn new(
        field: &'static str,
        problem: impl Into<Cow<'static, str>>,
        cure: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field, problem: problem.into(), cure: cure.into() }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem, self.cure)
    }
}

/// Returns all conflicts, with the names of the variables that set what they name.
pub(super) fn by_variables<C: Settings>(config: &C) -> Vec<Conflict> {
    let shown = |text: &str| Cow::Owned(config.variables().show(config, text));
    let mut conflicts = config.all_conflicts(Built::HERE);
    for conflict in &mut conflicts {
        (conflict.problem, conflict.cure) = (shown(&conflict.problem), shown(&conflict.cure));
    }
    conflicts
}

/// Returns all conflicts as one error, or `Ok` without conflicts.
pub(super) fn refuse(conflicts: &[Conflict]) -> Result<()> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = conflicts.iter().map(Conflict::to_string).collect();
    Err(Error::new(ErrorKind::Config, format!("the configuration cannot work: {}", all.join("; "))))
}
