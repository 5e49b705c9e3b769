//! Checks a sink's transactions with the same faults and verdicts.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_tower::memory::MemoryTransport;
use kafka_tower::memory::sim::{Order, Verdict, check_transactions};
use kafka_tower::{
    ConsumerGroup, ControlFuture, Error, KafkaSink, KafkaSinkConfig, MessageSerializer, Result, TopicOffset,
    TransactionControl, async_trait,
};

use super::{BoxedStack, Raw, SEEDS, assert_kept, config, typed};

/// Encodes the bytes unchanged, but refuses some, at once or after a while. The first byte, which is the record's
/// number, decides.
pub(crate) struct Moody {
    pub(crate) waits: bool,
}

#[async_trait]
impl MessageSerializer<Bytes> for Moody {
    async fn serialize(&self, message: &Bytes) -> Result<Vec<u8>> {
        let mood = mood(message);
        if mood.is_multiple_of(3) {
            tokio::time::sleep(Duration::from_millis(mood % 7)).await;
        }
        if mood.is_multiple_of(5) { Err(Error::serialization("planted")) } else { Ok(message.to_vec()) }
    }

    fn serialize_now(&self, message: &Bytes, buffer: &mut BytesMut) -> Option<Result<()>> {
        match mood(message).is_multiple_of(5) {
            _ if self.waits => None,
            true => Some(Err(Error::serialization("planted"))),
            false => Raw.serialize_now(message, buffer),
        }
    }
}

/// Returns the number of the checker's record.
pub(crate) fn mood(message: &[u8]) -> u64 {
    message.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
}

/// The transport's transactions.
#[derive(Debug)]
struct OfTransport(Arc<dyn TransactionControl>);

impl TransactionControl for OfTransport {
    fn init(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.begin(within)
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.commit(within)
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.0.abort(within)
    }

    fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.0.send_offsets(o, group, within)
    }
}

type Connected = (BoxedStack, Arc<dyn TransactionControl>);

async fn transactional_sink(transport: MemoryTransport, serializer: Moody) -> Result<Connected> {
    let config = KafkaSinkConfig {
        enable_transactions: true,
        transactional_id: Some("check".into()),
        send_timeout_ms: 1_000,
        ..config()
    };
    let builder = KafkaSink::<Bytes>::builder(config).serializer(Arc::new(serializer)).transport(transport);
    let sink = builder.jitter_seed(1).build().await?;
    let transactions = sink.control().transactions().expect("a transactional sink");
    Ok((typed(sink), transactions))
}

/// The sink as users build it, with the default stack and its own begin, commit and abort. Some callers drop their
/// futures, and some values cannot be encoded.
#[test]
fn the_sink_keeps_exactly_once() {
    let check = check_transactions(|transport| transactional_sink(transport, Moody { waits: false }));
    assert_kept(&check.seeds(SEEDS).run_transactions());
}

/// With a serializer that waits. A send that is dropped meanwhile sends no record, and later messages may overtake one
/// that waits.
#[test]
fn the_sink_keeps_exactly_once_with_a_serializer_that_waits() {
    let check = check_transactions(|transport| transactional_sink(transport, Moody { waits: true }));
    assert_kept(&check.order(Order::None).seeds(SEEDS).run_transactions());
}

/// The same sends with the transport's own transactions, which do not see sends that failed above the transport and
/// were dropped.
#[test]
fn without_the_sinks_guard_transactions_are_incomplete() {
    for waits in [false, true] {
        let connect = async |transport: MemoryTransport| {
            let transactions = transport.control().transactions().expect("a transactional transport");
            let (stack, _) = transactional_sink(transport, Moody { waits }).await?;
            Ok((stack, Arc::new(OfTransport(transactions)) as Arc<dyn TransactionControl>))
        };
        let report = check_transactions(connect).order(Order::None).run_transactions();
        let torn = [Verdict::LostAcknowledged, Verdict::TornTransaction];
        assert!(report.verdicts().iter().any(|verdict| torn.contains(verdict)), "{report}");
    }
}
