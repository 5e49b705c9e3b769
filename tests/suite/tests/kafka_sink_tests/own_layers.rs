//! Layers and stacks of the application's own: around records, around messages, and in place of the default stack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::poll;
use kafka_tower::layers::circuit_breaker::CircuitState;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{
    DeliveryGuarantee, Error, ErrorKind, IntoTransport, KafkaClient, KafkaSink, KafkaSinkConfig, PartitionStrategy,
    Persistence, Record, SinkMessage,
};
use tower::timeout::TimeoutLayer;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::layers::{config, sink, transient, values};

/// A record layer that counts its calls, and adds a header.
fn counted(
    name: &'static str,
    calls: &Arc<AtomicUsize>,
) -> tower::util::MapRequestLayer<impl FnMut(Record) -> Record + Clone + Send + Sync + 'static> {
    let calls = Arc::clone(calls);
    tower::util::MapRequestLayer::new(move |mut record: Record| {
        calls.fetch_add(1, Ordering::SeqCst);
        record.headers.push("via", name);
        record
    })
}

#[tokio::test(start_paused = true)]
async fn a_record_layer_sees_each_send_once_encoded_and_before_its_partition() {
    let kafka = MemoryKafka::new().with_topic("numbers", 3);
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = Arc::clone(&calls);
    let sink = KafkaSink::<u32>::builder(config())
        .transport(kafka.transport())
        .partition_strategy(PartitionStrategy::Single(2))
        .record_layer(counted("outer", &calls))
        .record_layer(tower::util::MapRequestLayer::new(move |record: Record| {
            assert_eq!((record.value.as_deref(), record.partition), (Some(&b"7"[..]), None));
            inner.fetch_add(10, Ordering::SeqCst);
            record.with_value("seven")
        }))
        .build()
        .await
        .unwrap();
    kafka.script().times(2).fail(transient(Persistence::NotPersisted));
    assert_eq!(sink.send(7).await.unwrap().partition, 2);
    assert_eq!(calls.load(Ordering::SeqCst), 11, "once, although two attempts failed");
    let stored = &kafka.records("numbers")[0].record;
    assert_eq!((stored.value.as_deref(), stored.headers.len()), (Some(&b"seven"[..]), 1));
    let metrics = sink.metrics().await;
    assert_eq!((metrics.retries, metrics.bytes_sent), (2, 5 + 3 + 5), "the bytes that were sent");
}

/// tower's time-out answers with a boxed error.
#[tokio::test(start_paused = true)]
async fn a_foreign_record_layer_and_its_error() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let hold = kafka.script().hold();
    let sink = KafkaSink::<u32>::builder(config())
        .transport(kafka.transport())
        .record_layer(TimeoutLayer::new(Duration::from_secs(1)))
        .build()
        .await
        .unwrap();
    let error = sink.send(7).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted), "{error}");
    hold.release();
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_layer_keeps_a_record_in_its_transaction_unless_it_makes_a_new_one() {
    for replaces in [false, true] {
        let kafka = MemoryKafka::new().with_topic("numbers", 1);
        let config = KafkaSinkConfig::exactly_once("memory", "numbers", "id");
        let layer = tower::util::MapRequestLayer::new(move |record: Record| {
            if replaces { Record::new("numbers").with_value("new") } else { record.with_value("changed") }
        });
        let builder = KafkaSink::<u32>::builder(config).transport(kafka.transactional_transport("id"));
        let sink = builder.record_layer(layer).build().await.unwrap();
        sink.begin_transaction().await.unwrap();
        let hold = kafka.script().hold();
        let mut dropped = Box::pin(sink.send(7));
        assert!(poll!(&mut dropped).is_pending());
        drop(dropped);
        hold.release();
        let refused = sink.commit_transaction().await.err();
        assert_eq!(
            refused.as_ref().map(Error::persistence),
            replaces.then_some(Persistence::NotPersisted),
            "{refused:?}"
        );
    }
}

