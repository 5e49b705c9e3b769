//! How much of what was read a source holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::Order;
use kafka_tower::{
    CommitStrategy, Error, KafkaSource, KafkaSourceConfig, MessageDeserializer, SourceMessage, async_trait,
};
use kafka_tower_core::{RawRecord, RecordRef, Result};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower::service_fn;

use crate::support::{LONG, append_text, config, kafka};

const RECORDS: usize = 60;
const BYTES: usize = 100_000;

/// Counts what was decoded.
struct Counting(Arc<AtomicUsize>);

#[async_trait]
impl MessageDeserializer<usize> for Counting {
    async fn deserialize(&self, _: RawRecord) -> Result<usize> {
        unreachable!("it is decoded at once")
    }

    fn deserialize_now(&self, _: &str, record: &RecordRef<'_>) -> Option<Result<usize>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Ok(record.value.map_or(0, <[u8]>::len)))
    }
}

async fn large(config: KafkaSourceConfig) -> (MemoryKafka, KafkaSource<usize>, Arc<AtomicUsize>) {
    let kafka = kafka(3);
    for number in 0..RECORDS {
        append_text(&kafka, number as i32 % 3, &"x".repeat(BYTES)).await;
    }
    let decoded = Arc::default();
    let builder = KafkaSource::<usize>::builder(config).deserializer(Arc::new(Counting(Arc::clone(&decoded))));
    let source = builder.transport(kafka.clone()).build().await.unwrap();
    (kafka, source, decoded)
}

#[tokio::test(start_paused = true)]
async fn large_records_are_decoded_few_at_a_time() {
    let (_kafka, mut source, decoded) = large(config(CommitStrategy::Automatic)).await;
    for received in 1..=RECORDS {
        let message = timeout(LONG, source.recv()).await.unwrap().unwrap();
        assert_eq!(message.value(), Some(&BYTES));
        message.ack();
        let ahead = decoded.load(Ordering::Relaxed) - received;
        assert!(ahead < 10, "{ahead} of {BYTES} bytes are decoded ahead");
    }
}

#[tokio::test(start_paused = true)]
async fn serve_holds_no_more_than_the_buffer_and_a_batch() {
    for (order, buffer_bytes) in [(Order::None, 1_000_000), (Order::Partition, 1_000_000), (Order::Key, 1)] {
        let config = KafkaSourceConfig { buffer_bytes, ..config(CommitStrategy::Automatic) };
        let (_kafka, source, decoded) = large(config).await;
        let (control, places, handled) = (source.control(), Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (may_end, count) = (Arc::clone(&places), Arc::clone(&handled));
        let service = service_fn(move |_: SourceMessage<usize>| {
            let (may_end, count) = (Arc::clone(&may_end), Arc::clone(&count));
            async move {
                may_end.acquire().await.unwrap().forget();
                count.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Error>(())
            }
        });
        let serving = tokio::spawn(source.serve(service).order(order));
        for ended in 0..RECORDS {
            sleep(Duration::from_millis(10)).await;
            assert_eq!(handled.load(Ordering::Relaxed), ended, "{order:?}");
            let held = (decoded.load(Ordering::Relaxed) - ended) * BYTES;
            assert!(held <= buffer_bytes + 10 * BYTES, "{order:?}: {held} bytes are held after {ended}");
            places.add_permits(1);
        }
        sleep(Duration::from_millis(10)).await;
        assert_eq!(handled.load(Ordering::Relaxed), RECORDS, "{order:?}: it goes on");
        drop(control.close().await);
        assert_eq!(serving.await.unwrap().unwrap().settled, RECORDS as u64);
    }
}
