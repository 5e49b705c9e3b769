//! A begin that is dropped while the transport works on it.

use std::sync::atomic::{AtomicBool, Ordering};

use kafka_tower_test_suite::control::with_begin;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_next_transaction_begins_whether_the_dropped_begin_has_opened_one_or_not() {
    for opens in [true, false] {
        let kafka = MemoryKafka::new().with_topic("numbers", 1);
        let transport = kafka.transactional_transport("id");
        let first = AtomicBool::new(true);
        let control = with_begin(transport.control(), move |below, within| {
            let first = first.swap(false, Ordering::Relaxed);
            Box::pin(async move {
                if !first || opens {
                    below.begin(within).await?;
                }
                if first { std::future::pending().await } else { Ok(()) }
            })
        });
        let sink = KafkaSink::<u32>::builder(config()).transport((transport, control)).build().await.unwrap();
        tokio::time::timeout(TIME, sink.transaction()).await.expect_err("the begin never returns");
        sink.in_transaction(async |tx| tx.send(1).await.map(drop)).await.unwrap();
        assert_eq!(committed(&kafka), [1]);
    }
}
