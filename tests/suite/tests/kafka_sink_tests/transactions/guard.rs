//! The guard.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::{StreamExt, stream};
use kafka_tower::{Limits, SinkMessage};
use tower::{Service, ServiceExt};

use super::*;

/// Polls once with a waker that does nothing.
fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Asserts that a send which began outside of the guard sends nothing.
#[track_caller]
fn assert_guarded<T: std::fmt::Debug>(result: Result<T>) {
    assert_misuse(result, "belongs to its `Transaction`", "`Transaction`");
}

/// Sends this number in the next transaction, and asserts that it alone is committed.
async fn assert_only_the_next_is_committed(kafka: &MemoryKafka, sink: &KafkaSink<u32>, number: u32) {
    let tx = sink.transaction().await.unwrap();
    tx.send(number).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(committed(kafka), [number]);
}

#[tokio::test(start_paused = true)]
async fn what_the_guard_sends_is_committed_or_aborted() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    assert!(tx.send_batch([2, 3]).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(
        tx.send_stream(stream::iter([4, 5])).filter(|result| std::future::ready(result.is_ok())).count().await,
        2
    );
    let group =
        ConsumerGroup { group_id: "g".into(), generation: -1, member_id: String::new(), group_instance_id: None };
    tx.send_offsets(vec![TopicOffset { topic: "input".into(), partition: 0, offset: 7 }], group).await.unwrap();
    assert!(committed(&kafka).is_empty());
    tx.commit().await.unwrap();
    assert_eq!(committed(&kafka), [1, 2, 3, 4, 5]);

    let tx = sink.transaction().await.unwrap();
    tx.send(6).await.unwrap();
    tx.abort().await.unwrap();
    let tx = sink.transaction().await.unwrap();
    tx.send(7).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(committed(&kafka), [1, 2, 3, 4, 5, 7]);
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_send_past_the_guard_is_refused() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    assert_guarded(sink.send(2).await);
    assert_guarded(sink.clone().send(2).await);
    assert_guarded(sink.send_batch([2, 3]).await);
    let results: Vec<_> = sink.send_stream(stream::iter([2, 3])).collect().await;
    assert_eq!(results.len(), 2);
    results.into_iter().for_each(assert_guarded);
    let mut handle = sink.clone();
    assert_guarded(handle.ready().await.unwrap().call(SinkMessage::new(2)).await);
    // Dropped without a look at the error: none of them is missing from the transaction.
    drop(handle.ready().await.unwrap().call(SinkMessage::new(2)));
    let mut refused = sink.send_batch([2, 3]);
    assert!(once(&mut refused).is_ready());
    drop(refused);
    drop(sink.send_stream(stream::iter([2, 3])));
    tx.commit().await.unwrap();
    assert_eq!(committed(&kafka), [1]);
    assert_eq!(sink.metrics().await.messages_failed, 8);
}

/// The manual calls are shared by all clones.
#[tokio::test(start_paused = true)]
async fn in_a_manual_transaction_every_clone_sends() {
    let (kafka, sink) = stage().await;
    sink.begin_transaction().await.unwrap();
    sink.send(1).await.unwrap();
    sink.clone().send(2).await.unwrap();
    sink.clone().commit_transaction().await.unwrap();
    assert_eq!(committed(&kafka), [1, 2]);
}

