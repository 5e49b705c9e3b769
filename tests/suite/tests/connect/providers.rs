//! The providers of `kafka_tower::tokens`, on the listener that ends a connection with its token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kafka_tower::tokens::aws_credential_types::Credentials;
use kafka_tower::tokens::aws_credential_types::provider::error::CredentialsError;
use kafka_tower::tokens::aws_credential_types::provider::{ProvideCredentials, future};
use kafka_tower::tokens::{MskIamProvider, OidcProvider};
use kafka_tower::{Error, ErrorKind, KafkaSink, KafkaSinkConfig, KafkaSourceConfig, Recovery};
use kafka_tower_testkit::kafka::{Cluster, Listener, unsigned_token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::tokens::{goes_on_while, sink, source};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "hunter2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// A token that says to expire after this time, and that brokers accept for twice as long.
    Token(Duration),
    /// The secret is wrong.
    Refuse,
    Hang,
}

/// A token endpoint that answers by the number of the request.
struct Endpoint {
    url: String,
    requests: watch::Receiver<usize>,
    /// Number of requests that were given up by the client.
    dropped: watch::Receiver<usize>,
}

impl Endpoint {
    async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (requested, requests) = watch::channel(0);
        let (drop, dropped) = watch::channel(0);
        let (answer, requested, drop) = (Arc::new(answer), Arc::new(requested), Arc::new(drop));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&requested), Arc::clone(&drop)));
            }
        });
        Self { url, requests, dropped }
    }

    async fn requested(&self, times: usize) {
        let mut requests = self.requests.clone();
        timeout(PATIENCE, requests.wait_for(|requests| *requests >= times)).await.expect("a request").unwrap();
    }

    async fn has_dropped(&self) {
        let mut dropped = self.dropped.clone();
        timeout(PATIENCE / 3, dropped.wait_for(|dropped| *dropped > 0)).await.expect("the call is dropped").unwrap();
    }

    fn provider(&self) -> OidcProvider {
        OidcProvider::new(&self.url, "alice", SECRET).unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Arc<impl Fn(usize) -> Answer>,
    requested: Arc<watch::Sender<usize>>,
    dropped: Arc<watch::Sender<usize>>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"grant_type=client_credentials&scope=kafka") && !request.ends_with(b"client_credentials")
    {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "a whole request");
    }
    let mut number = 0;
    requested.send_modify(|requests| {
        *requests += 1;
        number = *requests;
    });
    let (status, body) = match answer(number) {
        Answer::Token(lifetime) => {
            let token = unsigned_token("alice", SystemTime::now() + 2 * lifetime);
            (200, format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{}}}"#, lifetime.as_secs()))
        }
        Answer::Refuse => (401, r#"{"error":"invalid_client","error_description":"wrong secret"}"#.to_owned()),
        Answer::Hang => {
            while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
            return dropped.send_modify(|dropped| *dropped += 1);
        }
    };
    let answer = format!("HTTP/1.1 {status} Any\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

fn config(kafka: &Cluster, topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig {
        brokers: kafka.bootstrap_of(Listener::Oauth).unwrap(),
        topic: topic.into(),
        connect_timeout_ms: 20_000,
        ..Default::default()
    }
    .with_property("security.protocol", "sasl_plaintext")
    .with_property("sasl.mechanism", "OAUTHBEARER")
}

/// Why connecting fails.
async fn failure(config: KafkaSinkConfig) -> Error {
    let error = KafkaSink::<usize>::new(config).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error:#}");
    let shown = format!("{error} {error:#} {error:?}");
    // The last is the beginning of a token of MSK: "https:".
    assert!(!shown.contains(SECRET) && !shown.contains("eyJ") && !shown.contains("aHR0cHM6"), "{shown}");
    error
}

/// Beside each other, because they wait for tokens to expire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers() {
    let Some(kafka) = crate::secure().await else { return };
    tokio::join!(
        a_sink_and_a_source_with_the_settings_of_a_file_get_tokens_and_renew_them(kafka),
        an_endpoint_that_hangs_or_refuses_holds_up_no_send(kafka),
        a_secret_that_is_refused_is_the_cause(kafka),
        an_endpoint_that_hangs_is_the_cause(kafka),
        credentials_that_fail_are_the_cause(kafka),
        a_token_of_amazon_is_refused_elsewhere_and_not_shown(kafka),
    );
}