/// All clones share what the builder's layer holds.
#[tokio::test(start_paused = true)]
async fn a_rate_limit_behind_a_buffer_holds_for_all_clones() {
    use tower::buffer::BufferLayer;
    use tower::limit::RateLimitLayer;

    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let sink = KafkaSink::<u32>::builder(config())
        .transport(kafka.transport())
        .layer(BufferLayer::<SinkMessage<u32>>::new(64))
        .layer(RateLimitLayer::new(5, Duration::from_secs(1)))
        .build()
        .await
        .unwrap();
    let sends: Vec<_> = (0..3)
        .flat_map(|n| {
            let sink = sink.clone();
            (0..5).map(move |i| tokio::spawn(sink.send(n * 5 + i)))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(kafka.len("numbers"), 5);
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(kafka.len("numbers"), 15);
}

/// So do the sinks that were derived from it, with their own options.
#[tokio::test(start_paused = true)]
async fn a_rate_limit_holds_for_derived_sinks_too_which_have_their_own_options() {
    use tower::buffer::BufferLayer;
    use tower::limit::RateLimitLayer;

    let kafka = MemoryKafka::new().with_topic("numbers", 3);
    let sink = KafkaSink::<u32>::builder(config())
        .transport(kafka.transport())
        .partition_strategy(PartitionStrategy::Single(0))
        .layer(BufferLayer::<SinkMessage<u32>>::new(64))
        .layer(RateLimitLayer::new(5, Duration::from_secs(1)))
        .build()
        .await
        .unwrap();
    let first = sink.clone().with_partition_strategy(PartitionStrategy::Single(1));
    let second = sink.clone().with_partitioner(|_: &Record, _| Some(2)).with_allow_duplicates(true);
    let sinks = [sink, first, second];
    let sends: Vec<_> =
        sinks.iter().enumerate().flat_map(|(n, sink)| (0..5).map(move |i| (n, tokio::spawn(sink.send(i))))).collect();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(kafka.len("numbers"), 5, "15 without a limit in common");
    for (n, send) in sends {
        assert_eq!(send.await.unwrap().unwrap().partition, i32::try_from(n).unwrap());
    }
    // Only the one that allows duplicates retries what may have been written.
    for (sink, is_retried) in sinks.iter().zip([false, false, true]) {
        kafka.script().lose_answer_with(transient(Persistence::PossiblyPersisted));
        assert_eq!(sink.send(7).await.is_ok(), is_retried);
    }
    let misfit = sinks[1].clone().with_delivery_guarantee(DeliveryGuarantee::ExactlyOnce);
    assert_eq!(misfit.send(8).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn a_sink_over_a_stack_has_its_counters_and_its_breaker() {
    use kafka_tower::layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
    use kafka_tower::layers::metrics::Metrics;
    use kafka_tower::layers::retry::{RetryLayer, RetryPolicy};
    use kafka_tower::{KafkaServiceBuilderExt, ServiceOptions};

    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let transport = kafka.transport();
    let (control, metrics) = (transport.control(), Metrics::new());
    let (retries, trips) = (metrics.clone(), metrics.clone());
    let breaker = CircuitBreakerConfig::new().failure_threshold(1);
    let breaker = CircuitBreakerLayer::new(breaker).on_transition(move |transition| {
        if transition.is_trip() {
            trips.record_trip();
        }
    });
    let options =
        ServiceOptions::new(Duration::from_secs(5)).metrics(metrics.clone()).circuit_breaker(breaker.handle());
    let stack = ServiceBuilder::new()
        .serialize_json::<u32>("numbers")
        .count_bytes(&metrics)
        .circuit_breaker(breaker)
        .layer(RetryLayer::new(RetryPolicy::new().max_retries(1)).on_retry(move |_| retries.record_retry()))
        .service(transport);
    let sink = KafkaSink::from_service_with(stack, control, options);
    sink.send(12).await.unwrap();
    kafka.script().times(2).fail(transient(Persistence::NotPersisted));
    sink.send(13).await.unwrap_err();
    assert_eq!(sink.circuit_breaker().unwrap().state(), CircuitState::Open);
    assert_eq!(sink.send(14).await.unwrap_err().kind(), ErrorKind::CircuitOpen);
    let counted = sink.metrics().await;
    assert_eq!((counted.messages_sent, counted.messages_failed, counted.bytes_sent), (1, 2, 2));
    assert_eq!((counted.retries, counted.circuit_breaker_trips), (1, 1));
    sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sink_and_a_stack_can_be_boxed() {
    use kafka_tower::{Delivery, JsonSerializer, stack};
    use tower::ServiceExt;
    use tower::util::BoxCloneSyncService;

    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let sink = sink(&kafka, config()).await;
    let mut boxed = ServiceBuilder::new().boxed_clone_sync().service(sink.clone());
    let delivery: Delivery = boxed.ready().await.unwrap().call(SinkMessage::new(1_u32)).await.unwrap();
    assert_eq!(delivery.offset, Some(0));
    let transport = kafka.transport();
    let control = transport.control();
    let default = stack::default::<u32, _, _>(&config(), Arc::new(JsonSerializer), transport, Arc::clone(&control));
    let boxed = BoxCloneSyncService::new(default);
    KafkaSink::from_service(boxed, control, Duration::from_secs(5)).send(2).await.unwrap();
    assert_eq!(values(&kafka), [1, 2]);
}

/// The transport's errors contain their records, but this one is the layer's.
#[tokio::test(start_paused = true)]
async fn an_error_of_a_layer_around_the_transport_is_retried() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let layered = || {
        let (transport, control) = kafka.transport().into_transport();
        let refuses = Arc::new(AtomicBool::new(true));
        let service = tower::service_fn(move |record: Record| {
            let (mut transport, refuses) = (transport.clone(), refuses.swap(false, Ordering::SeqCst));
            async move {
                match refuses {
                    true => Err(transient(Persistence::NotPersisted)),
                    false => transport.ready().await?.call(record).await,
                }
            }
        });
        (service, control)
    };
    let own = KafkaSink::builder(config()).transport(layered()).build().await.unwrap();
    own.send(1_u32).await.unwrap();
    let client = KafkaClient::builder(config()).transport(layered()).build().await.unwrap();
    client.sink("numbers").build().await.unwrap().send(2_u32).await.unwrap();
    assert_eq!(values(&kafka), [1, 2]);
    assert_eq!((own.metrics().await.retries, client.metrics().retries), (1, 1));
}
