//! A service that sends to Kafka, traced with OpenTelemetry from its caller's request to the offset in the log.
//!
//! ```text
//! cargo run --example traced_service --features opentelemetry
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run --example traced_service --features opentelemetry
//! ```
//!
//! Without `OTEL_EXPORTER_OTLP_ENDPOINT` it prints spans and metrics. Without `KAFKA_BROKERS` it uses librdkafka's mock
//! cluster in this process. `TRACED_SERVICE_SECONDS` makes it serve for a while, for dashboards.
//!
//! `place` and its siblings correspond to handlers of axum, `serve` to its router with a tracing middleware.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod otel;
mod post;

use std::env;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kafka_tower::telemetry::Telemetry;
use kafka_tower::{Delivery, KafkaSink, KafkaSinkConfig, Persistence, Result, SinkMessage};
use opentelemetry::trace::{FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::{HeaderExtractor, Request, Response};

const TOPIC: &str = "kafka-tower-orders";
/// Context of a traced caller, from the examples of the W3C standard.
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(serde::Serialize)]
struct Order {
    id: u64,
    customer: String,
}

impl Order {
    fn new(id: u64) -> Self {
        Self { id, customer: format!("customer-{}", id % 7) }
    }
}

/// State of the handlers.
#[derive(Clone)]
struct Shop {
    orders: KafkaSink<Order>,
    /// For orders that must be written together or not at all.
    ledger: KafkaSink<Order>,
}

fn message(order: Order) -> SinkMessage<Order> {
    SinkMessage::new(order).with_key_from(|order| order.customer.clone())
}

/// `POST /orders`. The request's span is current, so the span of the send becomes its child.
async fn place(shop: &Shop, request: Request<u64>) -> Response<String> {
    answer(shop.orders.send(message(Order::new(request.into_body()))).await)
}

/// `POST /orders/import`: one span for the batch, and one for each message.
async fn import(shop: &Shop, request: Request<u64>) -> Response<String> {
    let ids = request.into_body()..;
    let results = shop.orders.send_batch(ids.take(5).map(|id| message(Order::new(id)))).await;
    answer(results.and_then(|results| results.into_iter().last().expect("five were sent")))
}

/// `POST /orders/swap`: both or none, in a transaction with its own span.
async fn swap(shop: &Shop, request: Request<u64>) -> Response<String> {
    let id = request.into_body();
    let both = async {
        shop.ledger.begin_transaction().await?;
        let sent = join_all([id, id + 1].map(|id| shop.ledger.send(message(Order::new(id))))).await;
        match sent.into_iter().collect::<Result<Vec<_>>>() {
            Ok(mut deliveries) => shop.ledger.commit_transaction().await.map(|()| deliveries.remove(0)),
            Err(error) => shop.ledger.abort_transaction().await.and(Err(error)),
        }
    };
    answer(both.await)
}

/// `POST /orders/late`: a request whose deadline has passed.
async fn late(shop: &Shop, request: Request<u64>) -> Response<String> {
    let order = message(Order::new(request.into_body())).with_deadline(Instant::now());
    answer(shop.orders.send(order).await)
}

fn answer(result: Result<Delivery>) -> Response<String> {
    let (status, body) = match result {
        Ok(delivery) => (201, delivery.to_string()),
        Err(error) if error.persistence() == Persistence::NotPersisted => (503, error.message().to_owned()),
        // The outcome is unknown: the caller must check before it repeats the request.
        Err(error) => (504, error.message().to_owned()),
    };
    Response::builder().status(status).body(body).expect("a valid status")
}

