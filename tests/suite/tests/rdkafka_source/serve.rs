//! `serve` over a real Kafka: members come and go while handlers take their time and fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower::source::{FailurePolicy, SourceCloseReport};
use kafka_tower::{BoxError, KafkaSourceConfig, SourceError, SourceMessage};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::service_fn;

use crate::read::{PATIENCE, config, no_lag, send, sink, source};
use crate::support::Kind;

/// Numbers in the order in which they were handled first.
type Handled = Arc<Mutex<Vec<u32>>>;

type Serving = (oneshot::Sender<()>, JoinHandle<Result<SourceCloseReport, SourceError>>);

async fn member(config: KafkaSourceConfig, handled: &Handled) -> Serving {
    let handled = Arc::clone(handled);
    let service = service_fn(move |message: SourceMessage<u32>| {
        let handled = Arc::clone(&handled);
        async move {
            let number = *message.value().unwrap();
            sleep(Duration::from_millis(u64::from(number % 5))).await;
            if number.is_multiple_of(50) && message.attempt() == 1 {
                return Err("the first attempt fails");
            }
            let mut handled = handled.lock().unwrap();
            if !handled.contains(&number) {
                handled.push(number);
            }
            Ok::<_, &str>(())
        }
    });
    let policy = FailurePolicy::retry(3).backoff(Duration::from_millis(10), Duration::from_millis(10));
    let (stop, stopped) = oneshot::channel();
    let serve = source(config).await.serve(service).concurrency(16).on_failure(policy);
    (stop, tokio::spawn(serve.until(stopped)))
}

async fn stop((stop, serving): Serving) -> SourceCloseReport {
    drop(stop);
    timeout(PATIENCE, serving).await.expect("it ends").unwrap().unwrap_or_else(|error| panic!("{error}"))
}

/// Each message is handled, those of a key in their order, and nothing is left when the last member ends.
async fn members_come_and_go(kafka: &Cluster, kind: Kind) {
    let topic = kafka.topic("serve", 4).await.unwrap();
    let (sink, config, handled) = (sink(kafka, &topic).await, config(kafka, &topic, kind), Handled::default());
    let first = member(config.clone(), &handled).await;
    send(&sink, 0..500).await;
    let second = member(config.clone(), &handled).await;
    for part in 5..15 {
        send(&sink, part * 100..(part + 1) * 100).await;
        sleep(Duration::from_millis(400)).await;
    }
    assert!(stop(first).await.left);
    send(&sink, 1_500..2_000).await;
    no_lag(kafka, &topic, &config.group_id).await;
    let report = stop(second).await;
    assert!(report.is_complete(), "{kind:?}: {report}");
    let handled = handled.lock().unwrap();
    let mut keys: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    handled.iter().for_each(|number| keys.entry(number % 7).or_default().push(*number));
    assert_eq!(keys.values().map(Vec::len).sum::<usize>(), 2_000, "{kind:?}: nothing is lost");
    for (key, numbers) in keys {
        assert!(numbers.is_sorted(), "{kind:?}: the order of key {key}: {numbers:?}");
    }
}

macro_rules! for_each_protocol {
    ($($name:ident $kind:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let Some(kafka) = cluster::shared().await else { return };
            members_come_and_go(kafka, Kind::$kind).await;
        })*
    };
}

for_each_protocol! {
    members_come_and_go_eager Eager
    members_come_and_go_cooperative Cooperative
    members_come_and_go_kip_848 Consumer
}

/// A service that is not ready for longer than the group waits in a rebalance: the member stays, and then goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_ready_stays_a_member() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("unready", 1).await.unwrap();
    send(&sink(kafka, &topic).await, 0..20).await;
    let config = KafkaSourceConfig {
        rebalance_timeout_ms: 7_000,
        drain_timeout_ms: 3_000,
        ..config(kafka, &topic, Kind::Cooperative)
    };
    let source = source(config.clone()).await;
    let inner = service_fn(|_: SourceMessage<u32>| async {
        sleep(Duration::from_secs(10)).await;
        Ok::<_, BoxError>(())
    });
    let service = tower::ServiceBuilder::new().concurrency_limit(10).service(inner);
    let (stop, stopped) = oneshot::channel();
    let serving: Serving = (stop, tokio::spawn(source.serve(service).until(stopped)));
    // Two rounds of ten messages, with nothing read meanwhile.
    timeout(PATIENCE, no_lag(kafka, &topic, &config.group_id)).await.unwrap();
    let report = self::stop(serving).await;
    assert_eq!((report.settled, report.is_complete()), (20, true), "handled once: {report}");
}
