//! The example in a process of its own, and its HTTP client.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kafka_tower_testkit::kafka::{Cluster, ReadRecord};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// For a machine that is slow and busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Times of the service.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) send_timeout: Duration,
    pub(crate) shutdown: Duration,
}

pub(crate) struct Service {
    child: Child,
    address: String,
    http: Client<HttpConnector, Body>,
    log: JoinHandle<String>,
}

/// What the caller of a request learns.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of the header `Retry-After`.
    pub(crate) retry_after: Option<u64>,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Service {
    pub(crate) async fn start(kafka: &Cluster, times: Times) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_axum_service"))
            .env("LISTEN", "127.0.0.1:0")
            .env("KAFKA_BROKERS", kafka.bootstrap())
            .env("KAFKA_SEND_TIMEOUT_MS", times.send_timeout.as_millis().to_string())
            .env("KAFKA_CIRCUIT_BREAKER_TIMEOUT_SECS", "1")
            .env("SHUTDOWN_SECONDS", times.shutdown.as_secs().to_string())
            .env_remove("KAFKA_TOWER_REQUIRE_KAFKA")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.unwrap();
            text
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("it starts").unwrap().expect("it listens");
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { child, address, http: Client::builder(TokioExecutor::new()).build_http(), log }
    }

    /// Sends a request of the trace. `None`: the connection ended without an answer.
    pub(crate) fn post(&self, request: Request) -> impl Future<Output = Option<Answer>> + Send + 'static {
        let http = self.http.clone();
        let post = axum::http::Request::post(format!("{}{}", self.address, request.route()))
            .header("content-type", "application/json")
            .header("traceparent", format!("00-{}-b7ad6b7169203331-01", request.trace()))
            .body(Body::from(request.body().to_string()))
            .unwrap();
        async move {
            let (head, body) = http.request(post).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            let text = |name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            Some(Answer {
                status: head.status.as_u16(),
                retry_after: text("retry-after").map(|seconds| seconds.parse().unwrap()),
                content_type: text("content-type").unwrap_or_default(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            })
        }
    }

    /// Waits until so many records have no answer of Kafka.
    pub(crate) async fn has_in_flight(&self, records: usize) {
        let asked = async {
            loop {
                let response = self.http.get(format!("{}/health", self.address).parse().unwrap()).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                let health: Value = serde_json::from_slice(&body).unwrap();
                if health["in_flight"] == records {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the requests reach the client of Kafka");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let process = self.child.id().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    }

    /// Waits for the end. Returns the exit status and the log.
    pub(crate) async fn ended(mut self, within: Duration) -> (ExitStatus, String) {
        let status = timeout(within, self.child.wait()).await.expect("it ends within its deadline").unwrap();
        (status, self.log.await.unwrap())
    }
}

/// An order (odd) or a payment (even).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request(pub(crate) u64);

impl Request {
    pub(crate) fn topic(self) -> &'static str {
        if self.0 % 2 == 1 { "orders" } else { "payments" }
    }

    fn route(self) -> &'static str {
        if self.0 % 2 == 1 { "/orders" } else { "/payments" }
    }

    pub(crate) fn body(self) -> Value {
        match self.topic() {
            "orders" => json!({"id": self.0, "item": "book"}),
            _ => json!({"order": self.0, "cents": 1290}),
        }
    }

    /// Each request has a trace of its own.
    pub(crate) fn trace(self) -> String {
        format!("0af7651916cd43dd8448eb21{:08x}", self.0)
    }
}

/// The records of all requests, as an independent reader finds them.
pub(crate) async fn log(kafka: &Cluster) -> BTreeMap<Request, Vec<ReadRecord>> {
    let mut log: BTreeMap<Request, Vec<ReadRecord>> = BTreeMap::new();
    for topic in ["orders", "payments"] {
        for record in kafka.read(topic).await.unwrap() {
            let key = record.key.as_deref().unwrap().try_into().unwrap();
            let request = Request(u64::from_be_bytes(key));
            assert_eq!(request.topic(), topic);
            log.entry(request).or_default().push(record);
        }
    }
    log
}
