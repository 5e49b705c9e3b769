//! Texts of an [`Error`]: its own line, and the line with its causes.

use std::error::Error as StdError;
use std::fmt::{self, Write};

use super::Error;

/// Prints one line: what happened, whether the record was written, and what to do. The cause is not included: it is
/// the [`source`](StdError::source), which `anyhow` and `eyre` print themselves. `{:#}` prints the whole chain of
/// causes in the same line, before the persistence.
///
/// An error that is the cause of another one prints only what happened: the outer error prints persistence and help.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if f.alternate() {
            f.write_str(&self.message_with_causes())?;
        } else {
            own_line(self, f)?;
        }
        if inner.is_cause {
            return Ok(());
        }
        if inner.of_record {
            write!(f, " ({})", inner.persistence)?;
        }
        if !self.help().is_empty() {
            write!(f, " [help: {}]", self.help())?;
        }
        Ok(())
    }
}

fn own_line(error: &Error, to: &mut impl Write) -> fmt::Result {
    to.write_str(error.message())?;
    if error.attempts() > 1 {
        write!(to, " after {} attempts", error.attempts())?;
    }
    Ok(())
}

pub(super) fn message_with_causes(error: &Error) -> String {
    let mut text = String::new();
    let _never_fails = own_line(error, &mut text);
    with_causes(text, error.source())
}

/// Appends the chain of causes to the text of an error. Prints a cause only once if the error above it already printed it, as many
/// foreign errors do.
#[must_use]
pub fn with_causes(mut text: String, mut cause: Option<&(dyn StdError + 'static)>) -> String {
    while let Some(error) = cause {
        let mut line = String::new();
        let _never_fails = match error.downcast_ref::<Error>() {
            Some(ours) => own_line(ours, &mut line),
            None => write!(line, "{error}"),
        };
        let is_printed = text.strip_suffix(line.as_str()).is_some_and(|before| before.ends_with(": "));
        if !line.is_empty() && !is_printed {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::{BoxError, Error, ErrorKind};

    /// Prints a chain as `anyhow` and `eyre` do with `{:#}`: each error's own text.
    fn chain(error: &dyn std::error::Error) -> String {
        let rest = error.source().map(|source| format!(": {}", chain(source))).unwrap_or_default();
        format!("{error}{rest}")
    }

    #[test]
    fn the_cause_is_printed_once_and_the_help_too() {
        let error = Error::serialization("the price is not a number");
        assert_eq!(
            error.to_string(),
            "the value could not be serialized (not written) [help: correct the value or its serializer]"
        );
        assert_eq!(
            format!("{error:#}"),
            "the value could not be serialized: the price is not a number (not written) \
             [help: correct the value or its serializer]"
        );
        let through_anyhow = chain(&error);
        assert_eq!(through_anyhow.matches("the price is not a number").count(), 1, "{through_anyhow}");
        assert_eq!(through_anyhow.matches("[help: ").count(), 1, "{through_anyhow}");
    }

    #[test]
    fn only_the_outer_of_two_kafka_tower_errors_prints_persistence_and_help() {
        let cut =
            Error::new(ErrorKind::Connection, "cut").with_attempts(3).with_source(BoxError::from("reset by peer"));
        let outer = Error::new(ErrorKind::Transaction, "commit: a part failed").with_source(cut.clone());
        assert_eq!(
            chain(&outer),
            "commit: a part failed (not written) [help: abort the transaction and replay it]: cut after 3 attempts: \
             reset by peer"
        );
        assert_eq!(
            format!("{outer:#}"),
            "commit: a part failed: cut after 3 attempts: reset by peer (not written) \
             [help: abort the transaction and replay it]"
        );
        let inner = std::error::Error::source(&outer).and_then(|source| source.downcast_ref::<Error>());
        let inner = inner.map(|inner| (inner.kind(), inner.persistence(), inner.help().to_owned()));
        assert_eq!(inner, Some((cut.kind(), cut.persistence(), cut.help().to_owned())), "its facts stay");

        // Taken out of the chain, the error prints its persistence and help again.
        let alone = Error::from(BoxError::from(Wraps(outer)));
        assert!(alone.to_string().ends_with("[help: abort the transaction and replay it]"), "{alone}");
    }

    #[derive(Debug)]
    struct Wraps<E>(E);

    impl<E: std::fmt::Display> std::fmt::Display for Wraps<E> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "the worker stopped: {}", self.0)
        }
    }

    impl<E: std::error::Error + 'static> std::error::Error for Wraps<E> {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_foreign_cause_that_prints_its_own_cause_is_not_printed_twice() {
        let io = std::io::Error::other("no such device");
        let error = Error::new(ErrorKind::Unknown, "a layer failed").with_source(Wraps(io));
        assert_eq!(error.message_with_causes(), "a layer failed: the worker stopped: no such device");
        let short = Error::new(ErrorKind::Unknown, "not now").with_source(BoxError::from("now"));
        assert_eq!(short.message_with_causes(), "not now: now", "the end of a word is no cause");
    }

    #[test]
    fn an_error_without_record_and_help_has_no_brackets() {
        let error = Error::new(ErrorKind::Connection, "cannot connect").without_record().with_help("");
        assert_eq!(error.to_string(), "cannot connect");
        assert_eq!(format!("{error:#}"), "cannot connect");
    }
}
