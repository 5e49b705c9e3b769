//! Tests of what the facade layer reports to a recorder of the `metrics` crate.
#![cfg(feature = "metrics-facade")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use facade::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use kafka_tower_core::{Error, ErrorKind, Persistence, Record};
use kafka_tower_layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use kafka_tower_layers::metrics_facade::MetricsFacadeLayer;
use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower_memory::MemoryKafka;
use tower::{Layer, Service, ServiceExt};

/// Recorder that keeps the values of all metrics.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, f64>>>);

struct One(Values, String);

impl One {
    fn add(&self, value: f64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }
    fn absolute(&self, _: u64) {}
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.add(value);
    }
    fn decrement(&self, value: f64) {
        self.add(-value);
    }
    fn set(&self, value: f64) {
        self.0.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Values {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(One(self.clone(), format!("{} {}", key.name().trim_start_matches("kafka_tower_"), labels.join(" "))))
    }

    fn all(&self) -> Vec<(String, f64)> {
        self.0.lock().unwrap().clone().into_iter().collect()
    }

    fn of(&self, name: &str) -> Vec<(String, f64)> {
        self.all().into_iter().filter(|(key, _)| key.starts_with(name)).collect()
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

/// Runs with its own recorder.
fn recorded(run: impl AsyncFnOnce()) -> Values {
    let values = Values::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    facade::with_local_recorder(&values, || runtime.block_on(run()));
    values
}

fn owned<const N: usize>(expected: [(&str, f64); N]) -> Vec<(String, f64)> {
    expected.map(|(key, value)| (key.to_owned(), value)).into()
}

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 1).with_topic("others", 1)
}

#[test]
fn each_send_counts_once_by_its_outcome() {
    let values = recorded(async || {
        let kafka = kafka();
        let mut orders = MetricsFacadeLayer::new("orders").layer(kafka.transport());
        let _delay = kafka.script().delay(Duration::from_millis(250));
        orders.ready().await.unwrap().call(Record::new("orders")).await.unwrap();
        orders.ready().await.unwrap().call(Record::new("others")).await.unwrap();
        kafka.script().fail(Error::new(ErrorKind::Broker, "no").with_error_type("NOT_LEADER_OR_FOLLOWER"));
        orders.ready().await.unwrap().call(Record::new("orders")).await.unwrap_err();
        drop(orders.ready().await.unwrap().call(Record::new("orders")));
    });
    assert_eq!(
        values.of("messages_total"),
        owned([
            ("messages_total topic=orders outcome=abandoned", 1.0),
            ("messages_total topic=orders outcome=delivered", 1.0),
            ("messages_total topic=orders outcome=failed error_type=NOT_LEADER_OR_FOLLOWER", 1.0),
            ("messages_total topic=others outcome=delivered", 1.0),
        ])
    );
    let durations = values.of("send_duration_seconds topic=orders outcome=delivered");
    assert_eq!(durations, owned([("send_duration_seconds topic=orders outcome=delivered", 0.25)]));
}

/// A recorder may be installed after the layer was created and used.
#[test]
fn a_recorder_installed_late_is_found() {
    let kafka = kafka();
    let layer = MetricsFacadeLayer::new("orders");
    let mut orders = layer.layer(kafka.transport());
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::new()).handle();
    layer.watch_breaker(&breaker);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { orders.ready().await.unwrap().call(Record::new("orders")).await }).unwrap();
    let values = recorded(async || {
        orders.ready().await.unwrap().call(Record::new("orders")).await.unwrap();
        breaker.force_open();
    });
    assert_eq!(values.of("messages_total"), owned([("messages_total topic=orders outcome=delivered", 1.0)]));
    let state = values.of("circuit_breaker_state");
    assert_eq!(state, owned([("circuit_breaker_state topic=orders", 2.0)]));
}

#[test]
fn retries_and_the_breaker_are_reported() {
    let values = recorded(async || {
        let kafka = kafka();
        let facade = MetricsFacadeLayer::new("orders");
        let breaker = CircuitBreakerLayer::default();
        facade.watch_breaker(&breaker.handle());
        kafka.script().times(2).fail(Error::new(ErrorKind::Broker, "no").with_persistence(Persistence::NotPersisted));
        let retry = RetryLayer::new(RetryPolicy::new().max_retries(3)).on_retry(facade.on_retry());
        let orders = facade.layer(breaker.layer(retry.layer(kafka.transport())));
        orders.oneshot(Record::new("orders")).await.unwrap();
        breaker.handle().force_open();
    });
    assert_eq!(values.of("retries"), owned([("retries_total topic=orders error_type=broker", 2.0)]));
    assert_eq!(
        values.of("circuit"),
        owned([
            ("circuit_breaker_state topic=orders", 2.0),
            ("circuit_breaker_transitions_total topic=orders state=forced_open", 1.0),
        ])
    );
}

#[test]
fn topics_beyond_the_limit_share_a_label() {
    let values = recorded(async || {
        let kafka = (0..150).fold(MemoryKafka::new(), |kafka, n| kafka.with_topic(&format!("topic-{n}"), 1));
        let mut orders = MetricsFacadeLayer::new("topic-0").layer(kafka.transport());
        for n in 0..150 {
            orders.ready().await.unwrap().call(Record::new(format!("topic-{n}"))).await.unwrap();
        }
    });
    let messages = values.of("messages_total");
    assert_eq!(messages.len(), 101);
    assert_eq!(messages[0], ("messages_total topic=_other outcome=delivered".to_owned(), 50.0));
}
