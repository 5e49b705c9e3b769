//! Tests of the metrics and their attributes.

use std::sync::Arc;

use kafka_tower_core::{CloseReport, Control, ControlFuture, InFlight, TransactionControl};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_delivery_is_counted_with_its_duration() {
    let (backend, kafka) = (Backend::new(), kafka());
    let _rule = kafka.script().delay(Duration::from_millis(70));
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), "x".to_owned()).await.unwrap();
    let points = backend.points();
    let duration = points.iter().find(|point| point.name == "messaging.client.operation.duration").unwrap();
    assert_eq!((duration.value, duration.sum), (1.0, 0.07));
    assert_eq!(duration.attributes, "messaging.destination.name=orders");
    assert_eq!(backend.metric("messaging.client.sent.messages"), ["messaging.destination.name=orders: 1"]);
}

#[tokio::test(start_paused = true)]
async fn failures_count_by_type_and_rejected_messages_are_not_sent_messages() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().lose_answer_with(Error::new(ErrorKind::Broker, "lost").with_error_type("REQUEST_TIMED_OUT"));
    let mut orders = stack(&backend.telemetry().layer("orders"), &kafka);
    send(&mut orders, "x".to_owned()).await.unwrap_err();
    send(&mut orders, "y".to_owned()).await.unwrap_err(); // rejected by the breaker
    assert_eq!(
        backend.metric("messaging.client.operation.duration"),
        [
            "error.type=REQUEST_TIMED_OUT messaging.destination.name=orders: 1",
            "error.type=circuit_open messaging.destination.name=orders: 1",
        ]
    );
    assert_eq!(
        backend.metric("messaging.client.sent.messages"),
        ["error.type=REQUEST_TIMED_OUT messaging.destination.name=orders: 1"]
    );
    assert_eq!(backend.metric("kafka_tower.circuit_breaker.rejections"), ["messaging.destination.name=orders: 1"]);
    assert_eq!(
        backend.metric("kafka_tower.circuit_breaker.transitions"),
        ["kafka_tower.circuit_breaker.state=open messaging.destination.name=orders: 1"]
    );
    assert_eq!(backend.metric("kafka_tower.circuit_breaker.state"), ["messaging.destination.name=orders: 2"]);
}

#[tokio::test(start_paused = true)]
async fn retries_count_by_cause() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().times(2).fail(no_leader());
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), "x".to_owned()).await.unwrap();
    assert_eq!(
        backend.metric("kafka_tower.client.retries"),
        ["error.type=NOT_LEADER_OR_FOLLOWER kafka_tower.retry.isolated=false messaging.destination.name=orders: 2"]
    );
    assert_eq!(backend.metric("messaging.client.sent.messages"), ["messaging.destination.name=orders: 1"]);
}

#[tokio::test]
async fn a_dropped_send_counts_as_abandoned() {
    let (backend, kafka) = (Backend::new(), kafka());
    let hold = kafka.script().hold();
    let mut orders = stack(&backend.telemetry().layer("orders"), &kafka);
    drop(orders.ready().await.unwrap().call(SinkMessage::new("x".to_owned())));
    for metric in ["messaging.client.sent.messages", "messaging.client.operation.duration"] {
        assert_eq!(backend.metric(metric), ["error.type=abandoned messaging.destination.name=orders: 1"]);
    }
    hold.release();
}

#[tokio::test]
async fn topics_beyond_the_limit_share_a_name() {
    let backend = Backend::new();
    let kafka = MemoryKafka::new().with_topic("orders", 1).with_topic("a", 1).with_topic("b", 1).with_topic("c", 1);
    let telemetry = backend.builder().max_topics(2).build();
    let mut orders = stack(&telemetry.layer("orders"), &kafka);
    for topic in ["orders", "a", "b", "c", "b", "a"] {
        send(&mut orders, SinkMessage::new("x".to_owned()).with_topic(topic)).await.unwrap();
    }
    assert_eq!(
        backend.metric("messaging.client.sent.messages"),
        [
            "messaging.destination.name=_other: 3",
            "messaging.destination.name=a: 2",
            "messaging.destination.name=orders: 1",
        ]
    );
    let spans: Vec<_> = backend
        .spans()
        .iter()
        .map(|span| format!("{}|{}", span.name, attribute(span, "messaging.destination.name").unwrap()))
        .collect();
    assert_eq!(spans, ["send orders|orders", "send a|a", "send|b", "send|c", "send|b", "send a|a"]);
    assert_eq!(telemetry.topic_attributes("d")[1].value.to_string(), "_other");
}

