//! Flush and close of one sink and of all.

use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{Error, ErrorKind, KafkaClient, Limits, Persistence, SinkMessage};
use tokio::task::yield_now;
use tokio::time::Instant;
use tower::buffer::BufferLayer;

use super::{SECOND, client, config, kafka, sinks};

/// Resolves when the records that were called so far are in the transport.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_waits_for_its_own_records_only() {
    let kafka = kafka();
    let client = client(&kafka).await;
    let (orders, payments) = sinks(&client).await;
    let of_payments = kafka.script().on_topic("payments").hold();
    let payment = tokio::spawn(payments.send(1));
    let of_orders = kafka.script().on_topic("orders").hold();
    let order = tokio::spawn(orders.send("book".to_string()));
    settle().await;

    let begun = Instant::now();
    let (flushing, its) = (tokio::spawn(async move { orders.flush().await.map(|()| orders) }), Instant::now);
    settle().await;
    assert!(!flushing.is_finished(), "its own record has no answer");
    of_orders.release();
    let orders = flushing.await.unwrap().unwrap();
    orders.close().await.unwrap();
    assert_eq!(its() - begun, Duration::ZERO, "the record of the other sink has no answer");
    order.await.unwrap().unwrap();

    assert_eq!(orders.send("pen".to_string()).await.unwrap_err().kind(), ErrorKind::Closed);
    of_payments.release();
    payment.await.unwrap().unwrap();
    payments.send(2).await.unwrap();
    assert_eq!((kafka.len("orders"), kafka.len("payments")), (1, 2));
    client.close().await.unwrap();
    assert_eq!(payments.send(3).await.unwrap_err().kind(), ErrorKind::Closed);
    let error = client.sink::<u64>("payments").build().await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Closed, "the client was closed"));
}

/// The future of the one is awaited, that of the other was dropped.
#[tokio::test(start_paused = true)]
async fn records_without_an_answer_are_reported_as_possibly_written_and_the_producer_goes_on() {
    for answered in [true, false] {
        without_an_answer(answered).await;
    }
}

async fn without_an_answer(answered_later: bool) {
    let kafka = kafka();
    let client = client(&kafka).await;
    let (orders, payments) = sinks(&client).await;
    let hold = kafka.script().on_topic("orders").times(2).hold();
    let order = tokio::spawn(orders.send(SinkMessage::new("book".to_string()).with_key("a")));
    settle().await;
    let mut dropped = Box::pin(orders.send(SinkMessage::new("pen".to_string()).with_key("b")));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    drop(dropped);

    let begun = Instant::now();
    let error = orders.close_within(2 * SECOND).await.unwrap_err();
    assert_eq!(begun.elapsed(), 2 * SECOND);
    let report = error.report();
    assert_eq!((report.delivered, report.failed, report.unknown, error.unfinished()), (0, 0, 2, 0), "{error}");
    let keys: Vec<_> = report.undelivered.iter().map(|left| left.record.key.clone().unwrap()).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(report.undelivered.iter().all(|left| left.error.persistence() == Persistence::PossiblyPersisted));
    let answer = order.await.unwrap().unwrap_err();
    assert_eq!((answer.kind(), answer.persistence()), (ErrorKind::Closed, Persistence::PossiblyPersisted), "{answer}");
    assert_eq!(orders.control().in_flight(), Default::default(), "nothing is left of it");
    assert!(orders.close().await.is_ok(), "reported once");

    // They take room until they are answered.
    assert_eq!(client.control().in_flight().records, 2);
    payments.send(1).await.unwrap();
    if answered_later {
        hold.release();
        client.close().await.unwrap();
    } else {
        let error = client.close_within(SECOND).await.unwrap_err();
        assert_eq!((error.report().delivered, error.report().unknown), (0, 2), "their final outcome: {error}");
    }
    assert_eq!((kafka.len("orders"), kafka.len("payments")), (2, 1));
}

