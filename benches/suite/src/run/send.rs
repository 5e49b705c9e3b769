//! The modes of sending without transactions.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use kafka_tower::{JsonSerializer, KafkaSink, Record, SinkMessage, stack};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tower::{Service, ServiceExt};

use super::{Plan, Took, config, future_producer, measured, native_transport, rdkafka_sink, rdkafka_transport};
use crate::message::{Event, POOL, events, json, values};

pub(crate) async fn settled(future: DeliveryFuture) {
    future.await.expect("a producer that lives").expect("delivered");
}

pub(crate) fn enqueue(producer: &FutureProducer, topic: &str, value: &[u8]) -> DeliveryFuture {
    let record = FutureRecord::<(), [u8]>::to(topic).payload(value);
    producer.send_result(record).map_err(|(error, _)| error).expect("room")
}

pub(super) async fn future(plan: &Plan) -> Took {
    let (producer, values) = (future_producer(plan), values(plan.size));
    measured(plan, async |n| {
        let mut ring = VecDeque::with_capacity(plan.window);
        for i in 0..n {
            if ring.len() == plan.window {
                settled(ring.pop_front().expect("a full ring")).await;
            }
            ring.push_back(enqueue(&producer, &plan.topic, &values[i % POOL]));
        }
        for future in ring {
            settled(future).await;
        }
    })
    .await
}

pub(super) async fn future_send(plan: &Plan) -> Took {
    let (producer, values) = (future_producer(plan), values(plan.size));
    measured(plan, async |n| {
        let mut open = FuturesUnordered::new();
        for i in 0..n {
            let record = FutureRecord::<(), [u8]>::to(&plan.topic).payload(&values[i % POOL]);
            open.push(producer.send(record, Duration::ZERO));
            if open.len() == plan.window {
                open.next().await.expect("a full set").map_err(|(error, _)| error).expect("delivered");
            }
        }
        while let Some(result) = open.next().await {
            result.map_err(|(error, _)| error).expect("delivered");
        }
    })
    .await
}

pub(super) async fn future_json(plan: &Plan) -> Took {
    let (producer, events) = (future_producer(plan), events(plan.size));
    measured(plan, async |n| {
        let mut ring = VecDeque::with_capacity(plan.window);
        for i in 0..n {
            if ring.len() == plan.window {
                settled(ring.pop_front().expect("a full ring")).await;
            }
            // A program makes a message for each record.
            let event = events[i % POOL].clone();
            ring.push_back(enqueue(&producer, &plan.topic, &json(&event)));
        }
        for future in ring {
            settled(future).await;
        }
    })
    .await
}

pub(super) async fn future_batch(plan: &Plan) -> Took {
    let (producer, events) = (future_producer(plan), events(plan.size));
    measured(plan, async |n| {
        for start in (0..n).step_by(plan.window) {
            let batch = start..n.min(start + plan.window);
            let batch = batch.map(|i| enqueue(&producer, &plan.topic, &json(&events[i % POOL].clone())));
            for future in batch.collect::<Vec<_>>() {
                settled(future).await;
            }
        }
    })
    .await
}

pub(super) async fn transport(plan: &Plan) -> Took {
    let (transport, values) = (rdkafka_transport(plan).await, values(plan.size));
    let topic: Arc<str> = Arc::from(plan.topic.as_str());
    let make = |i: usize| Record::new(Arc::clone(&topic)).with_value(values[i % POOL].clone());
    service(plan, transport, make).await
}

pub(super) async fn typed(plan: &Plan) -> Took {
    let (transport, events) = (rdkafka_transport(plan).await, events(plan.size));
    let control = transport.control();
    let stack = stack::default(&config(plan), Arc::new(JsonSerializer), transport, control);
    service(plan, stack, |i| SinkMessage::new(events[i % POOL].clone())).await
}

pub(super) async fn native(plan: &Plan) -> Took {
    let (transport, values) = (native_transport(plan).await, values(plan.size));
    let topic: Arc<str> = Arc::from(plan.topic.as_str());
    let make = |i: usize| Record::new(Arc::clone(&topic)).with_value(values[i % POOL].clone());
    service(plan, transport, make).await
}

pub(super) async fn native_send(plan: &Plan) -> Took {
    let (mut transport, values) = (native_transport(plan).await, values(plan.size));
    let topic: Arc<str> = Arc::from(plan.topic.as_str());
    measured(plan, async |n| {
        let mut open = FuturesUnordered::new();
        for i in 0..n {
            let ready = transport.ready().await.expect("a transport that lives");
            open.push(ready.call(Record::new(Arc::clone(&topic)).with_value(values[i % POOL].clone())));
            if open.len() == plan.window {
                open.next().await.expect("a full set").expect("delivered");
            }
        }
        while let Some(result) = open.next().await {
            result.expect("delivered");
        }
    })
    .await
}

pub(super) async fn sink(plan: &Plan, sink: KafkaSink<Event>) -> Took {
    let events = events(plan.size);
    service(plan, sink, |i| SinkMessage::new(events[i % POOL].clone())).await
}

async fn service<R, S>(plan: &Plan, mut service: S, make: impl Fn(usize) -> R) -> Took
where
    S: Service<R>,
    S::Error: fmt::Debug,
{
    measured(plan, async |n| {
        let mut ring = VecDeque::with_capacity(plan.window);
        for i in 0..n {
            if ring.len() == plan.window {
                let first: S::Future = ring.pop_front().expect("a full ring");
                first.await.expect("delivered");
            }
            let ready = service.ready().await.expect("a service that lives");
            ring.push_back(ready.call(make(i)));
        }
        for future in ring {
            future.await.expect("delivered");
        }
    })
    .await
}

pub(super) async fn sink_stream(plan: &Plan) -> Took {
    let (sink, events) = (rdkafka_sink(plan).await, events(plan.size));
    measured(plan, async |n| {
        let messages = stream::iter((0..n).map(|i| events[i % POOL].clone()));
        let mut results = sink.send_stream(messages).look_ahead(plan.window);
        while let Some(result) = results.next().await {
            result.expect("delivered");
        }
    })
    .await
}

pub(super) async fn sink_batch(plan: &Plan, sink: KafkaSink<Event>) -> Took {
    let events = events(plan.size);
    measured(plan, async |n| {
        for start in (0..n).step_by(plan.window) {
            let batch = (start..n.min(start + plan.window)).map(|i| events[i % POOL].clone());
            for result in sink.send_batch(batch).await.expect("an open sink") {
                result.expect("delivered");
            }
        }
    })
    .await
}
