//! A transport whose `begin` waits for a broker.

use std::sync::atomic::{AtomicBool, Ordering};

use kafka_tower_test_suite::control::with_begin;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_begin_waits_as_long_as_a_send_and_can_be_repeated() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let transport = kafka.transactional_transport("id");
    let answers = Arc::<AtomicBool>::default();
    let answered = Arc::clone(&answers);
    let control = with_begin(transport.control(), move |below, within| {
        let answered = answered.load(Ordering::Acquire);
        Box::pin(async move {
            if answered {
                return below.begin(within).await;
            }
            sleep(within).await;
            let error = Error::new(ErrorKind::Timeout, "the transaction was not begun: no answer");
            Err(error.with_recovery(Recovery::Retry).with_persistence(Persistence::NotPersisted))
        })
    });
    let builder = KafkaSink::<u32>::builder(config()).transport((transport, control));
    let sink = builder.build().await.unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        let error = sink.begin_transaction().await.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::from_millis(config().send_timeout_ms));
        assert_eq!((error.recovery(), error.persistence()), (Recovery::Retry, Persistence::NotPersisted), "{error:#}");
        sink.send(1).await.expect_err("no transaction is open");
    }
    answers.store(true, Ordering::Release);
    let stage = Stage { kafka, sink };
    stage.begin().await;
    stage.assert_whole(&[1]).await;
}
