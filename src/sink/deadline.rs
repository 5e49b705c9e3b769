//! A send's deadline: a value in the message, and a timer only while the send waits for room.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower_core::text::seconds;
use kafka_tower_core::{Control, Error, ErrorKind, Persistence, SinkMessage};
use tokio::time::Sleep;

/// The time of tokio's clock, which tests can pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The message's deadline, or `since + budget` without one. `None` if that is beyond the range of the clock.
pub(super) fn of<T>(message: &SinkMessage<T>, since: Instant, budget: Duration) -> Option<Instant> {
    message.envelope().deadline.or_else(|| since.checked_add(budget))
}

/// Writes the deadline and the time budget into the message.
pub(super) fn stamp<T>(message: &mut SinkMessage<T>, since: Instant, budget: Duration) {
    let envelope = message.envelope_mut();
    let given = match envelope.deadline {
        Some(deadline) => deadline.saturating_duration_since(since),
        None => {
            envelope.deadline = since.checked_add(budget);
            budget
        }
    };
    envelope.set_given(given);
}

/// Timer of a send that waits for room.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Returns whether the deadline has passed. If not, the task is woken when it does.
    pub(super) fn is_over(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else {
            return false;
        };
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

/// Waits for a future for at most `time`. A timer is made only if the future is pending, because the runtime may have
/// none.
pub(super) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if time.is_zero() {
            return Poll::Ready(None);
        }
        timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(time))).as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Error of a message that found no room in time. Nothing was sent.
pub(super) fn no_room(since: Instant, deadline: Option<Instant>, control: &dyn Control) -> Error {
    let waited = now().saturating_duration_since(since);
    let text = match deadline.map_or(waited, |at| at.saturating_duration_since(since)) {
        Duration::ZERO => "there was no room for the record, and its deadline had passed before the call".to_owned(),
        // The budget that the caller gave, without the timer's delay.
        given => format!("there was no room for the record within {}", seconds(given)),
    };
    let cause = control.last_error().map(|cause| format!("; {cause}")).unwrap_or_default();
    Error::new(ErrorKind::Timeout, text + &cause)
        .with_persistence(Persistence::NotPersisted)
        .with_elapsed(waited)
        .with_help(
            "check whether the brokers keep up; otherwise send at a lower rate, or raise `buffer_memory` or \
             `send_timeout_ms`",
        )
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use kafka_tower_memory::MemoryKafka;
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn the_error_names_the_callers_time() {
        let control = MemoryKafka::new().transport().control();
        // The timer fired 20 ms late.
        let since = now() - Duration::from_millis(1_020);
        for (given, text) in [
            (Some(1_000), "there was no room for the record within 1 s"),
            (Some(0), "there was no room for the record, and its deadline had passed before the call"),
            (None, "there was no room for the record within 1 s"),
        ] {
            let error = no_room(since, given.map(|given| since + Duration::from_millis(given)), &*control);
            assert_eq!(error.message(), text);
            assert!(error.elapsed() >= Some(Duration::from_millis(1_020)));
            assert_consistent(&error);
        }
    }
}
