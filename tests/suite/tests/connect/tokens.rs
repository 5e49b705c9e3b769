//! Tokens for OAUTHBEARER, on a listener that ends a connection with its token.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use kafka_tower::{
    BoxError, ConsumerTransport, ErrorKind, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, OauthToken,
    Persistence, Record, Recovery, TokenFuture, TokenProvider, preflight,
};
use kafka_tower_core::Subscription;
use kafka_tower_rdkafka::{ClientError, ClientEvents, RdkafkaConsumerTransport, RdkafkaTransport};
use kafka_tower_testkit::kafka::{Cluster, Listener, unsigned_token};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tower::ServiceExt;

const PATIENCE: Duration = Duration::from_secs(30);
/// librdkafka looks once per second whether 80 % of it are over.
const SHORT: Duration = Duration::from_secs(3);

/// A token of `alice` that the brokers accept for this time.
fn token(lifetime: Duration) -> OauthToken {
    let expires_at = SystemTime::now() + lifetime;
    OauthToken::until(unsigned_token("alice", expires_at), expires_at).with_principal("alice")
}

/// What the next call of a provider does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Token(Duration),
    /// A token that the brokers accept for twice as long: librdkafka logs in again when 90 % of that are over.
    Careful(Duration),
    Fail,
    Panic,
    Hang,
    /// A token that has expired, and that its owner believes to be valid.
    Refused,
}

/// A provider that the test directs and watches.
#[derive(Clone)]
struct Provider {
    next: Arc<dyn Fn(usize) -> Next + Send + Sync>,
    calls: watch::Sender<usize>,
    /// Number of calls that were dropped before they returned.
    dropped: watch::Sender<usize>,
}

impl Provider {
    fn new(next: impl Fn(usize) -> Next + Send + Sync + 'static) -> Self {
        Self { next: Arc::new(next), calls: watch::Sender::new(0), dropped: watch::Sender::new(0) }
    }

    async fn called(&self, times: usize) {
        let mut calls = self.calls.subscribe();
        timeout(PATIENCE, calls.wait_for(|calls| *calls >= times)).await.expect("the provider is called").unwrap();
    }

    /// Waits for less time than a call may take.
    async fn has_dropped(&self, times: usize) {
        let mut dropped = self.dropped.subscribe();
        timeout(PATIENCE / 3, dropped.wait_for(|dropped| *dropped >= times)).await.expect("a call is dropped").unwrap();
    }
}

struct Dropped(watch::Sender<usize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send_modify(|dropped| *dropped += 1);
    }
}

impl TokenProvider for Provider {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async move {
            let mut call = 0;
            self.calls.send_modify(|calls| {
                *calls += 1;
                call = *calls;
            });
            match (self.next)(call) {
                Next::Token(lifetime) => Ok(token(lifetime)),
                Next::Careful(lifetime) => Ok(OauthToken::new(token(2 * lifetime).value(), lifetime)),
                Next::Fail => Err(BoxError::from("the identity server is down")),
                Next::Panic => panic!("planted"),
                Next::Hang => {
                    let _dropped = Dropped(self.dropped.clone());
                    pending().await
                }
                Next::Refused => {
                    let expired = unsigned_token("alice", SystemTime::UNIX_EPOCH + Duration::from_secs(1));
                    Ok(OauthToken::new(expired, Duration::from_secs(60)))
                }
            }
        })
    }
}

fn sink_config(kafka: &Cluster, topic: &str, provider: &Provider) -> KafkaSinkConfig {
    KafkaSinkConfig {
        brokers: kafka.bootstrap_of(Listener::Oauth).unwrap(),
        topic: topic.into(),
        connect_timeout_ms: 20_000,
        ..Default::default()
    }
    .with_property("security.protocol", "sasl_plaintext")
    .with_property("sasl.mechanism", "OAUTHBEARER")
    .with_token_provider(provider.clone())
}

