//! Tests of `ConcurrencyLayer`: what it limits, and the hazards that its documentation warns about.
#![cfg(feature = "concurrency")]
#![allow(clippy::unwrap_used)]

use std::task::{Context, Waker};

use kafka_tower_core::Record;
use kafka_tower_layers::concurrency::ConcurrencyLayer;
use kafka_tower_memory::MemoryKafka;
use tower::{Layer, Service, ServiceExt};

fn is_ready(service: &mut impl Service<Record>) -> bool {
    service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn order() -> Record {
    Record::new("orders").with_value("1")
}

#[tokio::test]
async fn it_limits_a_service_and_its_clones() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let hold = kafka.script().times(2).hold();
    let mut service = ConcurrencyLayer::new(2).layer(kafka.transport());
    let mut clone = service.clone();
    let first = service.ready().await.unwrap().call(order());
    let second = clone.ready().await.unwrap().call(order());
    assert!(!is_ready(&mut service) && !is_ready(&mut clone));
    hold.release();
    first.await.unwrap();
    second.await.unwrap();
    assert!(is_ready(&mut service) && is_ready(&mut clone));
}

#[tokio::test]
async fn a_global_limit_is_shared_by_all_services_of_the_layer() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    for (layer, second_is_ready) in [(ConcurrencyLayer::new(1), true), (ConcurrencyLayer::global(1), false)] {
        let (mut a, mut b) = (layer.layer(kafka.transport()), layer.clone().layer(kafka.transport()));
        let first = a.ready().await.unwrap().call(order());
        assert_eq!(is_ready(&mut b), second_is_ready);
        first.await.unwrap();
        assert!(is_ready(&mut b));
    }
}

/// First hazard: more records are in flight than the limit says.
#[tokio::test]
async fn a_dropped_future_frees_its_permit_while_the_record_is_in_flight() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let hold = kafka.script().always().hold();
    let transport = kafka.transport();
    let control = transport.control();
    let mut service = ConcurrencyLayer::new(1).layer(transport);
    for _ in 0..3 {
        drop(service.ready().await.unwrap().call(order()));
    }
    assert_eq!(control.in_flight().records, 3);
    hold.release();
}

/// Second hazard: readiness reserves a permit.
#[tokio::test]
async fn an_idle_handle_that_became_ready_keeps_the_others_from_sending() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut idle = ConcurrencyLayer::new(1).layer(kafka.transport());
    let mut other = idle.clone();
    idle.ready().await.unwrap();
    assert!(!is_ready(&mut other));
    drop(idle);
    assert!(is_ready(&mut other));
}
