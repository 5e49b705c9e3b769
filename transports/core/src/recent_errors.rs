//! Recent errors by place, until they end: partitions, brokers, the transaction coordinator, the client. Pure: the time
//! is an argument.
//!
//! A transport retries most errors by itself. It keeps them here, so that a time-out or
//! [`Control::last_error`](crate::Control::last_error) can name its cause.
//!
//! ```
//! use std::time::Instant;
//! use kafka_tower_core::codes;
//! use kafka_tower_core::recent_errors::{ErrorPlace, RecentError, RecentErrors};
//!
//! let mut errors = RecentErrors::default();
//! let place = ErrorPlace::Partition { topic: "orders".to_owned(), partition: 1 };
//! errors.push(RecentError::new(place, codes::NOT_ENOUGH_REPLICAS, "too few replicas are in sync", Instant::now()));
//! assert_eq!(errors.iter().next().unwrap().text, "too few replicas are in sync");
//!
//! errors.delivered("orders", 1);
//! assert!(errors.iter().next().is_none());
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::codes;

/// Maximum number of errors kept; the most recent ones stay.
const MAX_ERRORS: usize = 128;
/// How long a coordinator or a leader may be missing before it is logged: one that is created or moves is available
/// soon.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorPlace {
    /// A partition.
    Partition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A broker, by the transport's name for it.
    Broker(String),
    /// The transaction coordinator.
    Coordinator,
    /// The client.
    Client,
}

impl ErrorPlace {
    /// Whether it is this partition.
    #[must_use]
    pub fn is_partition(&self, topic: &str, partition: i32) -> bool {
        matches!(self, Self::Partition { topic: its, partition: at } if *at == partition && its == topic)
    }
}

/// The last error seen at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentError {
    /// The place.
    pub place: ErrorPlace,
    /// Kafka's or the transport's code; 0 without one.
    pub code: i32,
    /// Text of the error. Without times and counters, so that a repeat has the same text.
    pub text: String,
    /// Time of the first error in a row at this place.
    pub first: Instant,
    /// Time of the last error.
    pub last: Instant,
}

impl RecentError {
    /// Creates an error that was seen now for the first time.
    #[must_use]
    pub fn new(place: ErrorPlace, code: i32, text: impl Into<String>, now: Instant) -> Self {
        Self { place, code, text: text.into(), first: now, last: now }
    }

    /// Whether the error is that a partition has no leader. It lasts until there is a leader.
    #[must_use]
    pub fn has_no_leader(&self) -> bool {
        self.code == codes::LEADER_NOT_AVAILABLE && matches!(self.place, ErrorPlace::Partition { .. })
    }

    /// Whether the error should be logged now. A missing leader or coordinator should be logged only after a second,
    /// because one that is created or moves is available soon.
    #[must_use]
    pub fn is_worth_logging(&self, now: Instant) -> bool {
        let may_pass = self.place == ErrorPlace::Coordinator || self.has_no_leader();
        !may_pass || now.saturating_duration_since(self.first) >= PATIENCE
    }
}

/// At most 128 errors, in the order in which they were last seen.
#[derive(Debug, Default)]
pub struct RecentErrors(VecDeque<RecentError>);

impl RecentErrors {
    /// Adds an error, and returns it with the time of the first one in a row. One error is kept per place; errors of
    /// the client are kept per code and text.
    pub fn push(&mut self, mut error: RecentError) -> &RecentError {
        let same = |old: &RecentError| {
            old.place == error.place
                && (error.place != ErrorPlace::Client || (old.code == error.code && old.text == error.text))
        };
        if let Some(old) = self.0.iter().position(same).and_then(|at| self.0.remove(at)) {
            error.first = old.first;
        } else if self.0.len() == MAX_ERRORS {
            self.0.pop_front();
        }
        self.0.push_back(error);
        &self.0[self.0.len() - 1]
    }

    /// Ends the errors of a partition to which a record was delivered.
    pub fn delivered(&mut self, topic: &str, partition: i32) {
        self.0.retain(|error| !error.place.is_partition(topic, partition));
    }

    /// Ends the error that a partition has no leader.
    pub fn leader_is_available(&mut self, topic: &str, partition: i32) {
        self.0.retain(|error| !(error.has_no_leader() && error.place.is_partition(topic, partition)));
    }