fn source_config(kafka: &Cluster, topic: &str, provider: &Provider) -> KafkaSourceConfig {
    let KafkaSinkConfig { brokers, properties, connect_timeout_ms, .. } = sink_config(kafka, topic, provider);
    KafkaSourceConfig {
        brokers,
        properties,
        connect_timeout_ms,
        topics: vec![topic.into()],
        group_id: format!("group-{topic}"),
        ..Default::default()
    }
    .with_token_provider(provider.clone())
}

pub(crate) async fn sink(config: KafkaSinkConfig) -> KafkaSink<usize> {
    KafkaSink::new(config).await.unwrap_or_else(|error| panic!("{error:#}"))
}

pub(crate) async fn source(config: KafkaSourceConfig) -> KafkaSource<usize> {
    KafkaSource::new(config).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Sends numbers and reads them back, each before the next, as long as `more` says so.
pub(crate) async fn goes_on_while(sink: KafkaSink<usize>, mut source: KafkaSource<usize>, more: impl Fn() -> bool) {
    let mut sent = 0;
    while more() {
        sink.send(sent).await.unwrap_or_else(|error| panic!("{sent}: {error:#}"));
        let message = timeout(PATIENCE, source.recv()).await.expect("a message").unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(message.value(), Some(&sent));
        message.ack();
        sent += 1;
    }
    assert!(sent > 0);
    sink.close().await.unwrap();
    assert!(timeout(PATIENCE, source.close()).await.unwrap().is_complete());
}

/// Beside each other, because they wait for tokens to expire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens() {
    let Some(kafka) = crate::secure().await else { return };
    tokio::join!(
        a_sink_and_a_source_go_on_with_tokens_that_are_refreshed(kafka),
        a_provider_that_fails_and_panics_is_called_again(kafka),
        connecting_without_a_token_ends_in_time_with_the_cause(kafka),
        a_token_that_the_brokers_refuse_fails_at_once_and_is_not_shown(kafka),
        without_a_provider_nothing_connects(kafka),
        a_call_that_hangs_delays_neither_a_send_nor_the_close(kafka),
        a_send_and_a_source_without_a_valid_token_name_the_last_failure_and_go_on_after_it(kafka),
        a_failure_is_reported_once_and_the_isolated_producer_has_tokens_of_its_own(kafka),
    );
}

async fn a_sink_and_a_source_go_on_with_tokens_that_are_refreshed(kafka: &Cluster) {
    let topic = kafka.topic("refreshed", 1).await.unwrap();
    let [of_sink, of_source] = [(); 2].map(|()| Provider::new(|_| Next::Careful(SHORT)));
    let sink = sink(sink_config(kafka, &topic, &of_sink)).await;
    let source = source(source_config(kafka, &topic, &of_source)).await;
    let first_ends = Instant::now() + 2 * SHORT;
    // The source has a client that looks for brokers first.
    let more = || *of_sink.calls.borrow() < 3 || *of_source.calls.borrow() < 4 || Instant::now() < first_ends;
    goes_on_while(sink, source, more).await;
}

async fn a_provider_that_fails_and_panics_is_called_again(kafka: &Cluster) {
    let topic = kafka.topic("again", 1).await.unwrap();
    let provider = || {
        Provider::new(|call| match call {
            1 => Next::Fail,
            2 => Next::Panic,
            _ => Next::Token(PATIENCE),
        })
    };
    let (of_sink, of_source) = (provider(), provider());
    let (sink, mut source) =
        tokio::join!(sink(sink_config(kafka, &topic, &of_sink)), source(source_config(kafka, &topic, &of_source)));
    sink.send(1).await.unwrap();
    assert_eq!(timeout(PATIENCE, source.recv()).await.unwrap().unwrap().value(), Some(&1));
    assert_eq!((*of_sink.calls.borrow(), *of_source.calls.borrow()), (3, 4));
    sink.close().await.unwrap();
    drop(source);
    // One provider for the client that looks at the cluster, and for transactions.
    let config = sink_config(kafka, &topic, &Provider::new(|_| Next::Token(PATIENCE)));
    let report = preflight(&config).await;
    assert!(report.passed(), "{report}");
    let transactional =
        KafkaSinkConfig { enable_transactions: true, transactional_id: Some(topic.clone()), ..config.clone() };
    let sink = self::sink(transactional).await;
    let transaction = sink.transaction().await.unwrap();
    transaction.send(2).await.unwrap();
    transaction.commit().await.unwrap();
    sink.close().await.unwrap();
}

