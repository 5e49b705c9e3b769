use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{join_all, poll_fn};
use kafka_tower_core::gate::Limits;
use tower::Service;

use super::{all_once, call, delivered, numbered, silenced, within};
use crate::Subject;

/// Law 3: 10 records and 4,000 bytes, 10,000 sends by 64 tasks, 100 idle ready handles, a third of the futures dropped.
/// The limits are never exceeded, no send sees a full queue, and every send gets through.
///
/// # Panics
///
/// If not.
pub async fn the_gate_is_exact_and_always_wakes<S: Subject>(subject: &S) {
    const TASKS: usize = 64;
    const SENDS: usize = 10_000;
    let limits = Limits { records: 10, bytes: 4_000 };
    let open = subject.open(limits, 4).await;
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
                assert!(now.parked <= TASKS, "at most one a handle: {now:?}");
                if number % 3 != 0 {
                    kept.push(future);
                }
            }
            join_all(kept).await.into_iter().for_each(|outcome| drop(delivered(outcome)));
        })
    });
    within(subject.patience(), "10,000 sends", join_all(tasks))
        .await
        .into_iter()
        .for_each(|task| task.expect("a task"));
    within(subject.patience(), "flush", open.control.flush()).await.expect("flush");
    let numbers: Vec<_> = open.kafka.read().await.iter().map(crate::Written::number).collect();
    // Each task's own order is the order of the log.
    let mut last = [None; TASKS];
    for number in &numbers {
        let task = number % TASKS;
        assert!(last[task] < Some(*number), "task {task}: {number} after {:?}", last[task]);
        last[task] = Some(*number);
    }
    all_once(numbers, SENDS);
    drop(idle);
}

/// Laws 3 and 4: a full gate returns `Pending`, whose waker is woken by a delivery report, and no error.
///
/// # Panics
///
/// If not.
pub async fn back_pressure_is_a_pending_that_wakes<S: Subject>(subject: &S) {
    let mut open = subject.open(Limits { records: 2, bytes: 1_000 }, 1).await;
    if !silenced(&*open.kafka, "back_pressure_is_a_pending_that_wakes").await {
        return;
    }
    let mut futures = Vec::new();
    for number in 0..2 {
        futures.push(call(&mut open.transport, numbered(&open.topic, number)).await);
    }
    let full = poll_fn(|cx| Poll::Ready(open.transport.poll_ready(cx))).await;
    assert!(full.is_pending(), "the gate is full");
    open.kafka.answer().await;
    within(subject.patience(), "readiness", poll_fn(|cx| open.transport.poll_ready(cx))).await.expect("no error");
    for future in futures {
        delivered(within(subject.patience(), "a record", future).await);
    }
}
