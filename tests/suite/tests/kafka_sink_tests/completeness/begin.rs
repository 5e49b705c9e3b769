//! A transport whose `begin` waits for a broker.

use std::sync::atomic::{AtomicBool, Ordering};

use kafka_tower::{
    CloseReport, ConsumerGroup, Control, ControlFuture, InFlight, TopicOffset, TransactionControl, UnseenFailures,
};

use super::*;

/// Control of a transport whose coordinator does not answer a `begin` until `answers` is set.
#[derive(Debug)]
struct Silent {
    below: Arc<dyn Control>,
    answers: Arc<AtomicBool>,
}

impl Control for Silent {
    fn flush(&self) -> ControlFuture<'_, ()> {
        self.below.flush()
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        self.below.close(within)
    }

    fn unseen(&self) -> UnseenFailures {
        self.below.unseen()
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.below.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.below.in_flight()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        let below = self.below.transactions()?;
        Some(Arc::new(SilentTransactions { below, answers: Arc::clone(&self.answers) }))
    }
}

#[derive(Debug)]
struct SilentTransactions {
    below: Arc<dyn TransactionControl>,
    answers: Arc<AtomicBool>,
}

impl TransactionControl for SilentTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            if self.answers.load(Ordering::Acquire) {
                return self.below.begin(within).await;
            }
            sleep(within).await;
            let error = Error::new(ErrorKind::Timeout, "the transaction was not begun: no answer");
            Err(error.with_recovery(Recovery::Retry).with_persistence(Persistence::NotPersisted))
        })
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.commit(within)
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.abort(within)
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.below.send_offsets(offsets, group, within)
    }
}

#[tokio::test(start_paused = true)]
async fn a_begin_waits_as_long_as_a_send_and_can_be_repeated() {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let transport = kafka.transactional_transport("id");
    let answers = Arc::<AtomicBool>::default();
    let control: Arc<dyn Control> = Arc::new(Silent { below: transport.control(), answers: Arc::clone(&answers) });
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
