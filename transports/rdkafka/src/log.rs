//! Writes the event loop's lines to the application's log, with fields, and suppresses repeats.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use kafka_tower_core::log_dedup::{LineKind, LogDedup, LoggedLine};
use kafka_tower_core::sync::lock;

use crate::codes;
use crate::line_kind::kind;

/// Source of a log line.
#[derive(Debug)]
pub(crate) enum Source {
    /// An error event of the client.
    Client { code: i32 },
    /// librdkafka's own log. The level is syslog's.
    Librdkafka { level: i32, facility: String },
    /// A panic that was caught.
    Panic { of: &'static str },
    /// This transport.
    Warning,
}

impl Source {
    fn kind(&self, text: &str) -> LineKind {
        match self {
            Self::Client { code } => kind(4, &code.to_string(), text),
            Self::Librdkafka { level, facility } => kind(u8::try_from(*level).unwrap_or_default(), facility, text),
            Self::Panic { of } => kind(3, of, text),
            Self::Warning => kind(4, "", text),
        }
    }
}

/// One per transport, shared by its event loops.
#[derive(Default)]
pub(crate) struct Log(Mutex<LogDedup<(Source, String)>>);

impl Log {
    pub(crate) fn write(&self, source: Source, text: &str, now: Instant) {
        let kind = source.kind(text);
        // A separate statement: the subscriber must not run under the lock.
        let lines = self.dedup().push(kind, (source, text.trim().to_owned()), now);
        lines.iter().for_each(log);
    }

    /// Logs a line of librdkafka.
    pub(crate) fn librdkafka(&self, level: i32, facility: &str, text: &str, now: Instant) {
        let (facility, text) = (facility.trim(), text.trim());
        // Lines of `debug` were asked for, so none is suppressed; a FAIL line repeats the text of an error event.
        if level > 6 || (level <= 3 && facility == "FAIL") {
            tracing::debug!(target: "librdkafka", facility, "{text}");
        } else {
            self.write(Source::Librdkafka { level, facility: facility.to_owned() }, text, now);
        }
    }

    /// Logs lines that were suppressed long enough.
    pub(crate) fn tick(&self, now: Instant) {
        let lines = self.dedup().due(now);
        lines.iter().for_each(log);
    }

    /// Logs everything that is still suppressed.
    pub(crate) fn end(&self, now: Instant) {
        let lines = self.dedup().end(now);
        lines.iter().for_each(log);
    }

    fn dedup(&self) -> MutexGuard<'_, LogDedup<(Source, String)>> {
        lock(&self.0)
    }
}

fn log(logged: &LoggedLine<(Source, String)>) {
    let (source, text) = &logged.line;
    let repeats = (logged.suppressed > 0).then_some(logged.suppressed);
    let like_it = logged.suffix();
    match source {
        Source::Client { code } => {
            let name = codes::find(*code).map(|row| row.name);
            tracing::warn!(code, name, repeats, "kafka client: {text}{like_it}");
        }
        Source::Librdkafka { level: ..=3, facility } => {
            tracing::error!(target: "librdkafka", facility, repeats, "{text}{like_it}");
        }
        Source::Librdkafka { level: 4, facility } => {
            tracing::warn!(target: "librdkafka", facility, repeats, "{text}{like_it}");
        }
        Source::Librdkafka { facility, .. } => {
            tracing::info!(target: "librdkafka", facility, repeats, "{text}{like_it}");
        }
        Source::Panic { of } => tracing::error!(of, repeats, "{text}{like_it}"),
        Source::Warning => tracing::warn!(repeats, "{text}{like_it}"),
    }
}
