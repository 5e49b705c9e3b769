//! Errors for programs.

use kafka_tower::Error;
use serde::Serialize;

use crate::exit::Failure;

/// What is known of an error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorFacts {
    /// What happened, in `snake_case`.
    kind: String,
    message: String,
    help: String,
    /// What can be done: none for an error that is not the library's.
    recovery: Option<&'static str>,
}

impl From<&Error> for ErrorFacts {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().to_string(),
            message: error.message_with_causes(),
            help: error.help().to_owned(),
            recovery: Some(error.recovery().as_str()),
        }
    }
}

impl From<&Failure> for ErrorFacts {
    fn from(failure: &Failure) -> Self {
        let plain = |kind: &str, message: &str, help: &str| Self {
            kind: kind.to_owned(),
            message: message.to_owned(),
            help: help.to_owned(),
            recovery: None,
        };
        match failure {
            Failure::Usage { message, help } => plain("usage", message, help),
            Failure::Other { message, help } => plain("other", message, help),
            Failure::Sink(error) => error.into(),
            Failure::Source(error) => plain("source", &error.message_with_causes(), error.help()),
            Failure::PipeClosed => plain("pipe_closed", "the reader of the output has gone", ""),
        }
    }
}

/// The document of a command that could not go on.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    r#type: &'static str,
    error: ErrorFacts,
    exit_code: u8,
}

impl Failed {
    pub(crate) fn of(failure: &Failure) -> Self {
        Self { r#type: "error", error: failure.into(), exit_code: failure.end().code() }
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower::ErrorKind;

    use super::*;

    #[test]
    fn an_error_is_one_document() {
        let error = Error::new(ErrorKind::Timeout, "not delivered").with_help("look");
        let document = serde_json::to_string(&Failed::of(&Failure::Sink(error))).unwrap();
        assert_eq!(
            document,
            r#"{"type":"error","error":{"kind":"timeout","message":"not delivered","help":"look","recovery":"wait"},"exit_code":1}"#
        );
    }
}
