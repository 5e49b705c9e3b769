//! Panics of callbacks and wakers.

use super::*;

struct Panics(UnboundedSender<&'static str>);

impl ClientEvents for Panics {
    fn error(&self, _: &ClientError<'_>) {
        self.0.send("error").unwrap();
        panic!("planted");
    }

    fn statistics(&self, json: &str) {
        assert!(json.starts_with('{'));
        self.0.send("statistics").unwrap();
        panic!("planted");
    }
}

#[tokio::test]
async fn a_panic_in_a_callback_stops_nothing() {
    let (sender, mut calls) = unbounded_channel();
    let (cluster, builder) = mock();
    let mut transport =
        builder.property("statistics.interval.ms", "10").events(Panics(sender)).connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let open = call(&mut transport, record("x")).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.extend(tokio::time::timeout(PATIENCE, calls.recv()).await.expect("both callbacks are called"));
    }
    cluster.broker_up(1).unwrap();
    assert!(open.await.is_ok());
}

#[tokio::test]
async fn a_panic_in_a_waker_stops_nothing() {
    struct Bomb;
    impl std::task::Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("planted");
        }
    }
    let (_cluster, builder) = mock();
    let mut transport = builder.property("linger.ms", "50").connect().await.unwrap();
    let mut first = call(&mut transport, record("x")).await;
    let second = call(&mut transport, record("y")).await;
    let waker = Arc::new(Bomb).into();
    assert!(std::pin::Pin::new(&mut first).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    assert!(second.await.is_ok());
    assert!(first.await.is_ok());
}
