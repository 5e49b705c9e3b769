//! Looks up offsets: those of the group, and those of places in a partition. librdkafka's calls for that block, so that each
//! has a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::text::seconds;
use kafka_tower_core::{Assignment, ControlFuture, Error, ErrorKind, GroupEvent, SeekTo, TopicPartition};
use tokio::sync::oneshot;

use super::shared::Shared;
use crate::ffi::consumer::ConsumerInstance;
use crate::{classify, codes, threads};

/// Time of the first question; it doubles.
const FIRST_QUESTION: Duration = Duration::from_millis(500);

/// Longest time of one question. A consumer that ends waits for it.
const MAX_QUESTION: Duration = Duration::from_secs(5);

/// How long the answer to an assignment waits for the offsets of the group, which waits for the answer.
const BEGIN: Duration = Duration::from_secs(5);

/// Time between two questions that were answered at once with an error.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) fn committed(
    shared: &Arc<Shared>,
    at: &[TopicPartition],
    within: Duration,
) -> ControlFuture<'static, Vec<Option<i64>>> {
    let what = format!("the offsets of the group {}", shared.subscription.group_id);
    ask(shared, what, within, committed_by_group(at))
}

fn committed_by_group(
    at: &[TopicPartition],
) -> impl Fn(&ConsumerInstance, Duration) -> Result<Vec<Option<i64>>, i32> + Send + use<> {
    let at = at.to_vec();
    move |instance, within| {
        let places = instance.committed(at.iter().map(|at| (&*at.topic, at.partition)), within)?;
        let offset = |at: &TopicPartition| {
            let mut found = places.iter().filter(|place| place.topic == *at.topic && place.partition == at.partition);
            match found.next() {
                Some(place) if place.code != 0 => Err(place.code),
                Some(place) => Ok((place.offset >= 0).then_some(place.offset)),
                None => Err(codes::LOCAL_INVALID_ARG),
            }
        };
        at.iter().map(offset).collect()
    }
}

pub(super) fn offset_of(
    shared: &Arc<Shared>,
    at: &TopicPartition,
    place: SeekTo,
    within: Duration,
) -> ControlFuture<'static, i64> {
    if let SeekTo::Offset(offset) = place {
        return Box::pin(std::future::ready(Ok(offset)));
    }
    let at = at.clone();
    ask(shared, format!("an offset of {at}"), within, move |instance, within| {
        if let SeekTo::Timestamp(time) = place {
            let found = instance.offset_since(&at.topic, at.partition, time.as_millis(), within)?;
            if let Some(offset) = found {
                return Ok(offset);
            }
        }
        let (first, end) = instance.ends(&at.topic, at.partition, within)?;
        Ok(if place == SeekTo::Beginning { first } else { end })
    })
}

/// Finds the range of a log that does not have an offset, in the background, and says it with an event. Gives up when the
/// partition is given back.
pub(super) fn find_range(shared: &Arc<Shared>, at: &Assignment, offset: i64) {
    let (asking, reading) = (Arc::clone(shared), at.clone());
    let asks = move || {
        let mut time = FIRST_QUESTION;
        loop {
            let lease = asking.lease().filter(|_| asking.state().leave.is_none());
            let Some(instance) = lease.as_ref().and_then(|lease| lease.instance()) else { return };
            if !asking.state().partitions.contains_key(&reading.at) {
                return;
            }
            if let Ok((start, end)) = instance.ends(&reading.at.topic, reading.at.partition, time) {
                let event = GroupEvent::OutOfRange { at: reading, offset, start, end };
                return asking.tell(|state| state.ahead.push_back(event));
            }
            drop(lease);
            thread::sleep(AGAIN);
            time = (2 * time).min(MAX_QUESTION);
        }
    };
    let thread = thread::Builder::new().name("kafka-tower-look-up".to_owned());
    if thread.spawn(asks).is_err() {
        // librdkafka finds it out of range once more.
        shared.tell(|state| state.read_again(at, offset));
    }
}

/// Looks up where the group's partitions begin, in the background, and tells the control thread. False if there is no thread.
///
/// librdkafka asks for that, too, but not again after an error, for example if the coordinator moves in this moment: then the
/// partitions would not be read until the next rebalance.
pub(super) fn begin(shared: &Arc<Shared>, number: u64, at: &[TopicPartition]) -> bool {
    let (asking, at) = (Arc::clone(shared), at.to_vec());
    let asks = move || {
        let question = committed_by_group(&at);
        let asks = || answer(&asking, "where partitions begin", BEGIN, || false, &question).ok();
        // The assignment waits for it in any case.
        let found = catch_unwind(AssertUnwindSafe(asks)).unwrap_or_default();
        asking.tell(|state| state.begins = Some((number, found)));
    };
    thread::Builder::new().name("kafka-tower-look-up".to_owned()).spawn(asks).is_ok()
}

/// Asks until there is an answer, or an error that will not change.
fn ask<T: Send + 'static>(
    shared: &Arc<Shared>,
    what: String,
    within: Duration,
    question: impl Fn(&ConsumerInstance, Duration) -> Result<T, i32> + Send + 'static,
) -> ControlFuture<'static, T> {
    let shared = Arc::clone(shared);
    Box::pin(async move {
        let (sender, receiver) = oneshot::channel();
        let asks = move || {
            let answer = answer(&shared, &what, within, || sender.is_closed(), &question);
            drop(sender.send(answer));
        };
        let thread = thread::Builder::new().name("kafka-tower-look-up".to_owned());
        thread.spawn(asks).map_err(|error| threads::no_thread(error).without_record())?;
        receiver.await.unwrap_or_else(|_| Err(threads::panicked("cannot look up an offset").without_record()))
    })
}

fn answer<T>(
    shared: &Shared,
    what: &str,
    within: Duration,
    given_up: impl Fn() -> bool,
    question: &impl Fn(&ConsumerInstance, Duration) -> Result<T, i32>,
) -> Result<T, Error> {
    let deadline = later(Instant::now(), within);
    let mut time = FIRST_QUESTION;
    loop {
        let lease = shared.lease().filter(|_| shared.state().leave.is_none());
        let Some(instance) = lease.as_ref().and_then(|lease| lease.instance()) else { return Err(closed(what)) };
        let left = deadline.saturating_duration_since(Instant::now());
        match question(instance, left.min(time)) {
            Ok(found) => return Ok(found),
            Err(code) if super::open::is_final(code) || left.is_zero() || given_up() => {
                return Err(not_found(code, what, within));
            }
            Err(_) => {}
        }
        drop(lease);
        thread::sleep(AGAIN);
        time = (2 * time).min(MAX_QUESTION);
    }
}

pub(crate) fn not_found(code: i32, what: &str, within: Duration) -> Error {
    let what = format!("cannot look up {what} within {}", seconds(within));
    classify::client_error(code, &what, None).without_record()
}

pub(crate) fn closed(what: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("cannot look up {what}: the consumer was closed")).without_record()
}
