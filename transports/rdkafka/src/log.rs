//! Writes the event loop's lines to the application's log, with fields, and suppresses repeats (see `repeats`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::codes;
use crate::repeats::{Kind, Repeats, Said};

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
    fn kind(&self, text: &str) -> Kind {
        match self {
            Self::Client { code } => Kind::new(4, &code.to_string(), text),
            Self::Librdkafka { level, facility } => Kind::new(u8::try_from(*level).unwrap_or_default(), facility, text),
            Self::Panic { of } => Kind::new(3, of, text),
            Self::Warning => Kind::new(4, "", text),
        }
    }
}

/// One per transport, shared by its event loops.
#[derive(Default)]
pub(crate) struct Log(Mutex<Repeats<(Source, String)>>);

impl Log {
    pub(crate) fn tell(&self, source: Source, text: &str, now: Instant) {
        let kind = source.kind(text);
        // A separate statement: the subscriber must not run under the lock.
        let said = self.repeats().push(kind, (source, text.trim().to_owned()), now);
        said.iter().for_each(say);
    }

    /// Logs a line of librdkafka.
    pub(crate) fn librdkafka(&self, level: i32, facility: &str, text: &str, now: Instant) {
        let (facility, text) = (facility.trim(), text.trim());
        // Lines of `debug` were asked for, so none is suppressed; a FAIL line repeats the text of an error event.
        if level > 6 || (level <= 3 && facility == "FAIL") {
            tracing::debug!(target: "librdkafka", facility, "{text}");
        } else {
            self.tell(Source::Librdkafka { level, facility: facility.to_owned() }, text, now);
        }
    }

    /// Logs lines that were suppressed long enough.
    pub(crate) fn tick(&self, now: Instant) {
        let said = self.repeats().due(now);
        said.iter().for_each(say);
    }

    /// Logs everything that is still suppressed.
    pub(crate) fn end(&self, now: Instant) {
        let said = self.repeats().end(now);
        said.iter().for_each(say);
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats<(Source, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn say(said: &Said<(Source, String)>) {
    let Said { line: (source, text), held, within } = said;
    let repeats = (*held > 0).then_some(*held);
    let like_it =
        repeats.map(|held| format!(", and {held} like it in {:.0} s", within.as_secs_f64())).unwrap_or_default();
    match source {
        Source::Client { code } => {
            let name = codes::row_of(*code).map(|row| row.name);
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
