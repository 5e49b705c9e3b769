use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_tower_core::SinkMessage;
use kafka_tower_layers::serialize::SerializeLayer;
use kafka_tower_memory::MemoryKafka;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::KafkaSink;

/// tower's concurrency limit frees its room when a response future is dropped: a batch that waits for room must poll
/// its messages in flight, or it waits forever.
#[tokio::test(start_paused = true)]
async fn room_held_by_futures_is_freed() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    kafka.script().always().delay(Duration::from_millis(1));
    let transport = kafka.transport();
    let control = transport.control();
    let stack =
        ServiceBuilder::new().concurrency_limit(3).layer(SerializeLayer::<u32, _>::json("numbers")).service(transport);
    let sink = KafkaSink::from_service(stack, control, Duration::from_secs(5));
    let results = tokio::time::timeout(Duration::from_secs(60), sink.send_batch(0..1000)).await.unwrap().unwrap();
    assert!(results.iter().all(Result::is_ok));
}

/// A slow message does not delay those behind it: each one is polled when it is woken.
#[tokio::test(start_paused = true)]
async fn a_slow_message_does_not_delay_those_behind_it() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let done = Arc::new(AtomicUsize::new(0));
    let stack = {
        let (transport, done) = (kafka.transport(), Arc::clone(&done));
        let transport = SerializeLayer::json("numbers").layer(transport);
        service_fn(move |message: SinkMessage<u64>| {
            let (mut transport, done) = (transport.clone(), Arc::clone(&done));
            async move {
                // Three waits per message, as with retries.
                let wait = if message.value() == Some(&0) { 1000 } else { 1 };
                for _ in 0..3 {
                    sleep(Duration::from_millis(wait)).await;
                }
                done.fetch_add(1, Ordering::Relaxed);
                std::future::poll_fn(|cx| transport.poll_ready(cx)).await?;
                transport.call(message).await
            }
        })
    };
    let sink = KafkaSink::from_service(stack, kafka.transport().control(), Duration::from_secs(5));
    let batch = tokio::spawn(sink.send_batch(0..500));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(done.load(Ordering::Relaxed), 499);
    let results = batch.await.unwrap().unwrap();
    assert_eq!(results[0].as_ref().unwrap().offset, Some(499), "results are in the order of the messages");
    assert_eq!(results[1].as_ref().unwrap().offset, Some(0));
}