/// Java's settings for the sink, librdkafka's for the source.
async fn a_sink_and_a_source_with_the_settings_of_a_file_get_tokens_and_renew_them(kafka: &Cluster) {
    let topic = kafka.topic("oidc", 1).await.unwrap();
    let brokers = kafka.bootstrap_of(Listener::Oauth).unwrap();
    // librdkafka looks once per second whether 80 % of it are over.
    let [of_sink, of_source] = [
        Endpoint::start(|_| Answer::Token(PATIENCE / 10)).await,
        Endpoint::start(|_| Answer::Token(PATIENCE / 10)).await,
    ];
    let java = format!(
        "bootstrap.servers={brokers}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
         sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
         sasl.oauthbearer.token.endpoint.url={}\n\
         sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='alice' \
         clientSecret='{SECRET}' scope='kafka';\n",
        of_sink.url
    );
    let librdkafka = format!(
        "bootstrap.servers={brokers}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanisms=OAUTHBEARER\n\
         sasl.oauthbearer.method=oidc\nsasl.oauthbearer.client.id=alice\nsasl.oauthbearer.client.secret={SECRET}\n\
         sasl.oauthbearer.token.endpoint.url={}\ngroup.id=group-{topic}\n",
        of_source.url
    );
    let of_file = KafkaSinkConfig::from_properties(&java).unwrap();
    let sink = sink(KafkaSinkConfig { topic: topic.clone(), connect_timeout_ms: 20_000, ..of_file }).await;
    let of_file = KafkaSourceConfig::from_properties(&librdkafka).unwrap();
    let of_file = KafkaSourceConfig { topics: vec![topic], connect_timeout_ms: 20_000, ..of_file };
    let source = source(of_file).await;
    // The source has a client that looks for brokers first.
    let more = || *of_sink.requests.borrow() < 3 || *of_source.requests.borrow() < 4;
    goes_on_while(sink, source, more).await;
}

async fn an_endpoint_that_hangs_or_refuses_holds_up_no_send(kafka: &Cluster) {
    let topic = kafka.topic("held", 1).await.unwrap();
    for later in [Answer::Hang, Answer::Refuse] {
        let first = Answer::Token(PATIENCE / 10);
        let endpoint = Endpoint::start(move |number| if number == 1 { first } else { later }).await;
        let sink = sink(config(kafka, &topic).with_token_provider(endpoint.provider())).await;
        endpoint.requested(2).await;
        // The token is still valid.
        sink.send(1).await.unwrap_or_else(|error| panic!("{later:?}: {error:#}"));
        sink.close().await.unwrap();
        if later == Answer::Hang {
            endpoint.has_dropped().await;
        }
    }
}

async fn a_secret_that_is_refused_is_the_cause(kafka: &Cluster) {
    let endpoint = Endpoint::start(|_| Answer::Refuse).await;
    let config = KafkaSinkConfig { connect_timeout_ms: 1_500, ..config(kafka, "orders") };
    let error = failure(config.with_token_provider(endpoint.provider())).await;
    assert_eq!(error.recovery(), Recovery::Wait);
    let cause = "answered 401 Unauthorized, invalid_client: wrong secret";
    assert!(error.message().contains("the token provider failed: the token endpoint 127.0.0.1:"), "{error}");
    assert!(error.message().contains(cause), "{error}");
}

async fn an_endpoint_that_hangs_is_the_cause(kafka: &Cluster) {
    let endpoint = Endpoint::start(|_| Answer::Hang).await;
    let provider = endpoint.provider().with_timeout(Duration::from_millis(500));
    let config = KafkaSinkConfig { connect_timeout_ms: 4_000, ..config(kafka, "orders") };
    let error = failure(config.with_token_provider(provider)).await;
    assert!(error.message().contains("did not answer within 500 ms"), "{error}");
}

#[derive(Clone, Copy, Debug)]
enum Broken {
    Fails,
    Panics,
}

impl ProvideCredentials for Broken {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            match self {
                Self::Fails => Err(CredentialsError::provider_error("the metadata service is down")),
                Self::Panics => panic!("planted"),
            }
        })
    }
}

async fn credentials_that_fail_are_the_cause(kafka: &Cluster) {
    for (credentials, cause) in [
        (Broken::Fails, "an error occurred while loading credentials: the metadata service is down"),
        (Broken::Panics, "the token provider panicked"),
    ] {
        let config = KafkaSinkConfig { connect_timeout_ms: 1_500, ..config(kafka, "orders") };
        let error = failure(config.with_token_provider(MskIamProvider::new("us-east-1", credentials).unwrap())).await;
        assert!(error.message().contains(cause), "{error}");
    }
}

async fn a_token_of_amazon_is_refused_elsewhere_and_not_shown(kafka: &Cluster) {
    let credentials = Credentials::new("AKIDEXAMPLE", SECRET, Some(SECRET.to_owned()), None, "test");
    let config = KafkaSinkConfig { connect_timeout_ms: 60_000, ..config(kafka, "orders") };
    let error = failure(config.with_token_provider(MskIamProvider::new("us-east-1", credentials).unwrap())).await;
    assert!(!error.message().contains("within"), "the error must not wait for the time-out: {error}");
}
