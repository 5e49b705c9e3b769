//! Two owners of one transactional id: each takes it over from the other one, in each state of its work.

use futures_util::future::join_all;
use kafka_tower::layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, CircuitState};
use kafka_tower::layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{ErrorKind, Persistence, Record, Recovery};
use kafka_tower_testkit::kafka::Cluster;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::*;

/// A sink like that of another process: a sink with the same spelling of the brokers is refused in this one.
async fn owner(kafka: &Cluster, topic: &str, second: bool) -> KafkaSink<u32> {
    let brokers =
        if second { kafka.bootstrap().replace("127.0.0.1", "localhost") } else { kafka.bootstrap().to_owned() };
    let config = KafkaSinkConfig::exactly_once(brokers, topic, topic).with_property("broker.address.family", "v4");
    KafkaSink::new(config).await.unwrap_or_else(|error| panic!("{error:#}"))
}

const ITEMS: u32 = 5;

/// The items of a round that are committed. Read by the owner of the id: nothing of an older one is open any more.
async fn items(kafka: &Cluster, topic: &str) -> Vec<u32> {
    committed(kafka, topic).await.iter().map(|text| text.parse().unwrap()).collect()
}

/// 20 rounds with work of five items each. The old owner has come a different way when the new one takes over; the new one
/// does what is not done.
#[tokio::test]
async fn after_twenty_switch_overs_each_item_is_committed_once() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("owners", 1).await.unwrap();
    let mut old = owner(kafka, &topic, false).await;
    let (mut by_old, mut by_new) = (0, 0);
    for round in 0..20_u32 {
        let work: Vec<u32> = (round * ITEMS..(round + 1) * ITEMS).collect();
        let stage = round % 5;
        if stage > 0 {
            old.begin_transaction().await.unwrap();
        }
        if stage > 1 {
            for outcome in old.send_batch(work.clone()).await.unwrap() {
                outcome.unwrap();
            }
        }
        if stage == 4 {
            old.commit_transaction().await.unwrap();
        }
        // In round 3 of 5 the commit and the new owner meet.
        let racing = async {
            match stage {
                3 => Some(checked(old.commit_transaction().await)),
                _ => None,
            }
        };
        let (new, raced) = tokio::join!(owner(kafka, &topic, round % 2 == 0), racing);
        let done = items(kafka, &topic).await;
        let is_done = done.contains(&work[0]);
        match &raced {
            Some(Ok(())) => assert!(is_done, "round {round}: the commit returned `Ok`"),
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Fenced, "{error:#}");
                assert!(is_done <= (error.persistence() == Persistence::PossiblyPersisted), "{error:#}");
            }
            None => assert_eq!(is_done, stage == 4, "round {round}"),
        }

        // The loser: fenced in whatever it does, once and for all.
        if matches!(stage, 0 | 4) || matches!(raced, Some(Ok(()))) {
            let begun = checked(old.begin_transaction().await);
            if let Err(error) = begun {
                assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fenced, Recovery::Fatal), "{error:#}");
            }
        }
        let sends = join_all((0..3).map(|_| old.send(u32::MAX))).await;
        for outcome in sends {
            let error = checked(outcome).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Transaction), "round {round}: {error:#}");
            assert_eq!(error.attempts(), 1, "the retry layer is silent: {error:#}");
        }
        let error = checked(old.commit_transaction().await).unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fenced, Recovery::Fatal), "round {round}: {error:#}");
        assert!(error.message().contains("another producer with the same transactional id"), "{error:#}");
        let error = checked(old.begin_transaction().await).unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fenced, Recovery::Fatal), "round {round}: {error:#}");
        let metrics = old.metrics().await;
        assert_eq!((metrics.circuit_breaker_trips, metrics.retries), (0, 0), "round {round}");
        drop(old.close().await);

        // The winner does what is left, and is the old one of the next round.
        if is_done {
            by_old += 1;
        } else {
            by_new += 1;
            let done = new.in_transaction(async |tx| {
                for item in &work {
                    tx.send(*item).await?;
                }
                Ok::<_, kafka_tower_core::Error>(())
            });
            done.await.unwrap_or_else(|error| panic!("round {round}: the winner goes on: {error:#}"));
        }
        old = new;
    }
    assert!(by_old >= 4 && by_new >= 12, "both ways occurred: {by_old} and {by_new}");
    assert_eq!(items(kafka, &topic).await, (0..20 * ITEMS).collect::<Vec<_>>(), "each item once, in order");
    old.close().await.unwrap();
}

/// Breaker and retry above the transport, as in a stack of the user's: they are as eager as they can be.
#[tokio::test]
async fn a_fenced_producer_opens_no_breaker_and_is_not_retried() {
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("silent", 1).await.unwrap();
    let old = Producer::new(kafka.bootstrap(), &topic, &topic, &[]).await;
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::new().failure_threshold(1));
    let handle = breaker.handle();
    let retry = RetryLayer::new(RetryPolicy::new());
    let mut stack = ServiceBuilder::new().layer(breaker).layer(retry).service(old.transport.clone());
    old.begin().await;
    let record = || Record::new(topic.as_str()).with_value("old").with_partition(0);
    stack.ready().await.unwrap().call(record()).await.unwrap();
    let mut new = Producer::new(kafka.bootstrap(), &topic, &topic, &[]).await;
    for n in 0..10 {
        let error = checked(stack.ready().await.unwrap().call(record()).await).unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fenced, Recovery::Fatal), "send {n}: {error:#}");
        assert_eq!((error.persistence(), error.attempts()), (Persistence::NotPersisted, 1), "send {n}: {error:#}");
    }
    assert_eq!((handle.state(), handle.trips()), (CircuitState::Closed, 0));
    new.transaction("new").await;
    assert_eq!(committed(kafka, &topic).await, ["new"]);
}