/// Does what a router with a tracing middleware does: starts a SERVER span, whose parent is in the request's headers,
/// and makes it current in the handler.
async fn serve(shop: &Shop, request: Request<u64>) -> Response<String> {
    let route = request.uri().path().to_owned();
    let parent = global::get_text_map_propagator(|w3c| {
        w3c.extract_with_context(&Context::new(), &HeaderExtractor(request.headers()))
    });
    let tracer = global::tracer("http");
    let span = tracer
        .span_builder(format!("POST {route}"))
        .with_kind(SpanKind::Server)
        .with_attributes([KeyValue::new("http.request.method", "POST"), KeyValue::new("http.route", route.clone())])
        .start_with_context(&tracer, &parent);
    let context = Context::new().with_span(span);
    let response = async {
        match route.as_str() {
            "/orders/import" => import(shop, request).await,
            "/orders/swap" => swap(shop, request).await,
            "/orders/late" => late(shop, request).await,
            _ => place(shop, request).await,
        }
    };
    let response = response.with_context(context.clone()).await;
    let status = i64::from(response.status().as_u16());
    context.span().set_attribute(KeyValue::new("http.response.status_code", status));
    if status >= 500 {
        context.span().set_status(Status::error(""));
    }
    context.span().end();
    response
}

fn request(route: &str, id: u64) -> Request<u64> {
    Request::post(route).body(id).expect("a valid request")
}

fn config() -> KafkaSinkConfig {
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| TOPIC.to_owned());
    let config =
        KafkaSinkConfig { topic, send_timeout_ms: 5_000, circuit_breaker_timeout_secs: 5, ..Default::default() };
    let config = config.with_property("statistics.interval.ms", "1000");
    match env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty()) {
        Some(brokers) => KafkaSinkConfig { brokers, ..config },
        None => config.with_property("test.mock.num.brokers", "1"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn StdError>> {
    // Before the first `Telemetry::new()`, which takes the global providers at that time.
    let otel = otel::start("traced_service")?;
    let telemetry = Telemetry::new();
    let config = config();
    let ledger = KafkaSinkConfig {
        enable_transactions: true,
        transactional_id: Some(format!("{}-ledger", config.topic)),
        ..config.clone()
    };
    println!("kafka-tower, traced\n\n  topic      {}\n  telemetry  {}\n", config.topic, otel.place);
    let shop = Shop {
        orders: KafkaSink::builder(config).telemetry(telemetry.clone()).build().await?,
        ledger: KafkaSink::builder(ledger).telemetry(telemetry).build().await?,
    };

    for (route, id) in [("/orders", 1), ("/orders/import", 2), ("/orders/swap", 7), ("/orders/late", 9)] {
        let mut request = request(route, id);
        request.headers_mut().insert("traceparent", CALLER.parse()?);
        let response = serve(&shop, request).await;
        println!("  POST {route:<15} {}  {}", response.status(), response.body());
    }
    let seconds = env::var("TRACED_SERVICE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    traffic(&shop, Duration::from_secs(seconds)).await;

    shop.orders.close().await?;
    shop.ledger.close().await?;
    otel.stop()?;
    println!("\nWhere to look:\n  trace      {}, in {}", CALLER.split('-').nth(1).unwrap_or_default(), otel.place);
    println!("  metrics    messaging.client.* and kafka_tower.*, there too");
    println!("  dashboard  docs/grafana/dashboard.json and alerts.yaml, for Grafana over Prometheus");
    println!("  guide      docs/observability.md");
    Ok(())
}

/// A request every 50 ms, whether earlier ones were answered or not.
async fn traffic(shop: &Shop, time: Duration) {
    let end = tokio::time::Instant::now() + time;
    let mut open = tokio::task::JoinSet::new();
    // Swaps run one after the other, because a transaction belongs to the sink.
    let swapping = shop.clone();
    open.spawn(async move {
        for id in 0.. {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if tokio::time::Instant::now() >= end {
                break;
            }
            serve(&swapping, request("/orders/swap", id)).await;
        }
    });
    let mut callers = tokio::time::interval(Duration::from_millis(50));
    let mut id = 100;
    while tokio::time::Instant::now() < end {
        callers.tick().await;
        id += 10;
        let (shop, route) = (shop.clone(), if id % 200 == 0 { "/orders/import" } else { "/orders" });
        open.spawn(async move {
            serve(&shop, request(route, id)).await;
        });
    }
    open.join_all().await;
}
