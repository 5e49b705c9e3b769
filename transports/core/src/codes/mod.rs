//! Kafka's error codes: name, kind, recovery, scope, text, and what each one says about the log.
//!
//! Numbers and names are those of `org.apache.kafka.common.protocol.Errors` in Apache Kafka 4.3.1. A transport turns
//! the code of an answer into an [`Error`] with [`error`], and its text into a message with [`describe`]:
//!
//! ```
//! use kafka_tower_core::{ErrorKind, Persistence, codes};
//!
//! let code = codes::NOT_ENOUGH_REPLICAS;
//! let facts = codes::find(code).expect("Kafka has this code");
//! let error = codes::error(code, facts.persistence, format!("not delivered to orders: {facts}"));
//! assert_eq!((error.kind(), error.persistence()), (ErrorKind::Broker, Persistence::NotPersisted));
//! assert_eq!(
//!     error.message(),
//!     "not delivered to orders: fewer replicas are in sync than min.insync.replicas asks for (NOT_ENOUGH_REPLICAS)"
//! );
//! ```

mod table;

use std::borrow::Cow;
use std::fmt;

pub use table::*;

use crate::{Error, ErrorKind, Persistence, Recovery, Scope};

/// Meaning of an error code for a producer.
///
/// [`find`] returns those of Kafka's codes. A transport whose client has codes of its own makes them with
/// [`new`](Self::new).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodeFacts {
    /// The code.
    pub code: i32,
    /// Kafka's name in capital letters, which is also the [`Error::error_type`].
    pub name: &'static str,
    /// Kind of the error.
    pub kind: ErrorKind,
    /// What the caller can do.
    pub recovery: Recovery,
    /// What the error applies to.
    pub scope: Scope,
    /// Whether the batch of a produce request that was answered with this code may be in the log.
    ///
    /// It holds for this request alone. If an earlier request with the same batch had no answer, the batch may be in
    /// the log whatever the later answer says: brokers check a batch before they look for a duplicate.
    pub persistence: Persistence,
    /// Line that says what to do, if the default one of the kind does not fit.
    pub help: Option<&'static str>,
    text: &'static str,
}

impl CodeFacts {
    /// Creates the facts of a code, with the kind's default recovery. `text` says in one line what happened; if it is
    /// empty, the name stands in for it.
    #[must_use]
    pub const fn new(
        code: i32,
        name: &'static str,
        kind: ErrorKind,
        scope: Scope,
        persistence: Persistence,
        text: &'static str,
    ) -> Self {
        Self { code, name, kind, recovery: kind.facts().recovery, scope, persistence, help: None, text }
    }

    /// Facts of a code with which no broker answers a producer, so an answer with it proves nothing about the log.
    const fn not_for_producers(code: i32, name: &'static str, recovery: Recovery) -> Self {
        Self::new(code, name, ErrorKind::Unknown, Scope::Record, Persistence::PossiblyPersisted, "")
            .with_recovery(recovery)
            .with_help("look the code up in Kafka's documentation: brokers do not answer producers with it")
    }

    /// Sets what the caller can do.
    #[must_use]
    pub const fn with_recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Sets the line that says what to do.
    #[must_use]
    pub const fn with_help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    /// Text that says in one line what happened, without the name of the code.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self.text {
            "" => self.name.to_lowercase().replace('_', " ").into(),
            text => text.into(),
        }
    }

    /// Creates an error with these facts.
    ///
    /// The persistence is an argument, because a transport may know more than an answer says, for example that an
    /// earlier request with the same record had no answer. For a request that was sent once, pass
    /// [`self.persistence`](Self::persistence).
    #[must_use]
    pub fn error(&self, persistence: Persistence, message: impl Into<Cow<'static, str>>) -> Error {
        let error = Error::new(self.kind, message)
            .with_recovery(self.recovery)
            .with_scope(self.scope)
            .with_error_type(self.name)
            .with_persistence(persistence);
        match self.help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

/// Prints the text and the name: "the partition has no leader now (`LEADER_NOT_AVAILABLE`)".
impl fmt::Display for CodeFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.name)
    }
}

/// Returns the facts of a code that Kafka 4.3.1 defines, except those of 0, which is no error.
#[must_use]
pub fn find(code: i32) -> Option<&'static CodeFacts> {
    TABLE.binary_search_by_key(&code, |facts| facts.code).ok().map(|at| &TABLE[at])
}

/// Iterates over all codes of Kafka 4.3.1 in ascending order.
pub fn all() -> impl Iterator<Item = &'static CodeFacts> {
    TABLE.iter()
}

/// Returns text and name of a code.
///
/// ```
/// use kafka_tower_core::codes::describe;
///
/// assert_eq!(describe(5), "the partition has no leader now (LEADER_NOT_AVAILABLE)");
/// assert_eq!(describe(134), "code 134, which Kafka 4.3.1 does not have");
/// ```
#[must_use]
pub fn describe(code: i32) -> String {
    find(code).map_or_else(|| format!("code {code}, which Kafka 4.3.1 does not have"), ToString::to_string)
}

/// Creates the error of an answer with a code. A code that Kafka 4.3.1 does not have is
/// [`Unknown`](ErrorKind::Unknown).
///
/// The persistence is an argument for the reason that [`CodeFacts::error`] gives. For a code without facts, pass
/// [`PossiblyPersisted`](Persistence::PossiblyPersisted).
#[must_use]
pub fn error(code: i32, persistence: Persistence, message: impl Into<Cow<'static, str>>) -> Error {
    match find(code) {
        Some(facts) => facts.error(persistence, message),
        None => Error::new(ErrorKind::Unknown, message)
            .with_scope(Scope::Batch)
            .with_persistence(persistence)
            .with_help("look the code up in the broker's documentation; a newer client may know it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_code_once() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        let mut names: Vec<_> = all().map(|facts| facts.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn each_code_of_kafka_4_3_1_has_facts() {
        assert!((-1..=133).filter(|code| *code != 0).all(|code| find(code).is_some_and(|facts| facts.code == code)));
        assert!(find(0).is_none() && find(134).is_none());
        assert_eq!(find(NOT_ENOUGH_REPLICAS).map(|facts| facts.name), Some("NOT_ENOUGH_REPLICAS"));
    }

    #[test]
    fn a_code_that_no_broker_returns_to_a_producer_is_possibly_persisted() {
        for code in all().filter(|facts| facts.kind == ErrorKind::Unknown) {
            assert_eq!(code.persistence, Persistence::PossiblyPersisted, "{code}");
        }
        let unknown = error(134, Persistence::PossiblyPersisted, "refused");
        assert_eq!((unknown.kind(), unknown.recovery()), (ErrorKind::Unknown, Recovery::Retry));
    }

    #[test]
    fn a_code_without_a_text_is_described_by_its_name() {
        assert_eq!(describe(TOPIC_ALREADY_EXISTS), "topic already exists (TOPIC_ALREADY_EXISTS)");
    }
}
