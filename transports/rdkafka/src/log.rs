//! The lines of the event loop in the log of the application: with fields, and repeats counted (see `repeats`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::codes;
use crate::repeats::{Kind, Repeats, Said};

/// What tells something.
#[derive(Debug)]
pub(crate) enum Source {
    /// An error event of the client.
    Client { code: i32 },
    /// librdkafka's own log. The level is syslog's.
    Librdkafka { level: i32, facility: String },
    /// A panic that was caught.
    Panic { of: &'static str },
    /// Ourselves.
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

/// One for all event loops of a transport.
#[derive(Default)]
pub(crate) struct Log(Mutex<Repeats<(Source, String)>>);

impl Log {
    pub(crate) fn tell(&self, source: Source, text: &str, now: Instant) {
        let kind = source.kind(text);
        // A statement of its own: the log must not run under the lock.
        let said = self.repeats().push(kind, (source, text.trim().to_owned()), now);
        said.iter().for_each(say);
    }

    /// As librdkafka gives it.
    pub(crate) fn librdkafka(&self, level: i32, facility: &str, text: &str, now: Instant) {
        let (facility, text) = (facility.trim(), text.trim());
        // Who asks for the lines of `debug` wants each of them; and an error event has the text of FAIL once more.
        if level > 6 || (level <= 3 && facility == "FAIL") {
            tracing::debug!(target: "librdkafka", facility, "{text}");
        } else {
            self.tell(Source::Librdkafka { level, facility: facility.to_owned() }, text, now);
        }
    }

    /// Says what was held back for long enough.
    pub(crate) fn tick(&self, now: Instant) {
        let said = self.repeats().due(now);
        said.iter().for_each(say);
    }

    /// Says all that is still held back.
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
