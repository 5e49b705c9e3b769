//! What a user of `transactional` sees.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::source::{Acked, DecodePolicy, FailurePolicy, Order, SourceErrorKind, SourceRecovery};
use kafka_tower::{CommitStrategy, Error, SinkMessage, SourceMessage};
use tokio::time::{Instant, sleep};

use super::support::{
    BILLS, assert_exactly_once, bill, bills, ended, filled, finish, kafka, members, pass, settings, sink, until_idle,
};
use crate::support::{
    LONG, SECOND, TOPIC, append, append_aborted, append_keyed, append_text, committed, config, source,
};

#[tokio::test(start_paused = true)]
async fn each_message_has_its_output_once_and_in_order() {
    let kafka = filled(3, 50).await;
    let report = finish(&kafka, members(&kafka).await, sink(&kafka, "billing-1").await).await.unwrap();
    assert!(report.is_complete() && report.settled == 150, "{report}");
    assert_exactly_once(&kafka, 50);
}

/// Handlers end in any order, and make any number of outputs.
#[tokio::test(start_paused = true)]
async fn outputs_have_the_order_of_their_input_whatever_the_order_of_the_handlers() {
    let kafka = filled(2, 40).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let handler = |order: SourceMessage<u32>| async move {
        let value = *order.value().unwrap();
        sleep(Duration::from_millis(u64::from(value * 7919 % 50))).await;
        assert_eq!(order.ack(), Acked::InTransaction, "it has no effect");
        let output = |value| SinkMessage::new(value).with_partition(order.partition());
        Ok::<_, Error>((0..value % 3).map(|_| output(value)).collect::<Vec<_>>())
    };
    let run = source.transactional(sink, handler).concurrency(7).max_records(10).until(until_idle(&kafka));
    drop(ended(run.into_future()).await.unwrap());
    let expected: Vec<_> = (0..40).flat_map(|value| vec![value; value as usize % 3]).collect();
    for partition in 0..2 {
        assert_eq!((bills(&kafka, partition), committed(&kafka, partition)), (expected.clone(), 40));
    }
}

