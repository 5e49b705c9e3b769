use kafka_tower_core::{Error, ErrorKind, Result, Scope};

/// What the result of a call says about the health of the service below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service is healthy.
    Success,
    /// The service is failing.
    Failure,
    /// Nothing: the record was at fault, or the service was not called.
    Neutral,
    /// The call timed out. The breaker counts a failure if Kafka's client had the record for long enough and nothing
    /// was delivered through the breaker meanwhile. Otherwise the time-out is neutral. See the
    /// [module](super#time-outs-and-dropped-sends).
    Unanswered,
}

/// Judges the results of calls. Implemented for closures. Default: [`DefaultClassifier`].
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
    /// Judges one result. Must not block.
    fn classify(&self, result: &Result<R>) -> Outcome;
}

impl<R, F: Fn(&Result<R>) -> Outcome> Classify<R> for F {
    fn classify(&self, result: &Result<R>) -> Outcome {
        self(result)
    }
}

/// Judges by [`ErrorKind`], with time-outs as [`Outcome::Unanswered`]. See the [module](super#what-counts) for the
/// table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefaultClassifier;

impl<R> Classify<R> for DefaultClassifier {
    fn classify(&self, result: &Result<R>) -> Outcome {
        result.as_ref().map_or_else(of_error, |_| Outcome::Success)
    }
}

fn of_error(error: &Error) -> Outcome {
    match error.kind() {
        // Caused by another record or by the topic: the broker closed the connection for one record of the batch, or
        // the topic was recreated.
        ErrorKind::Connection | ErrorKind::Timeout if error.scope() == Scope::Batch => Outcome::Neutral,
        ErrorKind::Broker if error.scope() == Scope::Topic => Outcome::Neutral,
        // The record was not handed to Kafka's client.
        ErrorKind::Timeout if error.unanswered().is_none() && !error.may_be_written() => Outcome::Neutral,
        ErrorKind::Timeout => Outcome::Unanswered,
        // The fault of the record or of the caller.
        ErrorKind::Config
        | ErrorKind::Serialization
        | ErrorKind::InvalidRecord
        | ErrorKind::Refused
        | ErrorKind::RecordTooLarge
        | ErrorKind::Rejected
        | ErrorKind::UnknownTopicOrPartition
        | ErrorKind::Authorization
        | ErrorKind::Transaction
        // Kafka is reachable and asks for a lower rate.
        | ErrorKind::Throttled
        // Kafka was not asked.
        | ErrorKind::CircuitOpen
        | ErrorKind::Overloaded
        // Waiting does not help.
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
    fn only_results_about_kafkas_health_count() {
        let outcome = |kind| DefaultClassifier.classify(&Err::<(), _>(Error::new(kind, "planted")));
        for kind in
            [ErrorKind::Connection, ErrorKind::Authentication, ErrorKind::Broker, ErrorKind::Fatal, ErrorKind::Unknown]
        {
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
    fn failures_of_other_records_or_recreated_topics_are_neutral() {
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
