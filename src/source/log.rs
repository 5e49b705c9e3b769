//! Log lines about single messages. Of a flood, each kind of line and topic has one in ten seconds, with a count.

use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use kafka_tower_core::TopicPartition;
use kafka_tower_core::log_dedup::{LineKind, LogDedup, LoggedLine};
use kafka_tower_core::sync::lock;

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Skipped,
    DeadLettered,
    DeadLetterFailed,
    /// It comes again.
    Failed,
    /// It comes again, because the application gave it back.
    GivenBack,
    /// It does not come again.
    GivenUp,
}

impl Event {
    fn text(self) -> &'static str {
        match self {
            Self::Skipped => "a message was skipped",
            Self::DeadLettered => "a message was dead-lettered",
            Self::DeadLetterFailed => "a dead letter was not delivered",
            Self::Failed => "a message has failed",
            Self::GivenBack => "a message was not handled, and comes again",
            Self::GivenUp => "a message was not handled",
        }
    }
}

/// One line.
#[derive(Debug)]
struct Line {
    event: Event,
    at: TopicPartition,
    offset: i64,
    attempt: Option<u32>,
    reason: Option<String>,
}

/// The lines of a source.
#[derive(Default)]
pub(super) struct Log(Mutex<LogDedup<Line>>);

impl Log {
    pub(super) fn write(
        &self,
        event: Event,
        (at, offset): (&TopicPartition, i64),
        attempt: Option<u32>,
        reason: Option<&dyn fmt::Display>,
        now: Instant,
    ) {
        let kind = LineKind::new(event as u8, &*at.topic);
        let line = Line { event, at: at.clone(), offset, attempt, reason: reason.map(ToString::to_string) };
        // A statement of its own: the subscriber must not run under the lock.
        let logged = lock(&self.0).push(kind, line, now);
        logged.iter().for_each(log);
    }

    /// Logs what was suppressed long enough. Whether something is still suppressed, or may be.
    pub(super) fn tick(&self, now: Instant) -> bool {
        let mut dedup = lock(&self.0);
        let (logged, more) = (dedup.due(now), !dedup.is_empty());
        drop(dedup);
        logged.iter().for_each(log);
        more
    }

    /// Logs everything that is still suppressed.
    pub(super) fn end(&self, now: Instant) {
        let logged = lock(&self.0).end(now);
        logged.iter().for_each(log);
    }
}

fn log(logged: &LoggedLine<Line>) {
    let Line { event, at, offset, attempt, reason } = &logged.line;
    let repeats = (logged.suppressed > 0).then_some(logged.suppressed);
    let (text, like_it) = (event.text(), logged.suffix());
    if *event == Event::Failed {
        tracing::info!(partition = %at, offset, attempt, reason, repeats, "{text}{like_it}");
    } else {
        tracing::warn!(partition = %at, offset, attempt, reason, repeats, "{text}{like_it}");
    }
}
