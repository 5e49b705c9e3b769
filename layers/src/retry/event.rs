use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::Error;

/// Event: a record is about to be sent again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RetryEvent<'a> {
    /// The record's topic.
    pub topic: &'a Arc<str>,
    /// Number of attempts so far, at least 1.
    pub attempt: u32,
    /// Back-off before the next attempt.
    pub delay: Duration,
    /// Whether the record is sent isolated because its batch was refused: this does not count as a retry.
    pub isolated: bool,
    /// The error of the last attempt.
    pub error: &'a Error,
}

type Hook = Arc<dyn Fn(&RetryEvent<'_>) + Send + Sync>;

/// Hooks to call on retries.
#[derive(Clone, Default)]
pub(super) struct Hooks(Vec<Hook>);

impl Hooks {
    pub(super) fn push(&mut self, hook: impl Fn(&RetryEvent<'_>) + Send + Sync + 'static) {
        self.0.push(Arc::new(hook));
    }

    pub(super) fn call(&self, event: &RetryEvent<'_>) {
        self.0.iter().for_each(|hook| hook(event));
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hooks", self.0.len())
    }
}
