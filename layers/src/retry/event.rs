use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::Error;

/// A record is about to be sent again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RetryEvent<'a> {
    /// The record's topic.
    pub topic: &'a Arc<str>,
    /// How many attempts were made so far, at least 1.
    pub attempt: u32,
    /// How long the record waits before the next one.
    pub delay: Duration,
    /// Whether it is sent alone because its whole batch was refused: that does not count as a retry.
    pub alone: bool,
    /// Why the last attempt failed.
    pub error: &'a Error,
}

type Hook = Arc<dyn Fn(&RetryEvent<'_>) + Send + Sync>;

/// Who wants to know of retries.
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
