#[cfg(feature = "tower")]
use super::Persistence;
use super::{BoxError, Error, ErrorKind};

/// What a foreign layer made of an error, or its own.
///
/// Our own error is taken out again as it was, also from a chain of sources (`Buffer` and its kin wrap what they
/// pass on). tower's `Elapsed` is a [`Timeout`](ErrorKind::Timeout) and its `Overloaded` is
/// [`Overloaded`](ErrorKind::Overloaded), with the crate feature `tower`. Of anything else nothing is known, so
/// the record is [`PossiblyPersisted`](Persistence::PossiblyPersisted).
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
        let mut cause = error.source();
        while let Some(source) = cause {
            if let Some(ours) = source.downcast_ref::<Self>() {
                return ours.clone().alone();
            }
            cause = source.source();
        }
        foreign(error)
    }
}

#[cfg(feature = "tower")]
fn foreign(error: BoxError) -> Error {
    if error.is::<tower::timeout::error::Elapsed>() {
        Error::new(ErrorKind::Timeout, "the stack's time-out passed").with_persistence(Persistence::PossiblyPersisted)
    } else if error.is::<tower::load_shed::error::Overloaded>() {
        Error::new(ErrorKind::Overloaded, "the stack shed the load").with_persistence(Persistence::NotPersisted)
    } else {
        unknown(error)
    }
}

#[cfg(not(feature = "tower"))]
fn foreign(error: BoxError) -> Error {
    unknown(error)
}

fn unknown(error: BoxError) -> Error {
    Error::new(ErrorKind::Unknown, "a layer failed with an error of its own").with_source(error)
}