/// A send that waits for room when the guard begins does not join it.
#[tokio::test(start_paused = true)]
async fn a_send_that_began_before_the_guard_does_not_join_it() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let limits = Limits { records: 1, bytes: 1_000 };
    let transport = kafka.producer().limits(limits).transactional("id").transport();
    let sink = KafkaSink::<u32>::builder(config()).transport(transport).build().await.unwrap();
    let hold = kafka.script().always().hold();
    sink.begin_transaction().await.unwrap();
    let (mut first, mut waits) = (sink.send(1), sink.send(2));
    assert!(once(&mut first).is_pending() && once(&mut waits).is_pending());
    let abort = tokio::spawn({
        let sink = sink.clone();
        async move { sink.abort_transaction().await }
    });
    tokio::task::yield_now().await;
    hold.release();
    abort.await.unwrap().unwrap();
    let tx = sink.transaction().await.unwrap();
    assert_misuse(waits.await, "began before the current transaction", "next transaction");
    tx.send(3).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(committed(&kafka), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_guard_aborts_in_the_background() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    let (late, mut in_flight) = (tx.send(2), tx.send(3));
    let hold = kafka.script().always().hold();
    assert!(once(&mut in_flight).is_pending());
    drop(tx);
    assert_misuse(late.await, "has ended", "before its transaction is ended");
    assert_misuse(sink.send(4).await, "dropped without an end", "begin the next transaction");
    hold.release();
    // The abort is not done yet: the next one waits for it.
    let next = sink.transaction().await.unwrap();
    next.send(5).await.unwrap();
    next.commit().await.unwrap();
    assert_eq!(committed(&kafka), [5]);
}

/// A send that waited for room when its guard was dropped, and finds it before the abort is done.
#[tokio::test(start_paused = true)]
async fn a_send_of_a_dropped_guard_that_finds_room_is_not_sent() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let limits = Limits { records: 1, bytes: 1_000 };
    let transport = kafka.producer().limits(limits).transactional("id").transport();
    let sink = KafkaSink::<u32>::builder(config()).transport(transport).build().await.unwrap();
    let hold = kafka.script().always().hold();
    let tx = sink.transaction().await.unwrap();
    let (mut first, mut waits) = (tx.send(1), tx.send(2));
    assert!(once(&mut first).is_pending() && once(&mut waits).is_pending());
    drop(tx);
    hold.release();
    assert!(once(&mut first).is_ready());
    assert_misuse(waits.await, "has ended", "before its transaction is ended");
    sink.in_transaction(async |tx| tx.send(3).await.map(drop)).await.unwrap();
    assert_eq!((committed(&kafka), kafka.len("numbers")), (vec![3], 2));
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_first_polled_after_the_end_joins_no_transaction() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    let sends = [tx.send(1), tx.send(2)];
    tx.commit().await.unwrap();
    let [first, second] = sends;
    assert_misuse(first.await, "the transaction of this send has ended", "before its transaction is ended");
    let tx = sink.transaction().await.unwrap();
    assert_misuse(second.await, "the transaction of this send has ended", "before its transaction is ended");
    tx.send(3).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((committed(&kafka), kafka.len("numbers")), (vec![3], 1));
}

