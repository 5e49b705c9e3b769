//! What happens to a message whose handling has failed. No clock, no lock, no async.

use std::borrow::Cow;
use std::time::Duration;

use kafka_tower_core::Error;
use kafka_tower_layers::dead_letter::FailedRecord;
use tower_service::Service;

use crate::source::letters::LetterService;

/// What [`serve`](crate::KafkaSource::serve) does with a message that was not handled: its service answered with an error,
/// panicked, or took too long.
///
/// ```
/// use std::time::Duration;
///
/// use kafka_tower::source::FailurePolicy;
///
/// let policy = FailurePolicy::retry(3).backoff(Duration::from_millis(100), Duration::from_secs(5)).then_skip();
/// # let _ = policy;
/// ```
#[derive(Clone, Debug)]
pub struct FailurePolicy {
    retries: u32,
    first: Duration,
    longest: Duration,
    last: Last,
}

/// What follows when no retry is left.
#[derive(Clone, Debug)]
enum Last {
    Fail,
    Skip,
    DeadLetter(LetterService),
}

/// What to do with a message that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Verdict {
    /// Handle it again after a delay.
    Retry(Duration),
    /// Settle it.
    Skip,
    /// Send its dead letter, then settle it.
    DeadLetter,
    /// End.
    Fail,
}

impl FailurePolicy {
    /// `serve` ends with the error. The message is not settled: it is read again after a restart. The default, because it is
    /// the only policy that loses nothing and repeats nothing without end.
    #[must_use]
    pub fn fail() -> Self {
        Self { retries: 0, first: Duration::from_secs(1), longest: Duration::from_secs(30), last: Last::Fail }
    }

    /// The message is settled as if it had been handled, with a warning that names its place.
    #[must_use]
    pub fn skip() -> Self {
        Self { last: Last::Skip, ..Self::fail() }
    }

    /// The message is handled again, at most so many times, after a [`backoff`](Self::backoff). Then as [`fail`](Self::fail).
    ///
    /// While it waits, it does not count for the concurrency, and the messages of its lane wait with it: retries keep the
    /// order of a key. `u32::MAX` retries without end.
    #[must_use]
    pub fn retry(times: u32) -> Self {
        Self { retries: times, ..Self::fail() }
    }

    /// Sets the delay before the first retry, which doubles with each further one, and the longest delay. Default: 1 s, 30 s.
    #[must_use]
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        Self { first, longest, ..self }
    }

    /// When no retry is left, the message is [skipped](Self::skip).
    #[must_use]
    pub fn then_skip(self) -> Self {
        Self { last: Last::Skip, ..self }
    }

    /// When no retry is left, the message is sent to a dead letter topic, and settled when its dead letter is delivered.
    /// `service` is usually a [`DeadLetter`](crate::layers::dead_letter) over a transport or a sink.
    ///
    /// Until then the messages of its lane wait. If the dead letter is not delivered, or only possibly, `serve` ends with an
    /// error of the kind [`DeadLetter`](crate::source::SourceErrorKind::DeadLetter), and the message is read again after a restart.
    ///
    /// The source keeps the original bytes of each value from then on. If you have received messages from it before `serve`,
    /// build it with [`keep_raw`](crate::source::SourceBuilder::keep_raw), because it may have read more than you received.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use kafka_tower::layers::dead_letter::DeadLetterLayer;
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::source::FailurePolicy;
    /// use kafka_tower::{KafkaSource, KafkaSourceConfig, Record, SourceMessage};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// async fn store(_: SourceMessage<u32>) -> Result<(), std::io::Error> {
    ///     Err(std::io::Error::other("the database does not want it"))
    /// }
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("orders.dlq", 3);
    /// # kafka.transport().oneshot(Record::new("orders").with_partition(2).with_value("7")).await?;
    /// let letters = ServiceBuilder::new().layer(DeadLetterLayer::default()).service(kafka.transport());
    /// let config =
    ///     KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() };
    /// let source = KafkaSource::<u32>::builder(config).transport(kafka.clone()).build().await?;
    /// let report = source
    ///     .serve(service_fn(store))
    ///     .on_failure(FailurePolicy::retry(3).then_dead_letter(letters))
    ///     .until(tokio::time::sleep(Duration::from_secs(20)))
    ///     .await?;
    /// assert_eq!((report.dead_lettered, kafka.records("orders.dlq")[0].value().unwrap()), (1, &"7".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn then_dead_letter<S>(self, service: S) -> Self
    where
        S: Service<FailedRecord> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Error>,
    {
        Self { last: Last::DeadLetter(LetterService::new(service)), ..self }
    }

    pub(in crate::source) fn letters(&self) -> Option<&LetterService> {
        match &self.last {
            Last::DeadLetter(service) => Some(service),
            Last::Fail | Last::Skip => None,
        }
    }

    /// Decides about a message whose attempt, counted from 1, has failed.
    pub(in crate::source) fn decide(&self, attempt: u32) -> Verdict {
        let attempt = attempt.max(1);
        if attempt <= self.retries {
            return Verdict::Retry(self.first.saturating_mul(1 << (attempt - 1).min(31)).min(self.longest));
        }
        match self.last {
            Last::Fail => Verdict::Fail,
            Last::Skip => Verdict::Skip,
            Last::DeadLetter(_) => Verdict::DeadLetter,
        }
    }
}

impl Default for FailurePolicy {
    /// [`FailurePolicy::fail`].
    fn default() -> Self {
        Self::fail()
    }
}

/// Answer of a service to a message.
///
/// A service with the response `()` acknowledges each message that it answers with `Ok`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// The message was handled.
    #[default]
    Ack,
    /// The message is settled without having been handled, with a warning that has this reason.
    Skip(Cow<'static, str>),
    /// The message is sent to the dead letter topic of the [`FailurePolicy`], with this reason, and settled when its dead letter
    /// is delivered. The reason is written into a header: do not put contents of the message into it. Without
    /// [`then_dead_letter`](FailurePolicy::then_dead_letter), `serve` ends with an error.
    DeadLetter(Cow<'static, str>),
    /// Handle the message again after this time, whatever the [`FailurePolicy`]. Messages of its lane wait.
    Retry(Duration),
}

impl From<()> for Settlement {
    fn from((): ()) -> Self {
        Self::Ack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_counted_and_their_delays_double() {
        let seconds = |policy: &FailurePolicy, attempt| match policy.decide(attempt) {
            Verdict::Retry(delay) => Some(delay.as_secs()),
            _ => None,
        };
        let policy = FailurePolicy::retry(7);
        let delays: Vec<_> = (1..9).map(|attempt| seconds(&policy, attempt)).collect();
        assert_eq!(delays, [Some(1), Some(2), Some(4), Some(8), Some(16), Some(30), Some(30), None]);
        assert_eq!(policy.decide(8), Verdict::Fail);
        assert_eq!(policy.then_skip().decide(8), Verdict::Skip);
        assert_eq!(seconds(&FailurePolicy::retry(u32::MAX), u32::MAX), Some(30));
        assert_eq!(
            (FailurePolicy::default().decide(1), FailurePolicy::skip().decide(1)),
            (Verdict::Fail, Verdict::Skip)
        );
        let policy = FailurePolicy::retry(1).backoff(Duration::ZERO, Duration::ZERO);
        assert_eq!(policy.decide(1), Verdict::Retry(Duration::ZERO));
    }
}
