use kafka_tower_core::{Error, ErrorKind, Result, Scope};

/// What a call says of the health of the service below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is well.
    Success,
    /// It is not.
    Failure,
    /// Nothing: the record was at fault, or nobody was asked.
    Neutral,
    /// Time ran out. The breaker counts a failure if Kafka's client had the record for long enough and nothing was delivered
    /// through the breaker meanwhile, else nothing: see the [module](super#time-outs-and-dropped-sends).
    Unanswered,
}

/// Judges the results of calls. Closures do, and [`DefaultClassifier`] is the default.
///
/// ```
/// use kafka_tower_core::{Delivery, ErrorKind, Result};
/// use kafka_tower_layers::circuit_breaker::{CircuitBreakerLayer, Classify, DefaultClassifier, Outcome};
///
/// let layer = CircuitBreakerLayer::default().classifier(|result: &Result<Delivery>| match result {
///     Err(error) if error.kind() == ErrorKind::Throttled => Outcome::Failure,
///     other => DefaultClassifier.classify(other),
/// });
/// # let _ = layer;
/// ```
pub trait Classify<R> {
    /// Judges one result. It must not block.
    fn classify(&self, result: &Result<R>) -> Outcome;
}

impl<R, F: Fn(&Result<R>) -> Outcome> Classify<R> for F {
    fn classify(&self, result: &Result<R>) -> Outcome {
        self(result)
    }
}

/// Judges by [`ErrorKind`], and time-outs as [`Outcome::Unanswered`]. See the [module](super#what-counts) for the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefaultClassifier;

impl<R> Classify<R> for DefaultClassifier {
    fn classify(&self, result: &Result<R>) -> Outcome {
        result.as_ref().map_or_else(of_error, |_| Outcome::Success)
    }
}

fn of_error(error: &Error) -> Outcome {
    match error.kind() {
        // A neighbour's fault: a record for which the broker closes the connection, or a topic that was made anew.
        ErrorKind::Connection | ErrorKind::Timeout if error.scope() == Scope::Batch => Outcome::Neutral,
        ErrorKind::Broker if error.scope() == Scope::Topic => Outcome::Neutral,
        // Nobody handed it over.
        ErrorKind::Timeout if error.unanswered().is_none() && !error.may_be_written() => Outcome::Neutral,
        ErrorKind::Timeout => Outcome::Unanswered,
        // The record's own fault, or the caller's.
        ErrorKind::Config
        | ErrorKind::Serialization
        | ErrorKind::InvalidRecord
        | ErrorKind::Refused
        | ErrorKind::RecordTooLarge
        | ErrorKind::Rejected
        | ErrorKind::UnknownTopicOrPartition
        | ErrorKind::Authorization
        | ErrorKind::Transaction
        // Kafka is there and asks for less.
        | ErrorKind::Throttled
        // Nobody asked Kafka.
        | ErrorKind::CircuitOpen
        | ErrorKind::Overloaded
        // Waiting heals neither.
        | ErrorKind::Closed
        | ErrorKind::Fenced => Outcome::Neutral,
        _ => Outcome::Failure,
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::Persistence;

    use super::*;

    #[test]
    fn only_what_speaks_of_kafkas_health_counts() {
        let outcome = |kind| DefaultClassifier.classify(&Err::<(), _>(Error::new(kind, "planted")));
        for kind in [
            ErrorKind::Connection,
            ErrorKind::Authentication,
            ErrorKind::Broker,
            ErrorKind::Fatal,
            ErrorKind::Callback,
            ErrorKind::Unknown,
        ] {
            assert_eq!(outcome(kind), Outcome::Failure, "{kind}");
        }
        for kind in [
            ErrorKind::Config,
            ErrorKind::Serialization,
            ErrorKind::InvalidRecord,
            ErrorKind::Refused,
            ErrorKind::RecordTooLarge,
            ErrorKind::Rejected,
            ErrorKind::UnknownTopicOrPartition,
            ErrorKind::Authorization,
            ErrorKind::Transaction,
            ErrorKind::Throttled,
            ErrorKind::CircuitOpen,
            ErrorKind::Overloaded,
            ErrorKind::Closed,
            ErrorKind::Fenced,
        ] {
            assert_eq!(outcome(kind), Outcome::Neutral, "{kind}");
        }
        assert_eq!(DefaultClassifier.classify(&Ok(())), Outcome::Success);
        assert_eq!(outcome(ErrorKind::Timeout), Outcome::Unanswered);
        let no_room = Error::new(ErrorKind::Timeout, "no room").with_persistence(Persistence::NotPersisted);
        assert_eq!(DefaultClassifier.classify(&Err::<(), _>(no_room)), Outcome::Neutral);
    }

    #[test]
    fn what_a_neighbour_or_a_topic_made_anew_has_spoilt_says_nothing_of_kafka() {
        let outcome =
            |kind, scope| DefaultClassifier.classify(&Err::<(), _>(Error::new(kind, "planted").with_scope(scope)));
        assert_eq!(outcome(ErrorKind::Connection, Scope::Batch), Outcome::Neutral);
        assert_eq!(outcome(ErrorKind::Timeout, Scope::Batch), Outcome::Neutral);
        assert_eq!(outcome(ErrorKind::Broker, Scope::Topic), Outcome::Neutral);
        for scope in [Scope::Batch, Scope::Partition, Scope::Broker] {
            assert_eq!(outcome(ErrorKind::Broker, scope), Outcome::Failure, "{scope:?}");
        }
        assert_eq!(outcome(ErrorKind::Connection, Scope::Broker), Outcome::Failure);
    }
}
