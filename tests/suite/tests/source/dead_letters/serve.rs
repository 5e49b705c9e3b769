//! `serve` sends the dead letters of messages that its service does not handle.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use kafka_tower::source::{FailurePolicy, Order, Settlement, SourceCloseReport};
use kafka_tower::{BoxError, SourceError, SourceMessage};
use kafka_tower_test_suite::random::Random;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;
use crate::support::{append_keyed, source};

type Answer = BoxFuture<'static, Result<Settlement, BoxError>>;

/// Odd numbers fail.
fn evens(message: SourceMessage<u32>) -> Answer {
    Box::pin(async move {
        if message.value().is_none_or(|value| value % 2 == 0) { Ok(Settlement::Ack) } else { Err("secret".into()) }
    })
}

/// Serves until nothing has happened for a while.
async fn serve(
    kafka: &MemoryKafka,
    handle: fn(SourceMessage<u32>) -> Answer,
    policy: FailurePolicy,
) -> Result<SourceCloseReport, SourceError> {
    let source = source(kafka, config(CommitStrategy::Each)).await;
    source.serve(service_fn(handle)).on_failure(policy).until(sleep(LONG)).await
}

fn header(letter: &Record, name: &str) -> Bytes {
    letter.headers.get(&format!("kafka-tower-dlq-{name}")).unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_dead_lettered_after_its_retries_with_its_own_bytes() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_text(&kafka, 0, " 7 ").await;
    append(&kafka, 0, [8]).await;
    let report = serve(&kafka, evens, FailurePolicy::retry(2).then_dead_letter(letters(&kafka))).await.unwrap();
    assert_eq!((report.settled, report.dead_lettered, report.skipped, committed(&kafka, 0)), (1, 1, 0, 2));
    let letter = &kafka.records(DEAD)[0].record;
    assert_eq!(letter.value.as_ref().unwrap(), " 7 ");
    let headers = ["attempts", "error", "reason", "group"].map(|name| header(letter, name));
    assert_eq!(headers, ["3", "Handler", "the service failed", GROUP].map(Bytes::from));
}

#[tokio::test(start_paused = true)]
async fn time_outs_panics_and_messages_that_were_taken_apart_are_dead_lettered() {
    fn handle(message: SourceMessage<u32>) -> Answer {
        Box::pin(async move {
            match message.value() {
                Some(1) => std::future::pending().await,
                Some(2) => panic!("planted"),
                _ => drop(message.into_parts()),
            }
            Err("planted".into())
        })
    }
    let kafka = kafka(1).with_topic(DEAD, 1);
    append(&kafka, 0, 1..4).await;
    let source = source(&kafka, config(CommitStrategy::Each)).await;
    let serve = source.serve(service_fn(handle)).record_timeout(5 * SECOND).order(Order::Partition);
    let policy = FailurePolicy::fail().then_dead_letter(letters(&kafka));
    let report = serve.on_failure(policy).until(sleep(LONG)).await.unwrap();
    assert_eq!((report.dead_lettered, committed(&kafka, 0)), (3, 3));
    let reasons: Vec<_> = kafka.records(DEAD).iter().map(|letter| header(&letter.record, "reason")).collect();
    assert_eq!(reasons, ["it took more than 5s", "the service panicked", "the service failed"]);
    assert_eq!(header(&kafka.records(DEAD)[0].record, "error"), "Timeout");
}

#[tokio::test(start_paused = true)]
async fn a_service_may_ask_for_it() {
    fn handle(_: SourceMessage<u32>) -> Answer {
        Box::pin(async { Ok(Settlement::DeadLetter("it has no price".into())) })
    }
    let kafka = kafka(1).with_topic(DEAD, 1);
    append(&kafka, 0, 1..2).await;
    let error = serve(&kafka, handle, FailurePolicy::skip()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.recovery(), committed(&kafka, 0)),
        (SourceErrorKind::DeadLetter, SourceRecovery::Stop, 0)
    );
    assert!(error.message().contains("no dead letter service"), "{error}");
    let report = serve(&kafka, handle, FailurePolicy::retry(9).then_dead_letter(letters(&kafka))).await.unwrap();
    assert_eq!((report.dead_lettered, committed(&kafka, 0)), (1, 1));
    assert_eq!(header(&kafka.records(DEAD)[0].record, "reason"), "it has no price");
}

#[tokio::test(start_paused = true)]
async fn a_failed_letter_ends_serve_and_its_message_is_read_again() {
    for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
        let kafka = kafka(1).with_topic(DEAD, 1);
        append(&kafka, 0, [0, 1, 2]).await;
        kafka.script().on_topic(DEAD).fail(planted(persistence));
        let policy = FailurePolicy::fail().then_dead_letter(letters(&kafka));
        let error = serve(&kafka, evens, policy.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::DeadLetter, SourceRecovery::Stop));
        assert_eq!((error.place().unwrap().1, committed(&kafka, 0)), (1, 1));
        assert_eq!(error.close_report().unwrap().dead_lettered, 0);
        drop(error);
        let report = serve(&kafka, evens, policy).await.unwrap();
        assert_eq!((report.dead_lettered, committed(&kafka, 0), originals(&kafka)), (1, 3, vec![(0, 1)]));
    }
}