/// Also if its partition has more messages than a transaction takes.
#[tokio::test(start_paused = true)]
async fn a_slow_key_holds_up_its_own_partition_only() {
    let kafka = kafka(4);
    for partition in 0..4 {
        append_keyed(&kafka, partition, (0..200).map(|value| ("a", value))).await;
    }
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let handler = |order: SourceMessage<u32>| async move {
        if order.partition() == 0 {
            sleep(LONG).await;
        }
        pass(order).await
    };
    let (start, of_others) = (Instant::now(), kafka.clone());
    let others = async move {
        while (1..4).any(|partition| committed(&of_others, partition) < 200) {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    };
    let run = source.transactional(sink, handler).max_records(50).until(others);
    drop(ended(run.into_future()).await);
    for partition in 1..4 {
        assert_eq!(bills(&kafka, partition), (0..200).collect::<Vec<_>>());
    }
}

/// Which handlers run at the same time, for each order: (most with the same key, most of a partition, most of all).
async fn at_the_same_time(order: Order) -> [usize; 3] {
    let kafka = kafka(2);
    for partition in 0..2 {
        let keys = (0..30).map(|value| (["a", "b", "c"][value as usize % 3], value));
        append_keyed(&kafka, partition, keys).await;
    }
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let running: Arc<Mutex<Vec<(i32, Bytes, i64)>>> = Arc::default();
    let most: Arc<Mutex<[usize; 3]>> = Arc::default();
    let seen = Arc::clone(&most);
    let handler = move |message: SourceMessage<u32>| {
        let place = (message.partition(), message.key().unwrap().clone(), message.offset());
        let running = Arc::clone(&running);
        let mut all = running.lock().unwrap();
        let of_key = all.iter().filter(|other| (other.0, &other.1) == (place.0, &place.1));
        let counts = [1 + of_key.count(), 1 + all.iter().filter(|other| other.0 == place.0).count(), 1 + all.len()];
        all.push(place.clone());
        drop(all);
        let mut seen = seen.lock().unwrap();
        *seen = std::array::from_fn(|index| seen[index].max(counts[index]));
        async move {
            // The first ones of a key take longest.
            sleep(Duration::from_millis(40 - message.offset() as u64)).await;
            running.lock().unwrap().retain(|other| *other != place);
            pass(message).await
        }
    };
    let run = source.transactional(sink, handler).order(order).concurrency(5).until(until_idle(&kafka));
    drop(ended(run.into_future()).await.unwrap());
    assert_exactly_once(&kafka, 30);
    *most.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_lane_are_handled_one_at_a_time() {
    assert_eq!(at_the_same_time(Order::default()).await, [1, 3, 5]);
    assert_eq!(at_the_same_time(Order::Partition).await, [1, 1, 2]);
    let [of_key, of_partition, all] = at_the_same_time(Order::None).await;
    assert!(of_key > 1 && of_partition > 3 && all == 5, "{of_key} {of_partition} {all}");
}

/// Whoever waits behind a message that takes long is read again by the next owner, and the close does not wait for it.
#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_for_messages_that_wait_for_their_lane() {
    let kafka = kafka(1);
    let keys = [("a", 0), ("b", 1), ("a", 2), ("c", 3), ("a", 4)];
    append_keyed(&kafka, 0, keys).await;
    let (source, first) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let handler = |order: SourceMessage<u32>| async move {
        sleep(if order.offset() == 3 { 5 * SECOND } else { 3 * SECOND }).await;
        pass(order).await
    };
    let start = Instant::now();
    let run = source.transactional(first, handler).until(sleep(SECOND)).into_future();
    let report = ended(run).await.unwrap();
    // The third one begins after the close, because the fourth one runs. The fifth one does not.
    assert!(report.is_complete(), "{report}");
    assert_eq!((start.elapsed(), report.settled), (6 * SECOND, 4), "{report}");
    assert_eq!((bills(&kafka, 0), committed(&kafka, 0)), (vec![0, 1, 2, 3], 4));
    drop(finish(&kafka, members(&kafka).await, sink(&kafka, "billing-1").await).await.unwrap());
    assert_exactly_once(&kafka, 5);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_cut_by_number_and_by_age() {
    let kafka = filled(1, 25).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let start = Instant::now();
    let run = source.transactional(sink, pass).max_records(10).max_age(SECOND).until(sleep(LONG));
    let run = tokio::spawn(run.into_future());
    sleep(SECOND / 2).await;
    assert_eq!((bills(&kafka, 0).len(), kafka.markers(BILLS, 0).len()), (20, 2), "two transactions are full");
    while bills(&kafka, 0).len() < 25 {
        sleep(SECOND / 100).await;
    }
    assert!(start.elapsed() >= SECOND && start.elapsed() < SECOND * 11 / 10, "{:?}", start.elapsed());
    drop(run.await.unwrap().unwrap());
    assert_exactly_once(&kafka, 25);
}

/// While a transaction is committed, the next messages are handled.
#[tokio::test(start_paused = true)]
async fn handlers_run_while_a_transaction_is_committed() {
    use kafka_tower::memory::TransactionCall;
    let kafka = filled(1, 20).await;
    let _ = kafka.script_transactions().on(TransactionCall::Commit).delay(5 * SECOND);
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let handler = move |order: SourceMessage<u32>| {
        count.fetch_add(1, Ordering::Relaxed);
        pass(order)
    };
    let run = tokio::spawn(source.transactional(sink, handler).max_records(10).until(sleep(LONG)).into_future());
    sleep(SECOND).await;
    assert_eq!(handled.load(Ordering::Relaxed), 20);
    drop(run.await.unwrap().unwrap());
    assert_exactly_once(&kafka, 20);
}

/// Neither for ever, nor past the message.
#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_or_panics_ends_it_after_what_comes_before() {
    for panics in [false, true] {
        let kafka = filled(2, 20).await;
        let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
        let handler = move |order: SourceMessage<u32>| async move {
            let is_bad = (order.partition(), order.offset()) == (1, 5);
            assert!(!(is_bad && panics), "planted");
            if is_bad { Err("planted") } else { Ok(vec![bill(&order)]) }
        };
        let error = ended(source.transactional(sink.clone(), handler).into_future()).await.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Handler, SourceRecovery::Stop));
        let (at, offset) = error.place().unwrap();
        assert_eq!((at.to_string(), offset), ("orders[1]".to_owned(), 5), "{error}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause, (!panics).then(|| "planted".to_owned()));
        assert!(!error.close_report().unwrap().is_complete(), "the message is not settled");
        assert_eq!((bills(&kafka, 1), committed(&kafka, 1)), ((0..5).collect(), 5));
        assert_eq!(bills(&kafka, 0).len() as i64, committed(&kafka, 0));
        // Restarted after the correction.
        drop(finish(&kafka, members(&kafka).await, sink).await.unwrap());
        assert_exactly_once(&kafka, 20);
    }
}