async fn connecting_without_a_token_ends_in_time_with_the_cause(kafka: &Cluster) {
    for (next, cause) in [
        (Next::Fail, "there is no valid token: the token provider failed: the identity server is down"),
        (Next::Panic, "there is no valid token: the token provider panicked"),
        (Next::Hang, "there is no valid token: the token provider has not returned for"),
    ] {
        let [of_sink, of_source, of_report] = [(); 3].map(|()| Provider::new(move |_| next));
        let sink = KafkaSinkConfig { connect_timeout_ms: 1_500, ..sink_config(kafka, "orders", &of_sink) };
        let source = KafkaSourceConfig { connect_timeout_ms: 1_500, ..source_config(kafka, "orders", &of_source) };
        let report = sink.clone().with_token_provider(of_report.clone());
        let (sink, source, report) =
            tokio::join!(KafkaSink::<usize>::new(sink), KafkaSource::<usize>::new(source), preflight(&report));
        for error in [sink.err().unwrap(), source.err().unwrap(), report.error.unwrap()] {
            assert_eq!((error.kind(), error.recovery()), (ErrorKind::Authentication, Recovery::Wait), "{error:#}");
            assert_eq!(error.persistence(), Persistence::NotPersisted);
            assert!(error.message().contains("within 1.5 s; ") && error.message().contains(cause), "{error:#}");
            assert!(error.help().contains("token provider"), "{error:#}");
        }
        if next == Next::Hang {
            for provider in [of_sink, of_source, of_report] {
                provider.has_dropped(1).await;
                assert_eq!(*provider.calls.borrow(), 1, "one call at a time");
            }
        }
    }
}

async fn a_token_that_the_brokers_refuse_fails_at_once_and_is_not_shown(kafka: &Cluster) {
    let provider = Provider::new(|_| Next::Refused);
    let sink = KafkaSinkConfig { connect_timeout_ms: 60_000, ..sink_config(kafka, "orders", &provider) };
    let source = KafkaSourceConfig { connect_timeout_ms: 60_000, ..source_config(kafka, "orders", &provider) };
    let (sink, source) = tokio::join!(KafkaSink::<usize>::new(sink), KafkaSource::<usize>::new(source));
    for error in [sink.err().unwrap(), source.err().unwrap()] {
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error:#}");
        assert!(!error.message().contains("within"), "the error must not wait for the time-out: {error}");
        let shown = format!("{error} {error:#} {error:?}");
        assert!(!shown.contains("eyJ"), "{shown}");
    }
}

async fn without_a_provider_nothing_connects(kafka: &Cluster) {
    let properties = kafka.properties(Listener::Oauth).unwrap();
    let error = RdkafkaTransport::builder().properties(properties.clone()).connect().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    let subscription = Subscription::new("billing", vec!["orders".into()]);
    let error = RdkafkaConsumerTransport::new(properties).open(subscription).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
}

/// The texts of all errors.
struct Errors(mpsc::UnboundedSender<String>);

impl ClientEvents for Errors {
    fn error(&self, error: &ClientError<'_>) {
        let _ = self.0.send(error.to_string());
    }
}

/// The next error that has this text.
async fn next(errors: &mut mpsc::UnboundedReceiver<String>, text: &str) -> String {
    loop {
        let error = timeout(PATIENCE, errors.recv()).await.expect("an error").unwrap();
        if error.contains(text) {
            return error;
        }
    }
}

/// While a call takes long, and after a failure, the client works as long as its token is valid.
async fn a_call_that_hangs_delays_neither_a_send_nor_the_close(kafka: &Cluster) {
    let provider = Provider::new(|call| if call == 1 { Next::Token(SHORT) } else { Next::Hang });
    let sink = sink(sink_config(kafka, "orders", &provider)).await;
    provider.called(2).await;
    sink.close().await.unwrap();
    provider.has_dropped(1).await;
}