#[tokio::test]
async fn partitions_are_an_attribute_only_on_request() {
    let backend = Backend::new();
    let telemetry = backend.builder().partition_in_metrics(true).build();
    send(&mut stack(&telemetry.layer("orders"), &kafka()), "x".to_owned()).await.unwrap();
    assert_eq!(
        backend.metric("messaging.client.sent.messages"),
        ["messaging.destination.name=orders messaging.destination.partition.id=0: 1"]
    );
}

#[tokio::test]
async fn records_in_flight_are_read_when_metrics_are_collected() {
    let (backend, kafka) = (Backend::new(), kafka());
    let telemetry = backend.telemetry();
    let transport = kafka.transport();
    let control = transport.control();
    telemetry.watch(&control);
    telemetry.watch(&control);
    let hold = kafka.script().hold();
    let mut orders = telemetry.layer("orders").layer(transport);
    let future = orders.ready().await.unwrap().call(Record::new("orders").with_value("12345"));
    assert_eq!(backend.metric("kafka_tower.client.in_flight.records"), [": 1"], "once, though watched twice");
    let bytes = control.in_flight().bytes;
    assert_eq!(backend.metric("kafka_tower.client.in_flight.bytes"), [format!(": {bytes}")]);
    assert!(bytes > 5, "the context in the headers counts");
    hold.release();
    future.await.unwrap();
    assert_eq!(backend.metric("kafka_tower.client.in_flight.records"), [": 0"]);

    // Watching keeps nothing alive.
    let watched: std::sync::Weak<dyn Control> = Arc::downgrade(&control);
    drop((control, orders, kafka));
    assert_eq!(watched.strong_count(), 0);
}

#[tokio::test]
async fn records_in_flight_are_reported_per_client() {
    let backend = Backend::new();
    let telemetry = backend.telemetry();
    let kafkas = [kafka(), kafka(), kafka()];
    let mut open = Vec::new();
    // Two transports of one client are reported as a sum: under the same attributes only the last value would be
    // reported.
    for (kafka, client) in kafkas.iter().zip(["a", "b", "b"]) {
        let telemetry = telemetry.for_client(client, None);
        let transport = kafka.transport();
        let control = transport.control();
        telemetry.watch(&control);
        let hold = kafka.script().hold();
        let mut orders = telemetry.layer("orders").layer(transport);
        let answer = orders.ready().await.unwrap().call(Record::new("orders"));
        open.push((control, hold, orders, answer));
    }
    let expected = ["messaging.client.id=a: 1", "messaging.client.id=b: 2"];
    assert_eq!(backend.metric("kafka_tower.client.in_flight.records"), expected);
}

/// A transport that has replaced its client this often.
#[derive(Debug)]
struct Replaced(u64);

impl Control for Replaced {
    fn flush(&self) -> ControlFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self, _within: Duration) -> ControlFuture<'_, CloseReport> {
        Box::pin(async { Ok(CloseReport::default()) })
    }

    fn partition_count(&self, _topic: &str) -> Option<u32> {
        None
    }

    fn in_flight(&self) -> InFlight {
        InFlight::default()
    }

    fn generation(&self) -> u64 {
        self.0
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}

#[tokio::test]
async fn replacements_are_reported_per_client() {
    let backend = Backend::new();
    let telemetry = backend.telemetry();
    let controls = [("a", 0), ("b", 1), ("b", 2)].map(|(client, replaced)| {
        let control: Arc<dyn Control> = Arc::new(Replaced(replaced));
        telemetry.for_client(client, None).watch(&control);
        control
    });
    let expected = ["messaging.client.id=a: 0", "messaging.client.id=b: 3"];
    assert_eq!(backend.metric("kafka_tower.client.replacements"), expected);
    drop(controls);
}

#[tokio::test]
async fn waiting_for_room_has_a_histogram() {
    let backend = Backend::new();
    backend.telemetry().layer("orders").record_wait(None, Duration::from_millis(250));
    let points = backend.points();
    let queue = points.iter().find(|point| point.name == "kafka_tower.client.queue.duration").unwrap();
    assert_eq!((queue.value, queue.sum), (1.0, 0.25));
}
