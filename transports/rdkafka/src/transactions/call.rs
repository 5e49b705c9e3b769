//! One transactional call: repeats librdkafka's call until it has an answer, and makes its error.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::error::transport::commit_in_doubt;
use kafka_tower_core::text::seconds;
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Result};

use super::ended_producer::EndedProducer;
use crate::classify;
use crate::codes;
use crate::ffi::TransactionError;
use crate::inner::TransportInner;

/// Maximum duration of one call of librdkafka, so that a close does not wait for a call without an answer. Only offsets take longer:
/// see [`lost_offsets`](super::lost_offsets).
pub(super) const SLICE: Duration = Duration::from_secs(1);

/// Pause before a call is repeated that librdkafka has refused at once, because another one is under way.
const PAUSE: Duration = Duration::from_millis(10);

/// Text of an abort without success.
pub(super) const NOT_ABORTED: &str = "the transaction was not aborted";

/// A transactional call that waits for the coordinator.
pub(crate) struct Call<'a> {
    inner: &'a TransportInner,
    since: Instant,
    pub(super) end: Instant,
}

impl<'a> Call<'a> {
    pub(crate) fn new(inner: &'a TransportInner, within: Duration) -> Self {
        Self::until(inner, later(Instant::now(), within))
    }

    pub(super) fn until(inner: &'a TransportInner, end: Instant) -> Self {
        Self { inner, since: Instant::now(), end }
    }

    /// Returns "; last broker error 0.4 s ago: …", if it is known why there is no answer.
    pub(super) fn because(&self, coordinator: bool) -> String {
        let why = self.inner.reason_for_call(self.since, coordinator, Instant::now());
        why.map(|why| format!("; {}", why.text)).unwrap_or_default()
    }

    pub(crate) fn error(&self, what: &str, error: &TransactionError, persistence: Persistence) -> Error {
        let made = if error.code == codes::LOCAL_TIMED_OUT && error.retriable {
            self.no_answer(what)
        } else {
            let text = Some(error.text.as_str()).filter(|text| !text.is_empty());
            let made = match (text, self.cause_of_fence(error)) {
                (text, None) => classify::client_error(error.code, what, text),
                (text, Some((cause, help))) => {
                    let text = format!("{}; likely cause: {cause}", text.unwrap_or("fenced"));
                    classify::client_error(error.code, what, Some(&text)).with_help(help)
                }
            };
            if error.retriable { made.with_help("call it again to keep waiting") } else { made }
        };
        let made = if error.fatal {
            made.with_recovery(Recovery::Fatal)
        } else if error.abort {
            made.with_recovery(Recovery::AbortTransaction)
        } else if error.retriable {
            made.with_recovery(Recovery::Retry)
        } else {
            made
        };
        made.with_persistence(persistence)
    }

    /// Text and help of the likely cause, if the producer was fenced.
    fn cause_of_fence(&self, error: &TransactionError) -> Option<(String, &'static str)> {
        codes::is_fence(error.code).then(|| ended_producer(self.inner, error.code).likely_cause())
    }

    /// Error of a call whose time ran out. librdkafka's text for it has no further information.
    fn no_answer(&self, what: &str) -> Error {
        let time = seconds(self.since.elapsed());
        let why = self.inner.reason_for_call(self.since, true, Instant::now());
        let because = match &why {
            Some(why) => format!("; {}", why.text),
            None => " from the transaction coordinator".to_owned(),
        };
        let error = Error::new(ErrorKind::Timeout, format!("{what}: no answer within {time}{because}"))
            .with_error_type("_TIMED_OUT");
        match why.and_then(|why| why.code) {
            Some(codes::COORDINATOR_NOT_AVAILABLE) => error.with_help(
                "call it again to keep waiting; if this persists, the brokers cannot create the transaction log: \
                 transaction.state.log.replication.factor (default 3) must not be larger than the number of brokers",
            ),
            _ => error.with_help("call it again to keep waiting"),
        }
    }
}

/// What is known of the producer, which has ended with this code.
pub(super) fn ended_producer(inner: &TransportInner, code: i32) -> EndedProducer {
    let generation = inner.generation.load(Ordering::Acquire);
    inner.transactions.ended_producer(&inner.client, generation, codes::is_fence(code), inner.transaction_timeout())
}

/// Repeats a call until it has a final answer, the time is up, or the producer has ended.
pub(super) fn sliced(
    call: &Call<'_>,
    ask: impl FnMut(Duration) -> Result<(), TransactionError>,
) -> Result<(), TransactionError> {
    repeated(call, &mut std::iter::repeat(SLICE), ask)
}

/// As [`sliced`], with these times for the calls. The last one is not repeated.
pub(super) fn repeated(
    call: &Call<'_>,
    slices: &mut dyn Iterator<Item = Duration>,
    mut ask: impl FnMut(Duration) -> Result<(), TransactionError>,
) -> Result<(), TransactionError> {
    let mut slice = slices.next().unwrap_or(SLICE);
    loop {
        let begun = Instant::now();
        let left = call.end.saturating_duration_since(begun);
        match ask(left.min(slice)) {
            Err(error) if error.retriable && !error.fatal => {
                // A fatal error can occur during the call, which continues to wait nevertheless.
                if let Some(ended) = fatal(call.inner) {
                    return Err(ended);
                }
                if Instant::now() >= call.end {
                    return Err(error);
                }
                let Some(next) = slices.next() else { return Err(error) };
                slice = next;
                if begun.elapsed() < PAUSE {
                    thread::sleep(PAUSE.min(left));
                }
            }
            answer => return answer,
        }
    }
}

/// The error that has ended the producer, if one has.
pub(super) fn fatal(inner: &TransportInner) -> Option<TransactionError> {
    let (code, text) = inner.client.fatal_error()?;
    Some(TransactionError { code, text, fatal: true, retriable: false, abort: false })
}

/// Error of a commit that the coordinator did not confirm.
pub(crate) fn commit_error(call: &Call<'_>, error: &TransactionError, fate: Persistence) -> Error {
    let error = call.error(commit_failed(fate), error, fate);
    if fate == Persistence::NotPersisted { error } else { commit_in_doubt(error) }
}

/// Text of a commit without success, by its persistence.
fn commit_failed(fate: Persistence) -> &'static str {
    match fate {
        Persistence::NotPersisted => "the transaction was not committed",
        _ => "it is not known whether the transaction was committed",
    }
}
