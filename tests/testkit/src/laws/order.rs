use std::task::Poll;

use futures_util::StreamExt;
use futures_util::future::poll_fn;
use futures_util::stream::FuturesUnordered;

use super::Applied;
use super::support::{WIDE, all_once, call, delivered, numbered, within};
use crate::random::Random;
use crate::{Broker as _, Fixture, LogRecord};

/// Law 1: 10,000 calls on one handle, polled in random order, are in each partition in the order of the calls.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If they are not.
pub async fn call_order_is_log_order<F: Fixture>(fixture: &F) -> Applied {
    const RECORDS: usize = 10_000;
    let mut open = fixture.open(WIDE, 3).await;
    let mut random = Random::new();
    let mut futures = Vec::with_capacity(RECORDS);
    for number in 0..RECORDS {
        let record = numbered(&open.topic, number).with_partition((number % 3) as i32);
        futures.push(call(&mut open.transport, record).await);
    }
    random.shuffle(&mut futures);
    let mut polled: FuturesUnordered<_> = futures.into_iter().collect();
    within(fixture.patience(), "10,000 records", async {
        while let Some(outcome) = polled.next().await {
            delivered(outcome);
        }
    })
    .await;
    let written = open.broker.read().await;
    assert_eq!(written.len(), RECORDS);
    let mut next = [0, 1, 2];
    for record in written {
        let partition = record.partition as usize;
        assert_eq!(record.number(), next[partition], "the call at offset {} of partition {partition}", record.offset);
        next[partition] += 3;
    }
    Ok(())
}

/// Law 2: dropping a future neither cancels its record nor keeps its room.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If it does.
pub async fn dropped_futures_deliver_and_give_their_room_back<F: Fixture>(fixture: &F) -> Applied {
    const RECORDS: usize = 1_000;
    let mut open = fixture.open(WIDE, 1).await;
    let mut kept = Vec::new();
    for number in 0..RECORDS {
        let future = call(&mut open.transport, numbered(&open.topic, number)).await;
        if number % 3 == 0 {
            kept.push(future);
        }
    }
    within(fixture.patience(), "flush", open.control.flush()).await.expect("flush");
    assert_eq!(open.control.in_flight(), kafka_tower_core::InFlight::default());
    for future in kept {
        delivered(within(fixture.patience(), "a kept future", future).await);
    }
    let numbers: Vec<_> = open.broker.read().await.iter().map(LogRecord::number).collect();
    assert!(numbers.is_sorted(), "in call order");
    all_once(numbers, RECORDS);
    Ok(())
}

/// A flush resolves when all earlier records are settled, and not before.
///
/// # Errors
///
/// [`NotApplicable`](crate::NotApplicable), if the broker cannot be paused.
///
/// # Panics
///
/// If it is early or never.
pub async fn flush_waits_for_earlier_records<F: Fixture>(fixture: &F) -> Applied {
    let mut open = fixture.open(WIDE, 1).await;
    open.broker.pause().await?;
    let future = call(&mut open.transport, numbered(&open.topic, 0)).await;
    let mut flush = open.control.flush();
    let early = poll_fn(|cx| Poll::Ready(flush.as_mut().poll(cx))).await;
    assert!(early.is_pending(), "the flush resolved before its record was settled");
    open.broker.resume().await;
    within(fixture.patience(), "flush", flush).await.expect("flush");
    delivered(within(fixture.patience(), "the record", future).await);
    Ok(())
}