/// Another producer has taken over, so nothing is left to abort.
#[tokio::test(start_paused = true)]
async fn a_dropped_guard_of_a_fenced_producer_is_over() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    let other = kafka.transactional_transport("id");
    other.control().transactions().unwrap().init(TIME).await.unwrap();
    drop(tx);
    assert_eq!(sink.transaction().await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(sink.send(2).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert!(committed(&kafka).is_empty());
}

/// Each way to go on waits for the abort of the dropped transaction, and none aborts the next one.
#[tokio::test(start_paused = true)]
async fn the_abort_of_a_dropped_guard_never_meets_the_next_transaction() {
    for late in [false, true] {
        let (kafka, sink) = stage().await;
        if late {
            kafka.script_transactions().on(TransactionCall::Abort).delay(TIME / 2);
        }
        for n in 1..10 {
            let tx = sink.transaction().await.unwrap();
            tx.send(0).await.unwrap();
            drop(tx);
            if n % 3 == 0 {
                tokio::task::yield_now().await; // the background task begins
            }
            sink.begin_transaction().await.unwrap();
            sink.send(n).await.unwrap();
            tokio::task::yield_now().await;
            sink.commit_transaction().await.unwrap();
        }
        assert_eq!(committed(&kafka), (1..10).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_in_the_background_that_has_no_answer_is_repeated_by_the_next_begin() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    let lost = kafka.script_transactions().on(TransactionCall::Abort).always().lose_request();
    drop(tx);
    tokio::time::sleep(2 * TIME).await;
    let error = sink.transaction().await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Timeout, Recovery::Retry), "{error:#}");
    assert_misuse(sink.send(2).await, "dropped without an end", "begin the next transaction");
    lost.cancel();
    assert_only_the_next_is_committed(&kafka, &sink, 3).await;
}

/// Without a runtime nothing runs in the background.
#[test]
fn outside_of_a_runtime_the_next_begin_or_the_close_aborts_a_dropped_guard() {
    let run = |future: Pin<Box<dyn Future<Output = ()>>>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(future);
    };
    for close in [false, true] {
        let kafka = MemoryKafka::new().with_topic("numbers", 1);
        let (mut tx, mut sink) = (None, None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let made = sink.insert(sink_over(&kafka).await);
            let begun = tx.insert(made.transaction().await.unwrap());
            begun.send(1).await.unwrap();
        });
        drop(tx);
        let (sink, of_kafka) = (sink.unwrap(), kafka.clone());
        run(Box::pin(async move {
            assert_misuse(sink.send(2).await, "dropped without an end", "begin the next transaction");
            if !close {
                let tx = sink.transaction().await.unwrap();
                tx.send(3).await.unwrap();
                tx.commit().await.unwrap();
            }
            sink.close().await.unwrap();
            assert_eq!(committed(&of_kafka), if close { vec![] } else { vec![3] });
        }));
        // Readers of committed records are not held back.
        assert_eq!(kafka.records("numbers").len(), if close { 1 } else { 2 });
    }
}

/// A begin that is given up opens nothing for good.
#[tokio::test(start_paused = true)]
async fn a_begin_that_was_dropped_leaves_no_owner_behind() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    kafka.script_transactions().on(TransactionCall::Abort).delay(TIME / 2);
    drop(tx);
    tokio::task::yield_now().await;
    let begin = tokio::time::timeout(TIME / 10, sink.transaction()).await;
    begin.expect_err("it waits for the abort");
    assert_only_the_next_is_committed(&kafka, &sink, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_aborts_and_says_so() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    kafka.script().lose_request();
    tx.send(2).await.unwrap_err();
    let error = tx.commit().await.unwrap_err();
    let refused = (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted);
    assert!(error.help().contains("was aborted"), "{error:#}");
    assert_eq!(facts(Err::<(), _>(error)), refused);
    assert_only_the_next_is_committed(&kafka, &sink, 3).await;
}

/// A dropped commit goes on if the coordinator was asked, and is an abort otherwise.
#[tokio::test(start_paused = true)]
async fn a_dropped_commit_is_continued_by_the_sink() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    kafka.script_transactions().on(TransactionCall::Commit).delay(TIME / 2);
    tokio::time::timeout(TIME / 10, tx.commit()).await.expect_err("the coordinator is slow");
    assert!(sink.transaction().await.is_err(), "the commit is under way");
    sink.commit_transaction().await.unwrap();
    assert_eq!(committed(&kafka), [1]);
    sink.transaction().await.unwrap().commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_guard_can_be_used_by_many_tasks() {
    let (kafka, sink) = stage().await;
    let tx = std::sync::Arc::new(sink.transaction().await.unwrap());
    let sends: Vec<_> = (0..20)
        .map(|n| {
            let tx = std::sync::Arc::clone(&tx);
            tokio::spawn(async move { tx.send(n).await.map(drop) })
        })
        .collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    std::sync::Arc::into_inner(tx).unwrap().commit().await.unwrap();
    assert_eq!(committed(&kafka).len(), 20);
}

/// The close aborts the transaction of a guard, which can do nothing afterwards.
#[tokio::test(start_paused = true)]
async fn a_close_ends_the_transaction_of_a_guard() {
    let (kafka, sink) = stage().await;
    let tx = sink.transaction().await.unwrap();
    tx.send(1).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(tx.send(2).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(committed(&kafka).is_empty());
}
