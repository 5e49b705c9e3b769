use std::sync::atomic::{AtomicU32, Ordering};

use kafka_tower_core::{CloseReport, ConsumerGroup, ControlFuture, InFlight, TopicOffset, TransactionControl};

use crate::support::*;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Ready,
    Call,
    Future,
}

/// Panics once.
#[derive(Clone)]
struct Panicking {
    inner: MemoryTransport,
    place: Where,
    left: Arc<AtomicU32>,
}

impl Panicking {
    fn at(&self, place: Where) {
        if self.place == place && self.left.swap(0, Ordering::SeqCst) == 1 {
            panic!("planted");
        }
    }
}

impl Service<Record> for Panicking {
    type Response = Delivery;
    type Error = Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.at(Where::Ready);
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Self::Future {
        self.at(Where::Call);
        let (sent, this) = (self.inner.call(record), self.clone());
        Box::pin(async move {
            this.at(Where::Future);
            sent.await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_ends_one_batch_and_not_the_layer() {
    for place in [Where::Ready, Where::Call, Where::Future] {
        let kafka = kafka();
        let inner = kafka.transactional_transport("id");
        let layer = TransactionBatchLayer::new(inner.control());
        layer.init(SECOND).await.unwrap();
        let service = layer.layer(Panicking { inner, place, left: Arc::new(AtomicU32::new(1)) });
        let outcomes = all(send_all(&service, ["a", "b"])).await;
        for outcome in &outcomes {
            assert_eq!(facts(outcome), (ErrorKind::Unknown, Recovery::Retry, Persistence::NotPersisted));
            assert!(outcome.as_ref().unwrap_err().message().contains("a panic"), "{outcome:?}");
        }
        assert!(send(&service, 0, "c").await.is_ok());
        assert_eq!(committed(&kafka), ["c"]);
    }
}

/// Panics at the end of each commit, or else in each abort.
#[derive(Debug)]
struct PanickingControl {
    inner: Arc<dyn Control>,
    commit: bool,
}

#[derive(Debug)]
struct PanickingTransactions {
    inner: Arc<dyn TransactionControl>,
    commit: bool,
}

impl Control for PanickingControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        self.inner.flush()
    }
    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        self.inner.close(within)
    }
    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.inner.partition_count(topic)
    }
    fn in_flight(&self) -> InFlight {
        self.inner.in_flight()
    }
    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        let commit = self.commit;
        self.inner.transactions().map(|inner| Arc::new(PanickingTransactions { inner, commit }) as _)
    }
}

impl TransactionControl for PanickingTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.inner.init(within)
    }
    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.inner.begin(within)
    }
    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        let commit = self.inner.commit(within);
        Box::pin(async move {
            commit.await?;
            assert!(!self.commit, "planted");
            Ok(())
        })
    }
    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        assert!(self.commit, "planted");
        self.inner.abort(within)
    }
    fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.inner.send_offsets(o, group, within)
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_transaction_call_ends_the_layer() {
    for (commit, persistence) in [(true, Persistence::PossiblyPersisted), (false, Persistence::NotPersisted)] {
        let kafka = kafka();
        let inner = kafka.transactional_transport("id");
        let control: Arc<dyn Control> = Arc::new(PanickingControl { inner: inner.control(), commit });
        let layer = TransactionBatchLayer::new(control);
        layer.init(SECOND).await.unwrap();
        let place = if commit { Where::Ready } else { Where::Call };
        let left = Arc::new(AtomicU32::new(u32::from(!commit)));
        let service = layer.layer(Panicking { inner, place, left });
        assert_eq!(facts(&send(&service, 0, "a").await).2, persistence);
        assert_eq!(
            facts(&send(&service, 0, "b").await),
            (ErrorKind::Fatal, Recovery::Fatal, Persistence::NotPersisted)
        );
    }
}
