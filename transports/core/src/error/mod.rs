//! The error type of all sends: what happened, what can be done, whether the record may be in the log.
//!
//! Layers decide by these properties alone and never by a vendor's error code.

#[cfg(feature = "axum")]
mod axum;
mod convert;
mod display;
mod help;
mod http_problem;
mod kind;
pub mod transport;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::{borrow::Cow, result};

pub use display::with_causes;
pub use http_problem::HttpProblem;
pub use kind::{ErrorKind, Persistence, Recovery, Scope};

use crate::Record;
use crate::unanswered::Unanswered;

/// The boxed error of tower's middleware.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = result::Result<T, E>;

/// Error of a send or of a related call. One pointer wide; cloning copies the properties.
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
///     "not delivered to orders within 30 s (may have been written) [help: the record may still arrive: send it again only \
///      if a duplicate does no harm]"
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
    /// Replaces the kind's help text.
    help: Option<Cow<'static, str>>,
    attempts: u32,
    elapsed: Option<Duration>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// Describes the record of a time-out.
    unanswered: Option<Unanswered>,
    /// The record that failed, if its transport gives it back. Boxed: rare, and larger than all the rest.
    record: Option<Box<Record>>,
    /// Whether the text states the persistence of a record.
    of_record: bool,
    /// Whether this error is the source of another `Error`, which then prints persistence and help.
    is_cause: bool,
}

impl Error {
    /// Creates an error of a kind with the kind's default recovery, persistence, scope and help.
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
            retry_after: None,
            source: None,
            unanswered: None,
            record: None,
            of_record: !matches!(kind, ErrorKind::Config),
            is_cause: false,
        }))
    }

    /// Creates the error of a serializer that could not encode a value: nothing was sent.
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

    /// Creates the error of a layer, filter or serializer of the application that refused the message before it was
    /// sent: [`ErrorKind::Refused`], `NotPersisted`, [`Recovery::Reject`]. The circuit breaker does not count it and
    /// no layer retries it.
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

    /// What the caller can do.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.0.recovery
    }

    /// Whether the record may be in the log. `PossiblyPersisted` if it cannot be known.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        self.0.persistence
    }

    /// Whether the record is or may be in the log, so that sending it again may write it twice.
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

    /// What the error applies to: this record, its batch, or something larger.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// Low-cardinality name for metrics and spans (OpenTelemetry's `error.type`): Kafka's name of the error code if a
    /// broker or the client returned one, else the name of the kind; `_OTHER` for [`ErrorKind::Unknown`].
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        self.0.error_type.unwrap_or_else(|| self.0.kind.error_type())
    }

    /// One line that says what happened, without persistence, cause and help. Use it for logs, metrics and spans.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// One line that says what happened, the number of attempts, and each cause once; without persistence and help.
    ///
    /// For people, not for logs: a cause is the text of a serializer or a foreign layer and may contain parts of the
    /// record. Logs should use [`message`](Self::message).
    ///
    /// ```
    /// use kafka_tower_core::Error;
    ///
    /// let error = Error::serialization("the price is not a number");
    /// assert_eq!(error.message_with_causes(), "the value could not be serialized: the price is not a number");
    /// ```
    #[must_use]
    pub fn message_with_causes(&self) -> String {
        display::message_with_causes(self)
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

    /// Number of attempts to send the record.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Duration of the send, including all attempts and back-offs, if it was measured.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// Time after which another attempt makes sense, counted from when the error was made, if it is known: the rest of the
    /// open time of a circuit breaker.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The transport's description of the record of a time-out: how long Kafka's client had it, and its late report.
    #[must_use]
    pub fn unanswered(&self) -> Option<&Unanswered> {
        self.0.unanswered.as_ref()
    }

    /// Describes the record of a time-out. Transports call it, so that layers learn whether the record was handed to
    /// Kafka's client.
    #[must_use]
    pub fn with_unanswered(mut self, unanswered: Unanswered) -> Self {
        self.0.unanswered = Some(unanswered);
        self
    }

    /// Takes the record that failed, if the transport [gives records back](crate::Control::giver): as it was
    /// sent, to be sent again or kept elsewhere. Its ticket of a transaction is not given back.
    ///
    /// ```
    /// use kafka_tower_core::{Error, ErrorKind, Record};
    ///
    /// let mut error = Error::new(ErrorKind::Broker, "no leader").with_record(Record::new("orders"));
    /// assert_eq!(error.take_record().unwrap().topic.as_ref(), "orders");
    /// assert!(error.take_record().is_none());
    /// ```
    pub fn take_record(&mut self) -> Option<Record> {
        self.0.record.take().map(|record| *record)
    }

    /// Adds the record that failed. A transport that gives records back calls it.
    #[must_use]
    pub fn with_record(mut self, record: Record) -> Self {
        self.0.record = Some(Box::new(record));
        self
    }

    /// Sets what the caller can do.
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

    /// Marks the record as in doubt because of an earlier attempt, whatever is known about the last one: sets
    /// [`PossiblyPersisted`](Persistence::PossiblyPersisted) and puts `earlier` in front of the message.
    ///
    /// ```
    /// use kafka_tower_core::{Error, ErrorKind, Persistence};
    ///
    /// let last = Error::new(ErrorKind::Authorization, "not delivered to orders: this principal may not write to the topic");
    /// let error = last.in_doubt_since("an earlier attempt may have been written");
    /// assert_eq!(error.persistence(), Persistence::PossiblyPersisted);
    /// assert!(error.message().starts_with("an earlier attempt may have been written; last error: not delivered to orders"));
    /// ```
    #[must_use]
    pub fn in_doubt_since(mut self, earlier: &str) -> Self {
        self.0.persistence = Persistence::PossiblyPersisted;
        self.0.message = format!("{earlier}; last error: {}", self.0.message).into();
        self
    }

    /// Sets what the error applies to.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// Sets the name for metrics and spans. Use a small, fixed set of names.
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

    /// Sets the number of attempts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Sets the duration of the send.
    #[must_use]
    pub fn with_elapsed(mut self, elapsed: Duration) -> Self {
        self.0.elapsed = Some(elapsed);
        self
    }

    /// Removes the duration, for example if it covers only the last of several attempts.
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

    /// Sets the time after which another attempt makes sense.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Overloaded, "too many orders").with_retry_after(Duration::from_secs(5));
    /// assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    /// ```
    #[must_use]
    pub fn with_retry_after(mut self, time: Duration) -> Self {
        self.0.retry_after = Some(time);
        self
    }

    /// Marks the error as concerning no record, such as a failed connect: sets `NotPersisted`, and the text does not
    /// mention persistence.
    #[must_use]
    pub fn without_record(mut self) -> Self {
        self.0.persistence = Persistence::NotPersisted;
        self.0.of_record = false;
        self
    }

    /// Sets the cause. The text of this error does not repeat it: follow [`source`](StdError::source) or print with
    /// `{:#}`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::from(Self::into_cause(source)));
        self
    }

    /// Makes an error the cause of another one, which prints the help.
    #[doc(hidden)]
    #[must_use]
    pub fn into_cause(source: impl Into<BoxError>) -> BoxError {
        let mut source = source.into();
        if let Some(ours) = source.downcast_mut::<Self>() {
            ours.0.is_cause = true;
        }
        source
    }

    /// Returns an error that was the cause of another one as an error of its own.
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
            .field("retry_after", &inner.retry_after)
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