#[tokio::test(start_paused = true)]
async fn the_lane_of_a_letter_waits_and_others_go_on() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append_keyed(&kafka, 0, [("a", 1), ("a", 2), ("b", 4)]).await;
    kafka.script().on_topic(DEAD).delay(10 * SECOND);
    let source = source(&kafka, config(CommitStrategy::Each)).await;
    let start = Instant::now();
    let times: Arc<Mutex<BTreeMap<u32, u64>>> = Arc::default();
    let noted = Arc::clone(&times);
    let service = service_fn(move |message: SourceMessage<u32>| {
        noted.lock().unwrap().insert(*message.value().unwrap(), start.elapsed().as_secs());
        evens(message)
    });
    let serve = source.serve(service).order(Order::Key);
    let report = serve.on_failure(FailurePolicy::fail().then_dead_letter(letters(&kafka))).until(sleep(LONG)).await;
    assert_eq!(report.unwrap().dead_lettered, 1);
    assert_eq!(*times.lock().unwrap(), BTreeMap::from([(1, 0), (2, 10), (4, 0)]));
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_letters() {
    let kafka = kafka(1).with_topic(DEAD, 1);
    append(&kafka, 0, [1]).await;
    kafka.script().on_topic(DEAD).delay(5 * SECOND);
    let source = source(&kafka, config(CommitStrategy::Each)).await;
    let policy = FailurePolicy::fail().then_dead_letter(letters(&kafka));
    let report = source.serve(service_fn(evens)).on_failure(policy).until(sleep(SECOND)).await.unwrap();
    assert_eq!((report.dead_lettered, report.is_complete(), committed(&kafka, 0)), (1, true, 1), "{report}");
}

/// What was read before `serve` has no bytes.
#[tokio::test(start_paused = true)]
async fn without_its_bytes_a_message_is_not_dead_lettered() {
    for keep in [false, true] {
        let kafka = kafka(1).with_topic(DEAD, 1);
        append(&kafka, 0, [0, 1]).await;
        let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
        let mut source = builder.keep_raw(keep).build().await.unwrap();
        next(&mut source).await.ack();
        let policy = FailurePolicy::fail().then_dead_letter(letters(&kafka));
        match source.serve(service_fn(evens)).on_failure(policy).until(sleep(LONG)).await {
            Ok(report) => assert_eq!((keep, report.dead_lettered), (true, 1)),
            Err(error) => {
                assert_eq!((keep, error.kind(), committed(&kafka, 0)), (false, SourceErrorKind::DeadLetter, 1));
                assert!(error.message().contains("bytes were not kept"), "{error}");
            }
        }
    }
}

/// Members serve, end by failed letters and start again, are expelled, and letters are late, fail or are unknown: nothing that
/// is committed is lost.
async fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut below = |end: u64| random.below(end);
    let kafka = kafka(2).with_topic(DEAD, 2);
    for partition in 0..2 {
        let values = (0..20).map(|_| (["a", "b", ""][below(3) as usize], below(9) as u32));
        append_keyed(&kafka, partition, values.collect::<Vec<_>>()).await;
    }
    let handled: Arc<Mutex<BTreeSet<(i32, i64)>>> = Arc::default();
    let judge = || {
        let mut done = handled.lock().unwrap().clone();
        done.extend(originals(&kafka));
        for partition in 0..2 {
            for offset in 0..committed(&kafka, partition) {
                assert!(done.contains(&(partition, offset)), "{partition}, {offset} is committed and lost");
            }
        }
    };
    let start = || {
        let (kafka, handled, (stop, stopped)) = (kafka.clone(), Arc::clone(&handled), oneshot::channel::<()>());
        let service = service_fn(move |message: SourceMessage<u32>| {
            let handled = Arc::clone(&handled);
            async move {
                sleep(Duration::from_millis(u64::from(*message.value().unwrap()) * 7)).await;
                if message.value().is_some_and(|value| value % 3 == 0) {
                    return Err(BoxError::from("planted"));
                }
                handled.lock().unwrap().insert((message.partition(), message.offset()));
                Ok(())
            }
        });
        let config = KafkaSourceConfig {
            commit_timeout_ms: 300,
            drain_timeout_ms: 500,
            redelivery_backoff_ms: 50,
            ..config(CommitStrategy::Each)
        };
        let task = tokio::spawn(async move {
            let policy = FailurePolicy::retry(1).backoff(30 * SECOND / 1_000, SECOND);
            let source = source(&kafka, config).await;
            let serve = source.serve(service).concurrency(3).order([Order::Key, Order::None][(seed % 2) as usize]);
            serve.on_failure(policy.then_dead_letter(letters(&kafka))).until(stopped).await
        });
        (stop, task)
    };
    let mut members = [Some(start()), None];
    for _ in 0..60 {
        let index = below(2) as usize;
        match below(12) {
            0 => drop(kafka.start_rebalance(GROUP)),
            1 => drop(kafka.expel_members(GROUP)),
            2 => drop(kafka.script().on_topic(DEAD).delay(Duration::from_millis(below(900)))),
            3 => drop(kafka.script().on_topic(DEAD).fail(planted(Persistence::NotPersisted))),
            4 => drop(kafka.script().on_topic(DEAD).lose_answer()),
            5 => {
                if let Some((stop, task)) = members[index].take() {
                    drop(stop);
                    let _ = task.await.unwrap();
                }
            }
            6 => members[index].take().map_or((), |(_, task)| task.abort()),
            7 if members[index].is_none() => members[index] = Some(start()),
            _ => sleep(Duration::from_millis(below(200))).await,
        }
        judge();
    }
    for (_, task) in members.into_iter().flatten() {
        task.abort();
    }
    // It ends whenever a letter fails.
    let all = |partition| Some(committed(&kafka, partition)) == kafka.high_watermark(TOPIC, partition);
    let mut member = start();
    for _ in 0..3_000 {
        if (0..2).all(all) {
            return judge();
        }
        sleep(SECOND).await;
        judge();
        if member.1.is_finished() {
            member = start();
        }
    }
    panic!("it does not come to its end");
}

#[test]
fn no_message_is_lost() {
    each_seed(200, run);
}
