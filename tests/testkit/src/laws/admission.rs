use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{join_all, poll_fn};
use kafka_tower_core::gate::Limits;
use tokio::sync::oneshot;
use tower_service::Service as _;

use super::Applied;
use super::support::{all_once, call, delivered, numbered, within};
use crate::{Broker as _, Fixture, LogRecord};

/// Law 3: 10 records and 4,000 bytes, 10,000 sends by 64 tasks, 100 idle ready handles, a third of the futures dropped.
/// The limits are never exceeded, no send sees a full queue, and every send gets through.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If not.
pub async fn the_gate_is_exact_and_always_wakes<F: Fixture>(fixture: &F) -> Applied {
    const TASKS: usize = 64;
    const SENDS: usize = 10_000;
    let limits = Limits { records: 10, bytes: 4_000 };
    let open = fixture.open(limits, 4).await;
    let mut idle: Vec<_> = (0..100).map(|_| open.transport.clone()).collect();
    for handle in &mut idle {
        assert!(poll_fn(|cx| Poll::Ready(handle.poll_ready(cx))).await.is_ready(), "there is room");
    }
    let tasks = (0..TASKS).map(|task| {
        let mut transport = open.transport.clone();
        let (topic, control) = (Arc::clone(&open.topic), Arc::clone(&open.control));
        tokio::spawn(async move {
            let mut kept = Vec::new();
            for number in (task..SENDS).step_by(TASKS) {
                let padding = " ".repeat((number * 37 + task * 11) % 1_500);
                let record =
                    numbered(&topic, number).with_value(format!("{number}{padding}")).with_partition((task % 4) as i32);
                let future = call(&mut transport, record).await;
                let now = control.in_flight();
                assert!(now.records <= limits.records && now.bytes <= limits.bytes, "{now:?}");
                assert!(now.parked <= TASKS, "more than one parked on a handle: {now:?}");
                if number % 3 != 0 {
                    kept.push(future);
                }
            }
            join_all(kept).await.into_iter().for_each(|outcome| drop(delivered(outcome)));
        })
    });
    within(fixture.patience(), "10,000 sends", join_all(tasks))
        .await
        .into_iter()
        .for_each(|task| task.expect("a task"));
    within(fixture.patience(), "flush", open.control.flush()).await.expect("flush");
    let numbers: Vec<_> = open.broker.read().await.iter().map(LogRecord::number).collect();
    // Each task's own order is the order of the log.
    let mut last = [None; TASKS];
    for number in &numbers {
        let task = number % TASKS;
        assert!(last[task] < Some(*number), "task {task}: {number} after {:?}", last[task]);
        last[task] = Some(*number);
    }
    all_once(numbers, SENDS);
    drop(idle);
    Ok(())
}

/// Law 3: while nothing is answered, the transport admits exactly as many records, and as many bytes, as its limits allow,
/// and parks the others. After that it delivers all of them.
///
/// # Errors
///
/// [`NotApplicable`](crate::NotApplicable), if the broker cannot be paused.
///
/// # Panics
///
/// If it admits fewer or more, or loses one.
pub async fn the_limits_are_exact_in_records_and_bytes<F: Fixture>(fixture: &F) -> Applied {
    const RECORDS: usize = 20;
    for (limits, size, admitted) in
        [(Limits { records: 10, bytes: 100_000 }, 5, 10), (Limits { records: 1_000, bytes: 4_000 }, 1_500, 2)]
    {
        let mut open = fixture.open(limits, 1).await;
        open.broker.pause().await?;
        // One call on each handle, and without readiness.
        let mut handles = vec![open.transport.clone(); RECORDS];
        let call = |(number, handle): (usize, &mut F::Transport)| {
            handle.call(numbered(&open.topic, number).with_value(format!("{number:<size$}")))
        };
        let futures: Vec<_> = handles.iter_mut().enumerate().map(call).collect();
        let now = open.control.in_flight();
        let counts = (now.records, now.bytes, now.parked);
        assert_eq!(
            counts,
            (admitted, admitted * size, RECORDS - admitted),
            "records, bytes and parked within {limits:?}"
        );
        open.broker.resume().await;
        let outcomes = within(fixture.patience(), "all records", join_all(futures)).await;
        outcomes.into_iter().for_each(|outcome| drop(delivered(outcome)));
        all_once(open.broker.read().await.iter().map(LogRecord::number).collect(), RECORDS);
    }
    Ok(())
}

/// Laws 3 and 4: a full transport returns `Pending` and no error, and a delivery report wakes the waiting task.
///
/// # Errors
///
/// [`NotApplicable`](crate::NotApplicable), if the broker cannot be paused.
///
/// # Panics
///
/// If it is ready, fails, or does not wake.
pub async fn back_pressure_is_a_pending_that_wakes<F: Fixture>(fixture: &F) -> Applied {
    let mut open = fixture.open(Limits { records: 2, bytes: 1_000 }, 1).await;
    open.broker.pause().await?;
    let mut futures = Vec::new();
    for number in 0..2 {
        futures.push(call(&mut open.transport, numbered(&open.topic, number)).await);
    }
    // A task of its own is polled again only if it is woken.
    let (first_poll, polled) = oneshot::channel();
    let (mut first_poll, mut transport) = (Some(first_poll), open.transport.clone());
    let waiting = tokio::spawn(poll_fn(move |cx| {
        let ready = transport.poll_ready(cx);
        first_poll.take().map(|first_poll| first_poll.send(ready.is_pending()));
        ready
    }));
    assert!(polled.await.expect("the first poll"), "the transport is full, but `poll_ready` was ready");
    open.broker.resume().await;
    within(fixture.patience(), "a wake-up", waiting).await.expect("a task").expect("no error");
    for future in futures {
        delivered(within(fixture.patience(), "a record", future).await);
    }
    Ok(())
}
