//! Stacks whose layers give the message to a task of their own: the ticket of the message goes with it.

use tower::buffer::Buffer;
use tower::service_fn;

use super::*;

/// Makes a sink over a stack of the user's, with an open transaction that has a record.
async fn stage(stack: impl FnOnce(SerializeLayer<u32, kafka_tower::JsonSerializer>, Below) -> KafkaSink<u32>) -> Stage {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let transport = kafka.producer().transactional("id").transport();
    transport.control().transactions().unwrap().init(Duration::from_secs(1)).await.unwrap();
    let stage = Stage { kafka, sink: stack(SerializeLayer::json("numbers"), transport) };
    stage.begin().await;
    stage
}

type Below = kafka_tower::memory::MemoryTransport;

/// The stack behind tower's `Buffer`, whose worker task calls the transport.
async fn buffered() -> Stage {
    stage(|layer, transport| {
        let control = transport.control();
        KafkaSink::from_service(Buffer::new(layer.layer(transport), 8), control, Duration::from_secs(1))
    })
    .await
}

/// A layer that spawns each call, after a while.
async fn spawned() -> Stage {
    stage(|layer, transport| {
        let control = transport.control();
        let below = layer.layer(transport);
        let stack = service_fn(move |message: SinkMessage<u32>| {
            let mut below = below.clone();
            let task = tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                below.ready().await?.call(message).await
            });
            async move { task.await.unwrap() }
        });
        KafkaSink::from_service(stack, control, Duration::from_secs(1))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_dropped_answer_behind_a_task_is_committed() {
    for stage in [buffered().await, spawned().await] {
        let (mut called, mut sent) = (stage.call(2).await, stage.sink.send(3));
        assert!(once(&mut called).is_pending() && once(&mut sent).is_pending());
        // The task hands the records over.
        sleep(Duration::from_millis(200)).await;
        drop((called, sent));
        stage.assert_whole(&[1, 2, 3]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_batches_and_streams_behind_a_task_are_committed() {
    for stage in [buffered().await, spawned().await] {
        let mut batch = stage.sink.send_batch([2, 3]);
        let mut messages = stage.sink.send_stream(stream::iter([4, 5]));
        assert!(once(&mut batch).is_pending());
        assert!(futures_util::poll!(messages.next()).is_pending());
        sleep(Duration::from_millis(200)).await;
        drop((batch, messages));
        stage.assert_whole(&[1, 2, 3, 4, 5]).await;
    }
}

/// A task of the user's sends the message although its caller has gone; tower's `Buffer` drops it then.
#[tokio::test(start_paused = true)]
async fn after_the_caller_drops_its_future_the_commit_depends_on_the_task() {
    let stage = spawned().await;
    let mut called = stage.call(2).await;
    assert!(once(&mut called).is_pending());
    drop(called);
    stage.assert_whole(&[1, 2]).await;

    let stage = buffered().await;
    let mut called = stage.call(2).await;
    assert!(once(&mut called).is_pending());
    drop(called);
    stage.assert_refused().await;
}

/// The task that has the message ends without sending it, and the caller has gone.
#[tokio::test(start_paused = true)]
async fn a_message_dropped_by_a_task_makes_the_commit_fail() {
    let stage = stage(|layer, transport| {
        let control = transport.control();
        let below = layer.layer(transport);
        let stack = service_fn(move |message: SinkMessage<u32>| {
            let mut below = below.clone();
            let loses = message.value() == Some(&2);
            let task = tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                if loses {
                    return Err(Error::refused("planted"));
                }
                below.ready().await?.call(message).await
            });
            async move { task.await.unwrap() }
        });
        KafkaSink::from_service(stack, control, Duration::from_secs(1))
    });
    let stage = stage.await;
    let mut lost = stage.call(2).await;
    assert!(once(&mut lost).is_pending());
    drop(lost);
    stage.assert_refused().await;
}

/// The record is in a task when its transaction is aborted: it never joins the next one, whoever sends it.
#[tokio::test(start_paused = true)]
async fn a_record_in_a_task_joins_no_later_transaction() {
    let stage = spawned().await;
    let mut late = stage.call(2).await;
    assert!(once(&mut late).is_pending());
    stage.sink.abort_transaction().await.unwrap();
    stage.begin().await;
    // The sink cannot know whether a transport of the user's looks at tickets.
    assert_eq!(late.await.unwrap_err().persistence(), Persistence::PossiblyPersisted);
    let metrics = stage.sink.metrics().await;
    assert_eq!((metrics.messages_failed, metrics.abandoned), (1, 0), "it counts by what its caller was told");
    sleep(Duration::from_secs(1)).await;
    stage.assert_whole(&[1]).await;
}

/// The transactions of the control handle are the sink's: they refuse to commit without a send that was dropped.
#[tokio::test(start_paused = true)]
async fn a_commit_through_the_control_handle_is_guarded_too() {
    let stage = Stage::new(true, 8).await;
    let mut dropped = stage.call(2).await;
    assert!(once(&mut dropped).is_pending());
    drop(dropped);
    let transactions = stage.sink.control().transactions().unwrap();
    let error = transactions.commit(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transaction, Recovery::AbortTransaction), "{error:#}");
    transactions.abort(Duration::from_secs(1)).await.unwrap();
    transactions.begin(Duration::from_secs(1)).await.unwrap();
    stage.sink.send(3).await.unwrap();
    transactions.commit(Duration::from_secs(1)).await.unwrap();
    assert_eq!(stage.committed(), [3]);
}

/// Offsets go through the sink, into the transaction that is open.
#[tokio::test(start_paused = true)]
async fn offsets_are_committed_with_the_transaction() {
    let stage = Stage::new(false, 8).await;
    let group = || kafka_tower::ConsumerGroup {
        group_id: "readers".into(),
        generation: -1,
        member_id: String::new(),
        group_instance_id: None,
    };
    let offset = |offset| kafka_tower::TopicOffset { topic: "input".into(), partition: 0, offset };
    stage.sink.send_offsets(vec![offset(7)], group()).await.unwrap();
    stage.sink.commit_transaction().await.unwrap();
    let error = stage.sink.send_offsets(vec![offset(8)], group()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transaction);
    assert_eq!(stage.kafka.committed_offset("readers", "input", 0), Some(7));
}