/// Retries keep the order, and what is skipped holds nothing up.
#[tokio::test(start_paused = true)]
async fn a_policy_decides_about_a_message_that_is_not_handled() {
    let kafka = filled(2, 20).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let handler = |order: SourceMessage<u32>| {
        assert!(order.offset() != 7 || order.attempt() == 3, "planted: before it returns a future");
        async move {
            let is_bad = order.offset() == 11 || order.offset() == 3 && order.attempt() < 3;
            if is_bad { Err("planted") } else { Ok(vec![bill(&order)]) }
        }
    };
    let policy = FailurePolicy::retry(2).backoff(SECOND, LONG).then_skip();
    let run = source.transactional(sink, handler).on_failure(policy).until(until_idle(&kafka));
    let report = ended(run.into_future()).await.unwrap();
    assert_eq!((report.settled, report.skipped, report.is_complete()), (38, 2, true), "{report}");
    let expected: Vec<_> = (0..20).filter(|value| *value != 11).collect();
    for partition in 0..2 {
        assert_eq!((bills(&kafka, partition), committed(&kafka, partition)), (expected.clone(), 20));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_decoded_ends_it_after_what_comes_before() {
    let kafka = filled(1, 3).await;
    append_text(&kafka, 0, "not a number").await;
    append(&kafka, 0, 4..5).await;
    let source = members(&kafka).await;
    let error = finish(&kafka, source, sink(&kafka, "billing-1").await).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Decode);
    assert_eq!(error.record().unwrap().offset, 3);
    assert_eq!((bills(&kafka, 0), committed(&kafka, 0)), (vec![0, 1, 2], 3));
}

/// The policy skips it: alone, before, between and behind others.
#[tokio::test(start_paused = true)]
async fn records_that_are_skipped_do_not_hold_the_others_up() {
    let kafka = kafka(1);
    for value in [None, Some(0), None, Some(1), None, None, Some(2), None] {
        append_text(&kafka, 0, &value.map_or("not a number".to_owned(), |value: u32| value.to_string())).await;
    }
    let source = kafka_tower::KafkaSource::builder(settings()).on_decode_error(DecodePolicy::skip());
    let source = source.transport(kafka.clone()).build().await.unwrap();
    let run = source.transactional(sink(&kafka, "billing-1").await, pass).max_records(1).until(until_idle(&kafka));
    let report = ended(run.into_future()).await.unwrap();
    assert_eq!((report.settled, report.skipped, report.is_complete()), (3, 5, true), "{report}");
    assert_eq!((bills(&kafka, 0), committed(&kafka, 0)), (vec![0, 1, 2], 8));
}

#[tokio::test(start_paused = true)]
async fn a_close_commits_what_is_being_handled() {
    let kafka = filled(2, 200).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let control = source.control();
    let handler = |order: SourceMessage<u32>| async move {
        sleep(SECOND).await;
        pass(order).await
    };
    let run = tokio::spawn(source.transactional(sink, handler).into_future());
    sleep(SECOND * 3 / 2).await;
    let start = Instant::now();
    let report = control.close().await;
    assert!(report.is_complete() && report.settled > 64, "{report}");
    assert!(start.elapsed() < SECOND, "it waits for nothing else: {:?}", start.elapsed());
    assert_eq!(run.await.unwrap().unwrap(), report);
    let total: i64 = (0..2).map(|partition| committed(&kafka, partition)).sum();
    assert_eq!((report.settled as i64, (bills(&kafka, 0).len() + bills(&kafka, 1).len()) as i64), (total, total));
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_for_ever_for_a_handler_that_does_not_end() {
    let kafka = filled(1, 3).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let handler = |order: SourceMessage<u32>| async move {
        if order.offset() == 1 {
            std::future::pending::<()>().await;
        }
        pass(order).await
    };
    let start = Instant::now();
    let report = ended(source.transactional(sink, handler).until(sleep(SECOND)).into_future()).await.unwrap();
    assert_eq!((start.elapsed(), report.is_complete()), (11 * SECOND, false), "{report}");
    assert_eq!((report.unsettled[0].records, report.unsettled[0].uncommitted), (2, false));
    assert_eq!((bills(&kafka, 0), committed(&kafka, 0)), (vec![0], 1));
}

/// It is dropped in the middle of a transaction.
#[tokio::test(start_paused = true)]
async fn a_cancelled_run_commits_nothing_of_its_transaction() {
    let kafka = filled(1, 10).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let _ = kafka.script().on_topic(BILLS).delay(5 * SECOND);
    let run = source.transactional(sink.clone(), pass).into_future();
    assert!(tokio::time::timeout(SECOND, run).await.is_err());
    sleep(LONG).await;
    assert_eq!((bills(&kafka, 0).len(), committed(&kafka, 0)), (0, 0));
    drop(finish(&kafka, members(&kafka).await, sink).await.unwrap());
    assert_exactly_once(&kafka, 10);
}

/// Input that was written in transactions, some of them aborted: the offsets pass the holes.
#[tokio::test(start_paused = true)]
async fn holes_of_the_input_are_passed() {
    let kafka = filled(1, 3).await;
    append_aborted(&kafka, 0, 4).await;
    append(&kafka, 0, 3..5).await;
    append_aborted(&kafka, 0, 2).await;
    drop(finish(&kafka, members(&kafka).await, sink(&kafka, "billing-1").await).await.unwrap());
    assert_eq!(bills(&kafka, 0), [0, 1, 2, 3, 4]);
    assert_eq!(Some(committed(&kafka, 0)), kafka.high_watermark(crate::support::TOPIC, 0), "no lag");
}

/// A marker or an aborted record that is read when nothing else is left: its position is committed, once, and also if that
/// has to be repeated.
#[tokio::test(start_paused = true)]
async fn positions_behind_the_last_message_are_committed() {
    use kafka_tower::memory::TransactionCall::Commit;
    let kafka = filled(1, 3).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let run = tokio::spawn(source.transactional(sink, pass).until(sleep(3 * LONG)).into_future());
    sleep(LONG).await;
    assert_eq!(committed(&kafka, 0), 3);
    append_aborted(&kafka, 0, 2).await;
    sleep(SECOND / 2).await;
    assert_eq!(committed(&kafka, 0), 3, "something else may come");
    sleep(SECOND).await;
    let end = kafka.high_watermark(TOPIC, 0).unwrap();
    assert_eq!(committed(&kafka, 0), end);
    let counted = kafka.script_transactions().on(Commit).delay(Duration::ZERO);
    sleep(LONG / 4).await;
    assert_eq!(counted.used(), 0, "nothing is left to commit");
    counted.cancel();

    let abort = Error::new(kafka_tower::ErrorKind::Transaction, "planted");
    let abort = abort.with_recovery(kafka_tower::Recovery::AbortTransaction);
    let refused = kafka.script_transactions().on(Commit).times(3).fail(abort);
    append_aborted(&kafka, 0, 1).await;
    sleep(10 * SECOND).await;
    assert_eq!((refused.used(), committed(&kafka, 0)), (3, end + 2));
    append(&kafka, 0, 3..4).await;
    assert!(run.await.unwrap().unwrap().is_complete());
    assert_eq!((bills(&kafka, 0), committed(&kafka, 0)), (vec![0, 1, 2, 3], end + 3));
    assert_eq!(kafka.markers(BILLS, 0).len(), 2, "a transaction without outputs writes nothing there");
}

#[tokio::test(start_paused = true)]
async fn a_source_commits_in_transactions_or_is_received_from() {
    let kafka = filled(1, 3).await;
    let plain = source(&kafka, config(CommitStrategy::Automatic)).await;
    let error = finish(&kafka, plain, sink(&kafka, "billing-1").await).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Config, SourceRecovery::Stop));
    let mut source = source(&kafka, settings()).await;
    assert_eq!(source.recv().await.unwrap_err().kind(), SourceErrorKind::Config);
    assert_eq!(source.commit().await.unwrap_err().kind(), SourceErrorKind::Config);
}
