//! The one error of all sends: what happened, what can be done, whether the record may be in the log.
//!
//! Layers decide on these facts alone and never on a vendor's code.

mod convert;
mod display;
mod help;
mod kind;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::{borrow::Cow, result};

pub use kind::{ErrorKind, Persistence, Recovery, Scope};

use crate::unanswered::Unanswered;

/// The boxed error of tower's middleware.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = result::Result<T, E>;

/// Why a send, or what belongs to it, did not go well. One pointer wide; a clone copies its facts.
///
/// ```
/// use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};
///
/// let error = Error::new(ErrorKind::Timeout, "not delivered to orders within 30 s")
///     .with_persistence(Persistence::PossiblyPersisted);
/// assert_eq!(error.recovery(), Recovery::Wait);
/// assert_eq!(error.message(), "not delivered to orders within 30 s");
/// assert_eq!(
///     error.to_string(),
///     "not delivered to orders within 30 s (may have been written) [help: the record may still arrive: do not send it again \
///      unless duplicates do no harm]"
/// );
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    recovery: Recovery,
    persistence: Persistence,
    scope: Scope,
    error_type: Option<&'static str>,
    message: Cow<'static, str>,
    /// In place of the kind's.
    help: Option<Cow<'static, str>>,
    attempts: u32,
    elapsed: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// Of a time-out.
    unanswered: Option<Unanswered>,
    /// Whether a record's fate is worth a word.
    of_record: bool,
    /// It is the source of another error of ours, whose text has the persistence and the help.
    is_cause: bool,
}