    /// Ends the error of the transaction coordinator.
    pub fn coordinator_is_available(&mut self) {
        self.0.retain(|error| error.place != ErrorPlace::Coordinator);
    }

    /// Whether a delivery could end an error.
    #[must_use]
    pub fn has_partition_errors(&self) -> bool {
        self.0.iter().any(|error| matches!(error.place, ErrorPlace::Partition { .. }))
    }

    /// Iterates over the errors, the most recent one first.
    pub fn iter(&self) -> impl Iterator<Item = &RecentError> + Clone {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_partition(partition: i32, code: i32, now: Instant) -> RecentError {
        RecentError::new(ErrorPlace::Partition { topic: "t".to_owned(), partition }, code, "refused", now)
    }

    #[test]
    fn a_partition_keeps_its_last_error_and_the_time_of_its_first() {
        let (mut errors, start) = (RecentErrors::default(), Instant::now());
        let last = start + Duration::from_secs(9);
        errors.push(of_partition(0, codes::REQUEST_TIMED_OUT, start));
        errors.push(of_partition(1, codes::REQUEST_TIMED_OUT, start));
        errors.push(of_partition(0, codes::NOT_ENOUGH_REPLICAS, last));
        let seen: Vec<_> = errors.iter().map(|error| (error.code, error.first, error.last)).collect();
        assert_eq!(seen, [(codes::NOT_ENOUGH_REPLICAS, start, last), (codes::REQUEST_TIMED_OUT, start, start)]);
    }

    #[test]
    fn errors_of_the_client_are_kept_per_code_and_text() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        for (code, text) in [(-1, "a"), (-1, "b"), (-2, "b"), (-1, "a")] {
            errors.push(RecentError::new(ErrorPlace::Client, code, text, now));
        }
        assert_eq!(
            errors.iter().map(|error| (error.code, &*error.text)).collect::<Vec<_>>(),
            [(-1, "a"), (-2, "b"), (-1, "b")]
        );
    }

    #[test]
    fn a_delivery_ends_the_errors_of_its_partition() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        for partition in 0..2 {
            errors.push(of_partition(partition, codes::NOT_ENOUGH_REPLICAS, now));
        }
        errors.delivered("u", 1);
        errors.delivered("t", 1);
        assert_eq!(errors.iter().count(), 1);
        assert!(errors.has_partition_errors());
        errors.delivered("t", 0);
        assert!(!errors.has_partition_errors());
    }

    #[test]
    fn a_new_leader_ends_only_the_missing_leader_error() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        errors.push(of_partition(0, codes::NOT_ENOUGH_REPLICAS, now));
        errors.push(of_partition(1, codes::LEADER_NOT_AVAILABLE, now));
        errors.push(RecentError::new(ErrorPlace::Coordinator, codes::COORDINATOR_NOT_AVAILABLE, "none", now));
        (0..2).for_each(|partition| errors.leader_is_available("t", partition));
        let left = || [codes::COORDINATOR_NOT_AVAILABLE, codes::NOT_ENOUGH_REPLICAS];
        assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), left());
        errors.coordinator_is_available();
        assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), left()[1..]);
    }

    #[test]
    fn a_leader_that_is_missing_for_a_moment_is_not_logged() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        let missing = |now| of_partition(1, codes::LEADER_NOT_AVAILABLE, now);
        assert!(!errors.push(missing(now)).is_worth_logging(now));
        assert!(errors.push(missing(now + PATIENCE)).is_worth_logging(now + PATIENCE));
        assert!(errors.push(of_partition(0, codes::NOT_ENOUGH_REPLICAS, now)).is_worth_logging(now));
    }

    #[test]
    fn the_number_of_errors_is_bounded_and_the_newest_stay() {
        let (mut errors, now) = (RecentErrors::default(), Instant::now());
        for partition in 0..500 {
            errors.push(of_partition(partition, codes::REQUEST_TIMED_OUT, now));
        }
        assert_eq!(errors.0.len(), MAX_ERRORS);
        assert!(errors.iter().next().is_some_and(|error| error.place.is_partition("t", 499)));
    }
}