async fn a_send_and_a_source_without_a_valid_token_name_the_last_failure_and_go_on_after_it(kafka: &Cluster) {
    let topic = kafka.topic("outage", 1).await.unwrap();
    let state = Arc::new(AtomicUsize::new(0));
    let provider = || {
        let state = Arc::clone(&state);
        Provider::new(move |_| match state.load(Ordering::Relaxed) {
            0 => Next::Careful(SHORT / 2),
            1 => Next::Fail,
            _ => Next::Token(PATIENCE),
        })
    };
    let config = KafkaSinkConfig { send_timeout_ms: 1_000, max_retries: 0, ..sink_config(kafka, &topic, &provider()) };
    let sink = sink(KafkaSinkConfig { enable_circuit_breaker: false, ..config }).await;
    let mut source = source(source_config(kafka, &topic, &provider())).await;
    state.store(1, Ordering::Relaxed);
    let begun = Instant::now();
    let error = loop {
        match sink.send(1).await {
            Ok(_) => assert!(begun.elapsed() < PATIENCE, "the token was refreshed"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:#}");
    let cause = "the token provider failed: the identity server is down";
    let of_send = format!("there is no valid token: {cause}");
    assert!(error.message().contains(&of_send) && error.help().contains("token provider"), "{error:#}");
    let reads = async {
        loop {
            match source.recv().await {
                Ok(message) => drop(message.ack()),
                Err(error) => break format!("{error}: {}", std::error::Error::source(&error).unwrap()),
            }
        }
    };
    let text = timeout(PATIENCE, reads).await.expect("an error");
    assert!(text.contains(cause), "{text}");
    state.store(2, Ordering::Relaxed);
    let goes_on = async {
        while sink.send(7).await.is_err() {}
        while source.recv().await.map_or(true, |message| {
            message.ack();
            message.value() != Some(&7)
        }) {}
    };
    timeout(PATIENCE, goes_on).await.expect("both go on");
    drop(sink.close().await);
}

async fn a_failure_is_reported_once_and_the_isolated_producer_has_tokens_of_its_own(kafka: &Cluster) {
    let provider = Provider::new(|call| if call == 3 { Next::Token(PATIENCE) } else { Next::Fail });
    let (errors, mut seen) = mpsc::unbounded_channel();
    let transport = RdkafkaTransport::builder()
        .properties(kafka.properties(Listener::Oauth).unwrap())
        .topic("orders")
        .token_provider(Arc::new(provider.clone()))
        .events(Errors(errors))
        .connect()
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    next(&mut seen, "the identity server is down").await;
    assert!(seen.try_recv().is_err(), "once per cause");
    transport.clone().oneshot(Record::new("orders").with_value("x")).await.unwrap();
    let mut record = Record::new("orders").with_value("x").with_expires_at(Instant::now() + Duration::from_secs(2));
    record.isolated = true;
    let error = transport.clone().oneshot(record).await.unwrap_err();
    assert!(error.message().contains("the identity server is down"), "{error:#}");
    transport.oneshot(Record::new("orders").with_value("x")).await.unwrap();
}

#[test]
fn a_runtime_that_ends_is_the_cause() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (connecting, testing) = (runtime(), runtime());
    let Some(kafka) = testing.block_on(crate::secure()) else { return };
    let (errors, mut seen) = mpsc::unbounded_channel();
    let provider = Provider::new(|_| Next::Token(SHORT));
    let connect = RdkafkaTransport::builder()
        .properties(kafka.properties(Listener::Oauth).unwrap())
        .topic("orders")
        .token_provider(Arc::new(provider.clone()))
        .events(Errors(errors))
        .connect();
    let transport = connecting.block_on(connect).unwrap();
    drop(connecting);
    testing.block_on(async {
        transport.clone().oneshot(Record::new("orders").with_value("x")).await.unwrap();
        next(&mut seen, "the tokio runtime that connected has ended").await;
        assert_eq!(*provider.calls.borrow(), 1);
        let closed = timeout(PATIENCE, transport.control().close(Duration::from_secs(5))).await.unwrap().unwrap();
        assert_eq!(closed.undelivered.len(), 0);
    });
}