impl Error {
    /// An error of a kind, with the kind's own recovery, persistence, scope and help.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let facts = kind.facts();
        Self(Box::new(Inner {
            kind,
            recovery: facts.recovery,
            persistence: facts.persistence,
            scope: facts.scope,
            error_type: None,
            message: message.into(),
            help: None,
            attempts: 1,
            elapsed: None,
            source: None,
            unanswered: None,
            of_record: !matches!(kind, ErrorKind::Config),
            is_cause: false,
        }))
    }

    /// The error of a serializer that could not encode a value: nothing was sent.
    ///
    /// ```
    /// use kafka_tower_core::{Error, ErrorKind, Persistence};
    ///
    /// let error = Error::serialization("the price is not a number");
    /// assert_eq!(error.kind(), ErrorKind::Serialization);
    /// assert_eq!(error.persistence(), Persistence::NotPersisted);
    /// ```
    #[must_use]
    pub fn serialization(source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Serialization, "the value could not be serialized").with_source(source)
    }

    /// The error of a layer, filter or serializer of the application that refused the message before it was sent:
    /// [`ErrorKind::Refused`], `NotPersisted`, [`Recovery::Reject`]. The circuit breaker does not count it and no layer
    /// retries it.
    ///
    /// ```
    /// use kafka_tower_core::{BoxError, Error, ErrorKind, Persistence};
    ///
    /// // What a `tower::filter` predicate returns.
    /// fn at_most_ten(value: &str) -> Result<(), BoxError> {
    ///     if value.len() > 10 { Err(Error::refused("more than 10 bytes").into()) } else { Ok(()) }
    /// }
    ///
    /// let error = Error::from(at_most_ten("more than ten").unwrap_err());
    /// assert_eq!((error.kind(), error.persistence()), (ErrorKind::Refused, Persistence::NotPersisted));
    /// ```
    #[must_use]
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What can be done.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.0.recovery
    }

    /// Whether the record may be in the log. What cannot be known is `PossiblyPersisted`.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        self.0.persistence
    }

    /// Whether the record may be in the log, or is: then sending it again may write it twice.
    ///
    /// ```
    /// use kafka_tower_core::{Error, ErrorKind};
    ///
    /// assert!(!Error::new(ErrorKind::Closed, "the sink was closed").may_be_written());
    /// ```
    #[must_use]
    pub fn may_be_written(&self) -> bool {
        self.0.persistence != Persistence::NotPersisted
    }

    /// What the error is about: this record, its whole batch, or something larger.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// A name of low cardinality for metrics and spans (`error.type` of OpenTelemetry): Kafka's name of the
    /// code where a broker or the client gave one, else the kind's; `_OTHER` for [`ErrorKind::Unknown`].
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        self.0.error_type.unwrap_or_else(|| self.0.kind.error_type())
    }

    /// One line that says what happened, without persistence, cause and help: for logs, metrics and spans.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// One line that says what happened, how often it was tried, and each cause once; without persistence and help.
    ///
    /// For people. Logs take [`message`](Self::message): the cause is the text of a serializer or a foreign layer, and may hold parts
    /// of the record.
    ///
    /// ```
    /// use kafka_tower_core::Error;
    ///
    /// let error = Error::serialization("the price is not a number");
    /// assert_eq!(error.message_with_causes(), "the value could not be serialized: the price is not a number");
    /// ```
    #[must_use]
    pub fn message_with_causes(&self) -> String {
        display::with_causes(self)
    }

    /// One line that says what to do.
    #[must_use]
    pub fn help(&self) -> &str {
        let Inner { kind, persistence, recovery, of_record, .. } = *self.0;
        self.0.help.as_deref().unwrap_or_else(|| match of_record {
            true => kind.help(persistence, recovery),
            false => kind.help_of_call(recovery),
        })
    }

    /// How often the record was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long the send took, all attempts and what was between them, where that was measured.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// The record of a time-out, as the transport describes it: how long Kafka's client had it, and its late report.
    #[must_use]
    pub fn unanswered(&self) -> Option<&Unanswered> {
        self.0.unanswered.as_ref()
    }

    /// Describes the record of a time-out: for transports, so that layers learn whether it was handed over.
    #[must_use]
    pub fn with_unanswered(mut self, unanswered: Unanswered) -> Self {
        self.0.unanswered = Some(unanswered);
        self
    }

    /// Sets what can be done.
    #[must_use]
    pub fn with_recovery(mut self, recovery: Recovery) -> Self {
        self.0.recovery = recovery;
        self
    }

    /// Sets whether the record may be in the log.
    #[must_use]
    pub fn with_persistence(mut self, persistence: Persistence) -> Self {
        self.0.persistence = persistence;
        self.0.of_record |= persistence != Persistence::NotPersisted;
        self
    }

    /// Says that an earlier attempt left the record in doubt, whatever this last error knows of its own attempt:
    /// [`PossiblyPersisted`](Persistence::PossiblyPersisted), with the earlier attempt in the text.
    ///
    /// ```
    /// use kafka_tower_core::{Error, ErrorKind, Persistence};
    ///
    /// let last = Error::new(ErrorKind::Authorization, "not delivered to orders: this principal may not write to the topic");
    /// let error = last.in_doubt_since("an earlier attempt may have been written");
    /// assert_eq!(error.persistence(), Persistence::PossiblyPersisted);
    /// assert!(error.message().starts_with("an earlier attempt may have been written; the last one: not delivered to orders"));
    /// ```
    #[must_use]
    pub fn in_doubt_since(mut self, earlier: &str) -> Self {
        self.0.persistence = Persistence::PossiblyPersisted;
        self.0.message = format!("{earlier}; the last one: {}", self.0.message).into();
        self
    }

    /// Sets what the error is about.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// Sets the name for metrics and spans: one of a small, fixed set.
    #[must_use]
    pub fn with_error_type(mut self, name: &'static str) -> Self {
        self.0.error_type = Some(name);
        self
    }

    /// Sets the line that says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Sets how often the record was tried.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Sets how long the send took.
    #[must_use]
    pub fn with_elapsed(mut self, elapsed: Duration) -> Self {
        self.0.elapsed = Some(elapsed);
        self
    }

    /// Says that nobody knows how long the send took, as where this error's time is only that of the last of several attempts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Broker, "no leader").with_elapsed(Duration::from_millis(5));
    /// assert_eq!(error.without_elapsed().elapsed(), None);
    /// ```
    #[must_use]
    pub fn without_elapsed(mut self) -> Self {
        self.0.elapsed = None;
        self
    }

    /// Says that no record was concerned, as while connecting: then nothing was written, and the text does not speak
    /// of it.
    #[must_use]
    pub fn without_record(mut self) -> Self {
        self.0.persistence = Persistence::NotPersisted;
        self.0.of_record = false;
        self
    }

    /// Sets the cause. The text of this error does not repeat it: whoever prints errors follows
    /// [`source`](StdError::source), or uses `{:#}`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(match source.into().downcast::<Self>() {
            Ok(mut ours) => {
                ours.0.is_cause = true;
                Arc::new(*ours)
            }
            Err(foreign) => Arc::from(foreign),
        });
        self
    }

    /// This error by itself, where it was the cause of another one.
    fn alone(mut self) -> Self {
        self.0.is_cause = false;
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("message", &inner.message)
            .field("error_type", &self.error_type())
            .field("recovery", &inner.recovery)
            .field("persistence", &inner.persistence)
            .field("scope", &inner.scope)
            .field("attempts", &inner.attempts)
            .field("elapsed", &inner.elapsed)
            .field("source", &inner.source)
            .field("help", &self.help())
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}
