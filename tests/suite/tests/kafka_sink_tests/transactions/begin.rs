//! A begin that is dropped while the transport works on it.

use std::sync::Arc;

use kafka_tower::{CloseReport, Control, ControlFuture, InFlight, TransactionControl};

use super::*;

/// Control of a transport whose first `begin` never returns. The transaction may be open then.
#[derive(Debug)]
struct Stuck {
    below: Arc<dyn Control>,
    transactions: Arc<StuckTransactions>,
}

impl Stuck {
    fn new(below: Arc<dyn Control>, opens: bool) -> Self {
        let transactions = StuckTransactions { below: below.transactions().unwrap(), opens, begins: true.into() };
        Self { below, transactions: Arc::new(transactions) }
    }
}

impl Control for Stuck {
    fn flush(&self) -> ControlFuture<'_, ()> {
        self.below.flush()
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        self.below.close(within)
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.below.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.below.in_flight()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        Some(Arc::clone(&self.transactions) as Arc<dyn TransactionControl>)
    }
}

#[derive(Debug)]
struct StuckTransactions {
    below: Arc<dyn TransactionControl>,
    /// The first begin opens a transaction.
    opens: bool,
    /// Begin was not called yet.
    begins: std::sync::atomic::AtomicBool,
}

impl TransactionControl for StuckTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            let first = self.begins.swap(false, std::sync::atomic::Ordering::Relaxed);
            if !first || self.opens {
                self.below.begin(within).await?;
            }
            if first { std::future::pending().await } else { Ok(()) }
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
async fn the_next_transaction_begins_whether_the_dropped_begin_has_opened_one_or_not() {
    for opens in [true, false] {
        let kafka = MemoryKafka::new().with_topic("numbers", 1);
        let transport = kafka.transactional_transport("id");
        let control: Arc<dyn Control> = Arc::new(Stuck::new(transport.control(), opens));
        let sink = KafkaSink::<u32>::builder(config()).transport((transport, control)).build().await.unwrap();
        tokio::time::timeout(TIME, sink.transaction()).await.expect_err("the begin never returns");
        sink.in_transaction(async |tx| tx.send(1).await.map(drop)).await.unwrap();
        assert_eq!(committed(&kafka), [1]);
    }
}
