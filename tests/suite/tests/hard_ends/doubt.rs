//! A commit whose answer is lost, requested through a sink and through the batching layer. Every end but `Ok` is in doubt,
//! and what readers see agrees with what was returned.

use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower::layers::transaction_batch::TransactionBatchLayer;
use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{ErrorKind, Persistence, Record, Recovery, Result};
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{Cluster, Listener, Proxy};
use tower::{Layer, Service, ServiceExt};

use crate::support::*;

/// Time for a commit whose answer does not come.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Whether the coordinator gets the commit whose answer is lost. No later request reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Answer,
    Request,
}

impl Lost {
    const BOTH: [Self; 2] = [Self::Answer, Self::Request];

    fn plan(self, proxy: &Proxy) {
        if self == Self::Answer {
            proxy.next(ApiKey::END_TXN, Action::DropAnswer);
        }
        proxy.next_n(ApiKey::END_TXN, 10_000, Action::CutBefore);
    }

    /// What readers see of the records, once the transaction has ended.
    fn visible(self, records: &[String]) -> Vec<String> {
        if self == Self::Answer { records.to_vec() } else { Vec::new() }
    }
}

async fn sink(kafka: &Cluster, topic: &str) -> KafkaSink<String> {
    let brokers = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let config = KafkaSinkConfig {
        send_timeout_ms: PATIENCE.as_millis() as u64,
        linger_ms: 0,
        ..KafkaSinkConfig::exactly_once(brokers, topic, topic)
    };
    let config = config.with_property("reconnect.backoff.ms", "10").with_property("reconnect.backoff.max.ms", "50");
    loop {
        match KafkaSink::new(config.clone()).await {
            Ok(sink) => return sink,
            // The coordinator of a new cluster takes longer.
            Err(error) => assert_eq!(error.recovery(), Recovery::Retry, "{error:#}"),
        }
    }
}

/// Acquires the id without the proxy: the transaction of an older owner is over then.
async fn successor(kafka: &Cluster, topic: &str) -> Producer {
    Producer::new(kafka.bootstrap(), topic, topic, &[]).await
}

const UNANSWERED: (Recovery, Persistence) = (Recovery::Retry, Persistence::PossiblyPersisted);
const UNKNOWN: (Recovery, Persistence) = (Recovery::Fatal, Persistence::PossiblyPersisted);

fn end(result: Result<()>) -> (Recovery, Persistence) {
    let error = checked(result).unwrap_err();
    (error.recovery(), error.persistence())
}

/// Who requests the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Manual,
    Guard,
    Closure,
}

/// Sends a record in a transaction, and requests its commit once.
async fn once(sink: &KafkaSink<String>, by: By, value: &str) -> Result<()> {
    match by {
        By::Manual => {
            sink.begin_transaction().await?;
            sink.send(value.to_owned()).await?;
            sink.commit_transaction().await
        }
        By::Guard => {
            let tx = sink.transaction().await?;
            tx.send(value.to_owned()).await?;
            tx.commit().await
        }
        By::Closure => sink.in_transaction(async |tx| tx.send(value.to_owned()).await.map(drop)).await,
    }
}

