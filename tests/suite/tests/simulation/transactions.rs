//! A sink's own transactions under the same faults, judged by the same verdicts.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_tower::memory::MemoryTransport;
use kafka_tower::memory::sim::{Verdict, check_transactions};
use kafka_tower::{
    ConsumerGroup, Control, ControlFuture, Error, KafkaSink, KafkaSinkConfig, MessageSerializer, Result, TopicOffset,
    TransactionControl, async_trait,
};

use super::{BoxedStack, Raw, SEEDS, assert_kept, config, typed};

/// Encodes the bytes as they are; some it refuses, at once or after a while. Which ones their first byte says: they begin with their number.
struct Moody {
    waits: bool,
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

/// The number of the checker's record.
fn mood(message: &[u8]) -> u64 {
    message.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
}

/// A sink's transactions by its own methods, whose time is the sink's.
#[derive(Debug)]
struct OfSink(KafkaSink<Bytes>);

impl TransactionControl for OfSink {
    fn init(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(()))) // making the sink did it
    }

    fn begin(&self) -> ControlFuture<'_, ()> {
        Box::pin(self.0.begin_transaction())
    }

    fn commit(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.0.commit_transaction())
    }

    fn abort(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.0.abort_transaction())
    }

    fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.0.control().transactions().expect("a sink with transactions").send_offsets(o, group, within)
    }
}

/// The transport's own.
#[derive(Debug)]
struct OfTransport(Arc<dyn Control>);

impl OfTransport {
    fn below(&self) -> &dyn TransactionControl {
        self.0.transactions().expect("a transactional transport")
    }
}

impl TransactionControl for OfTransport {
    fn init(&self, _: Duration) -> ControlFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn begin(&self) -> ControlFuture<'_, ()> {
        self.below().begin()
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below().commit(within)
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below().abort(within)
    }

    fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.below().send_offsets(o, group, within)
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
    Ok((typed(sink.clone()), Arc::new(OfSink(sink))))
}

/// As it is used: typed, with the default stack, its own begin, commit and abort; callers who drop their futures; and values that have no
/// encoding, of which the callers who look are told.
#[test]
fn the_sink_keeps_exactly_once() {
    let check = check_transactions(|transport| transactional_sink(transport, Moody { waits: false }));
    assert_kept(&check.seeds(SEEDS).run_transactions());
}

/// With a serializer that waits: who is dropped meanwhile sends nothing. A message that waits is behind those that do not.
#[test]
fn the_sink_keeps_exactly_once_with_a_serializer_that_waits() {
    let check = check_transactions(|transport| transactional_sink(transport, Moody { waits: true }));
    assert_kept(&check.without_order().seeds(SEEDS).run_transactions());
}

/// The same sends over the transport's transactions: nobody hears of what failed above it and was dropped.
#[test]
fn transactions_of_the_transport_alone_are_found_to_be_torn() {
    for waits in [false, true] {
        let connect = async |transport: MemoryTransport| {
            let control = transport.control();
            let (stack, _) = transactional_sink(transport, Moody { waits }).await?;
            Ok((stack, Arc::new(OfTransport(control)) as Arc<dyn TransactionControl>))
        };
        let report = check_transactions(connect).without_order().run_transactions();
        let torn = [Verdict::LostAcknowledged, Verdict::TornTransaction];
        assert!(report.verdicts().iter().any(|verdict| torn.contains(verdict)), "{report}");
    }
}