/// A record whose deadline passed before the close is still in flight.
#[tokio::test(start_paused = true)]
async fn a_record_whose_caller_had_its_time_out_is_awaited_and_reported() {
    for answered in [true, false] {
        let kafka = kafka();
        let client = client(&kafka).await;
        let (orders, _payments) = sinks(&client).await;
        let hold = kafka.script().on_topic("orders").hold();
        let message = SinkMessage::new("book".to_string()).with_deadline(Instant::now() + SECOND);
        assert_eq!(orders.send(message).await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(orders.control().in_flight().records, 1);
        let closing = tokio::spawn({
            let orders = orders.clone();
            async move { orders.close_within(SECOND).await }
        });
        settle().await;
        assert!(!closing.is_finished());
        if answered {
            hold.release();
            closing.await.unwrap().unwrap();
        } else {
            let report = closing.await.unwrap().unwrap_err().into_report();
            assert_eq!((report.delivered, report.unknown), (0, 1));
            hold.release();
        }
        client.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn parked_records_of_a_closed_sink_are_not_written() {
    let kafka = kafka();
    let transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let client = KafkaClient::builder(config()).transport(transport).build().await.unwrap();
    let (orders, payments) = sinks(&client).await;
    let hold = kafka.script().on_topic("payments").hold();
    // Both found the gate open; the second is parked. A third waits for room above the transport.
    let (mut first, mut second) = (payments.clone(), orders.clone());
    let ready = futures_util::future::poll_fn(|cx| {
        use tower::Service;
        assert!(first.poll_ready(cx).is_ready() && second.poll_ready(cx).is_ready());
        std::task::Poll::Ready((
            Service::call(&mut first, SinkMessage::new(1)),
            Service::call(&mut second, SinkMessage::new("book".to_string())),
        ))
    });
    let (payment, parked) = ready.await;
    let waits = tokio::spawn(orders.send("pen".to_string()));
    settle().await;
    assert_eq!(orders.control().in_flight().parked, 1);
    let error = orders.close_within(SECOND).await.unwrap_err();
    assert_eq!((error.report().failed, error.report().unknown, error.unfinished()), (1, 0, 0), "{error:?}");
    for refused in [parked.await.unwrap_err(), waits.await.unwrap().unwrap_err()] {
        assert_eq!(
            (refused.kind(), refused.persistence()),
            (ErrorKind::Closed, Persistence::NotPersisted),
            "{refused}"
        );
    }
    hold.release();
    payment.await.unwrap();
    payments.send(2).await.unwrap();
    assert_eq!((kafka.len("orders"), kafka.len("payments")), (0, 2));
}

/// A queue above the transport hands a message over when its sink is closed.
#[tokio::test(start_paused = true)]
async fn what_a_layer_hands_over_after_the_close_is_not_sent() {
    struct Waits;
    #[kafka_tower::async_trait]
    impl kafka_tower::MessageSerializer<String> for Waits {
        async fn serialize(&self, value: &String) -> kafka_tower::Result<Vec<u8>> {
            tokio::time::sleep(5 * SECOND).await;
            Ok(value.clone().into_bytes())
        }
    }
    let kafka = kafka();
    let client = client(&kafka).await;
    let (_, payments) = sinks(&client).await;
    let orders = client.sink::<String>("orders").serializer(std::sync::Arc::new(Waits));
    let orders = orders.layer(BufferLayer::new(8)).build().await.unwrap();
    let order = tokio::spawn(orders.send("book".to_string()));
    settle().await;
    let error = orders.close_within(SECOND).await.unwrap_err();
    assert_eq!((error.unfinished(), error.report().undelivered.len()), (1, 0), "{error}");
    let answer = order.await.unwrap().unwrap_err();
    assert_eq!((answer.kind(), answer.message()), (ErrorKind::Closed, "not sent to orders: its sink was closed"));
    payments.send(1).await.unwrap();
    assert_eq!((kafka.len("orders"), kafka.len("payments")), (0, 1));
}

/// A failed send whose future was not polled since counts in the report of its own sink only.
#[tokio::test(start_paused = true)]
async fn unseen_failures_of_other_sinks_do_not_count() {
    let kafka = kafka();
    let client = client(&kafka).await;
    let (orders, payments) = sinks(&client).await;
    let rejected = Error::new(ErrorKind::Rejected, "no");
    kafka.script().on_topic("payments").late_by(SECOND).fail(rejected);
    let mut payment = Box::pin(payments.send(1));
    assert!(futures_util::poll!(&mut payment).is_pending());
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(payments.control().unseen().count(), 1);
    let begun = Instant::now();
    orders.flush().await.unwrap();
    orders.close().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(payments.close().await.unwrap_err().unfinished(), 1);
    drop(payment);
}

#[tokio::test(start_paused = true)]
async fn the_client_ends_all_sinks_with_one_report() {
    let kafka = kafka();
    let client = client(&kafka).await;
    let (orders, payments) = sinks(&client).await;
    let _holds = [kafka.script().on_topic("orders").hold(), kafka.script().on_topic("payments").hold()];
    let sends = (tokio::spawn(orders.send("book".to_string())), tokio::spawn(payments.send(1)));
    settle().await;
    let error = client.close_within(SECOND).await.unwrap_err();
    assert_eq!((error.report().unknown, error.report().undelivered.len()), (2, 2), "{error}");
    assert!(sends.0.await.unwrap().is_err() && sends.1.await.unwrap().is_err());
    assert!(orders.close().await.is_ok() && payments.close().await.is_ok() && client.close().await.is_ok());
}

/// Each close and each flush of many sinks at random times reports each record once, and hangs never.
#[tokio::test(start_paused = true)]
async fn sinks_that_close_at_any_time_report_each_record_once() {
    use kafka_tower::memory::{FaultKind, Faults};

    for seed in 0..200_u64 {
        let kafka = MemoryKafka::new().with_topic("orders", 2);
        kafka.seed_faults(seed, Faults::none().with(FaultKind::DelayAppend, 0.5).with(FaultKind::LoseAnswer, 0.1));
        let transport = kafka.transport_with(Limits { records: 3, bytes: 1_000 });
        let client = KafkaClient::builder(config()).transport(transport).build().await.unwrap();
        let (mut tasks, mut random) = (Vec::new(), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for n in 0..4_u64 {
            let sink = client.sink::<u64>("orders").build().await.unwrap();
            let (sends, closes, within) = (next(8), next(30), next(40));
            let futures: Vec<_> = (0..sends).map(|i| tokio::spawn(sink.send(SinkMessage::new(n * 100 + i)))).collect();
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(closes)).await;
                let _flushed = tokio::time::timeout(Duration::from_millis(1), sink.flush()).await;
                let report = match sink.close_within(Duration::from_millis(within)).await {
                    Ok(()) => 0,
                    Err(error) => error.report().undelivered.len() as u64,
                };
                let mut unanswered = 0;
                for future in futures {
                    unanswered += u64::from(future.await.unwrap().is_err());
                }
                (report, unanswered, sink.control().in_flight())
            }));
        }
        for task in tasks {
            let (report, unanswered, in_flight) = task.await.unwrap();
            assert!(report <= unanswered, "seed {seed}: {report} reported, {unanswered} failed");
            assert_eq!(in_flight, Default::default(), "seed {seed}");
        }
        kafka.stop_faults();
        client.close().await.unwrap();
        assert_eq!(client.control().in_flight(), Default::default(), "seed {seed}");
    }
}