#[tokio::test]
async fn a_commit_in_doubt_is_never_reported_as_anything_else() {
    let Some(kafka) = shared().await else { return };
    let (_alone, proxy) = (ALONE.lock().await, kafka.proxy().unwrap());
    for by in [By::Manual, By::Guard, By::Closure] {
        for lost in Lost::BOTH {
            let what = format!("{by:?}, {lost:?}");
            let topic = kafka.topic("doubt", 1).await.unwrap();
            let sink = sink(kafka, &topic).await;

            // librdkafka asks again by itself, and has the answer in time.
            proxy.next(ApiKey::END_TXN, if lost == Lost::Answer { Action::DropAnswer } else { Action::CutBefore });
            once(&sink, by, "asked twice").await.unwrap_or_else(|error| panic!("{what}: {error:#}"));

            // The caller asks again.
            lost.plan(proxy);
            assert_eq!(end(once(&sink, by, "asked later").await), UNANSWERED, "{what}");
            let error = checked(sink.send("after the commit".to_owned()).await).unwrap_err();
            assert_eq!(error.persistence(), Persistence::NotPersisted, "{what}: {error:#}");
            proxy.clear_rules();
            let mut committed_later = sink.commit_transaction().await;
            while committed_later.as_ref().is_err_and(|error| error.recovery() == Recovery::Retry) {
                committed_later = sink.commit_transaction().await;
            }
            committed_later.unwrap_or_else(|error| panic!("{what}: {error:#}"));

            // Another producer takes over before the answer.
            lost.plan(proxy);
            assert_eq!(end(once(&sink, by, "in doubt").await), UNANSWERED, "{what}");
            let new = successor(kafka, &topic).await;
            proxy.clear_rules();
            let mut expected = vec!["\"asked twice\"".to_owned(), "\"asked later\"".to_owned()];
            expected.extend(lost.visible(&["\"in doubt\"".to_owned()]));
            assert_eq!(committed(kafka, &topic).await, expected, "{what}");
            let mut told = end(sink.commit_transaction().await);
            while told == UNANSWERED {
                told = end(sink.commit_transaction().await);
            }
            assert_eq!(told, UNKNOWN, "{what}");
            assert_eq!(end(sink.commit_transaction().await), UNKNOWN, "{what}");
            let error = checked(sink.abort_transaction().await).unwrap_err();
            assert_ne!(error.recovery(), Recovery::AbortTransaction, "{what}: {error:#}");
            let error = checked(sink.begin_transaction().await).unwrap_err();
            assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fenced, Recovery::Fatal), "{what}: {error:#}");
            drop(sink.close().await);
            assert_eq!(committed(kafka, &topic).await, expected, "{what}: nothing was added");
            drop(new);
        }
    }
}

/// All callers of a batch learn the same, and the batch is never sent again.
#[tokio::test]
async fn the_callers_of_a_batch_share_its_doubt() {
    let Some(kafka) = shared().await else { return };
    let (_alone, proxy) = (ALONE.lock().await, kafka.proxy().unwrap());
    for lost in Lost::BOTH {
        let topic = kafka.topic("doubt-batch", 1).await.unwrap();
        let brokers = kafka.bootstrap_of(Listener::Proxy).unwrap();
        let producer = Producer::connected(&brokers, &topic, &topic, &[]).await;
        let layer = TransactionBatchLayer::new(producer.control).records(5).timeout(PATIENCE);
        layer.init(TIME).await.unwrap();
        let mut service = layer.layer(producer.transport);
        let mut batch = async |name: &str| {
            let mut sends = Vec::new();
            for n in 0..5 {
                let record = Record::new(topic.as_str()).with_value(format!("{name} {n}")).with_partition(0);
                sends.push(service.ready().await.unwrap().call(record));
            }
            join_all(sends).await
        };
        let values = |name: &str| (0..5).map(|n| format!("{name} {n}")).collect::<Vec<_>>();

        proxy.next(ApiKey::END_TXN, if lost == Lost::Answer { Action::DropAnswer } else { Action::CutBefore });
        for outcome in batch("asked twice").await {
            outcome.unwrap_or_else(|error| panic!("{lost:?}: {error:#}"));
        }
        lost.plan(proxy);
        for outcome in batch("in doubt").await {
            let unknown = (ErrorKind::Transaction, Recovery::Reject, Persistence::PossiblyPersisted);
            assert_eq!(facts(&checked(outcome).unwrap_err()), unknown, "{lost:?}");
        }
        // Another producer takes over before the lane has an answer.
        let _new = successor(kafka, &topic).await;
        proxy.clear_rules();
        let expected = [values("asked twice"), lost.visible(&values("in doubt"))].concat();
        assert_eq!(committed(kafka, &topic).await, expected, "{lost:?}");
        for outcome in batch("later").await {
            let error = checked(outcome).unwrap_err();
            assert_eq!(
                (error.recovery(), error.persistence()),
                (Recovery::Fatal, Persistence::NotPersisted),
                "{error:#}"
            );
        }
        let report = service.control().close(TIME).await;
        assert!(report.is_ok(), "{lost:?}: {report:?}");
        assert_eq!(committed(kafka, &topic).await, expected, "{lost:?}: nothing was added");
    }
}
