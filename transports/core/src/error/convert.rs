use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

#[cfg(feature = "tower")]
use super::Persistence;
use super::{BoxError, Error, ErrorKind};

/// Converts the boxed error of a tower stack: a foreign layer's error, or an [`Error`] that such a layer passed on.
///
/// The conversion searches the chain of sources for a known error and returns it unchanged, because layers such as
/// `Buffer` wrap the errors they pass on. Known errors are [`Error`] and, with the crate feature `tower`, the
/// `Elapsed` of tower and tokio ([`Timeout`](ErrorKind::Timeout)) and tower's `Overloaded`
/// ([`Overloaded`](ErrorKind::Overloaded)). Any other error becomes [`Unknown`](ErrorKind::Unknown) and
/// [`PossiblyPersisted`](super::Persistence::PossiblyPersisted). A layer that refuses a message should return
/// [`Error::refused`].
///
/// ```
/// use kafka_tower_core::{BoxError, Error, ErrorKind, Persistence};
///
/// let ours: BoxError = Error::new(ErrorKind::Closed, "the sink was closed").into();
/// assert_eq!(Error::from(ours).kind(), ErrorKind::Closed);
///
/// let foreign: BoxError = "something else".into();
/// assert_eq!(Error::from(foreign).persistence(), Persistence::PossiblyPersisted);
/// ```
impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(ours) => return ours.alone(),
            Err(foreign) => foreign,
        };
        match search(&*error) {
            Some(known) => known.alone(),
            None => Self::new(ErrorKind::Unknown, "a layer failed with an error of its own").with_source(error),
        }
    }
}

/// Returns the first known error in the chain of sources.
fn search(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let known = ours(error).cloned().or_else(|| tower(error));
        if known.is_some() {
            return known;
        }
        next = inner(error).or_else(|| error.source());
    }
    None
}

/// Returns our own error, also from behind an `Arc` or a `Box`: their `source` skips the error they point to.
fn ours<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    error
        .downcast_ref::<Error>()
        .or_else(|| error.downcast_ref::<Arc<Error>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Box<Error>>().map(|error| &**error))
}

/// Returns the error inside a standard-library wrapper whose `source` skips it.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().map(|inner| inner as _);
    }
    error.downcast_ref::<Arc<dyn StdError + Send + Sync>>().map(|inner| &**inner as _)
}

#[cfg(feature = "tower")]
fn tower(error: &(dyn StdError + 'static)) -> Option<Error> {
    if error.is::<tower::timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
        let error = Error::new(ErrorKind::Timeout, "a time-out layer of the stack elapsed");
        return Some(error.with_persistence(Persistence::PossiblyPersisted));
    }
    error.is::<tower::load_shed::error::Overloaded>().then(|| {
        Error::new(ErrorKind::Overloaded, "a load-shed layer of the stack refused the send")
            .with_persistence(Persistence::NotPersisted)
    })
}

#[cfg(not(feature = "tower"))]
fn tower(_: &(dyn StdError + 'static)) -> Option<Error> {
    None
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::super::Persistence;
    use super::*;

    /// A layer's error with a cause.
    #[derive(Debug)]
    struct Wrapped(BoxError);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a layer failed")
        }
    }

    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&*self.0)
        }
    }

    fn wrapped(error: impl Into<BoxError>) -> BoxError {
        Wrapped(Wrapped(error.into()).into()).into()
    }

    #[test]
    fn our_error_is_found_in_every_wrapper() {
        let ours = || Error::refused("planted");
        let shared: Arc<dyn StdError + Send + Sync> = Arc::new(Wrapped(ours().into()));
        let wrappings: [BoxError; 9] = [
            ours().into(),
            Box::new(Box::new(ours())),
            Box::new(Arc::new(ours())),
            wrapped(ours()),
            wrapped(Arc::new(ours())),
            Box::new(shared),
            io::Error::other(ours()).into(),
            wrapped(io::Error::other(wrapped(ours()))),
            // Our error as the cause of another one of ours: the outer one counts.
            wrapped(ours().with_source(Error::new(ErrorKind::Broker, "below"))),
        ];
        for wrapping in wrappings {
            let told = format!("{wrapping:?}");
            let error = Error::from(wrapping);
            assert_eq!(
                (error.kind(), error.persistence(), error.message()),
                (ErrorKind::Refused, Persistence::NotPersisted, "planted"),
                "{told}"
            );
        }
    }

    #[test]
    fn an_unknown_error_is_possibly_persisted() {
        for foreign in ["text".into(), wrapped("text"), io::Error::other("text").into()] {
            let error = Error::from(foreign);
            assert_eq!((error.kind(), error.persistence()), (ErrorKind::Unknown, Persistence::PossiblyPersisted));
            assert!(error.source().is_some());
        }
    }

    #[cfg(feature = "tower")]
    #[test]
    fn towers_own_errors_are_found_along_the_chain() {
        let elapsed = || tower::timeout::error::Elapsed::new();
        let shed = || tower::load_shed::error::Overloaded::new();
        for error in [elapsed().into(), wrapped(elapsed()), io::Error::other(elapsed()).into()] {
            let error = Error::from(error);
            assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
        }
        for error in [shed().into(), wrapped(shed())] {
            let error = Error::from(error);
            assert_eq!((error.kind(), error.persistence()), (ErrorKind::Overloaded, Persistence::NotPersisted));
        }
    }
}
