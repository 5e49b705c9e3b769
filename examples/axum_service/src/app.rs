//! State, routes and handlers.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use kafka_tower::{Error, KafkaClient, KafkaSink, Result, SinkMessage};
use serde::{Deserialize, Serialize};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::observe;

/// For what handlers do beside their sends.
const MARGIN: Duration = Duration::from_secs(5);

#[derive(Deserialize, Serialize)]
pub(crate) struct Order {
    id: u64,
    item: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Payment {
    order: u64,
    cents: u64,
}

/// Two types and topics over one client.
#[derive(Clone)]
pub(crate) struct App {
    client: KafkaClient,
    orders: KafkaSink<Order>,
    payments: KafkaSink<Payment>,
}

impl App {
    pub(crate) async fn new(client: KafkaClient) -> Result<Self> {
        let orders = client.sink("orders").build().await?;
        let payments = client.sink("payments").build().await?;
        Ok(Self { client, orders, payments })
    }
}

/// `send_timeout`: of the sinks. The time-out above them is longer, so that a caller learns how its send ended.
pub(crate) fn router(app: App, send_timeout: Duration) -> Router {
    let times_out = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, send_timeout + MARGIN);
    Router::new()
        .route("/orders", post(order))
        .route("/payments", post(pay))
        .layer(times_out)
        .layer(TraceLayer::new_for_http().make_span_with(observe::span).on_response(observe::answered).on_failure(()))
        .route("/health", get(health))
        .with_state(app)
}

/// Where the record is.
#[derive(Serialize)]
struct Placed {
    at: String,
}

async fn order(State(app): State<App>, Json(order): Json<Order>) -> Result<(StatusCode, Json<Placed>), Error> {
    let delivery = app.orders.send(SinkMessage::new(order).with_key_from(|order| order.id)).await?;
    Ok((StatusCode::CREATED, Json(Placed { at: delivery.to_string() })))
}

async fn pay(State(app): State<App>, Json(payment): Json<Payment>) -> Result<(StatusCode, Json<Placed>), Error> {
    let delivery = app.payments.send(SinkMessage::new(payment).with_key_from(|payment| payment.order)).await?;
    Ok((StatusCode::CREATED, Json(Placed { at: delivery.to_string() })))
}

#[derive(Serialize)]
struct Health {
    /// Records without an answer of Kafka.
    in_flight: usize,
}

async fn health(State(app): State<App>) -> Json<Health> {
    let in_flight = app.client.control().in_flight();
    Json(Health { in_flight: in_flight.records + in_flight.parked })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, Response, header};
    use kafka_tower::memory::MemoryKafka;
    use kafka_tower::{ErrorKind, KafkaSinkConfig};
    use tower::ServiceExt as _;

    use super::*;

    async fn service() -> (MemoryKafka, Router) {
        let kafka = MemoryKafka::new().with_topic("orders", 1).with_topic("payments", 1);
        let config = KafkaSinkConfig { max_retries: 0, circuit_breaker_threshold: 1, ..Default::default() };
        let client = KafkaClient::builder(config).transport(kafka.transport()).build().await.unwrap();
        (kafka, router(App::new(client).await.unwrap(), Duration::from_secs(30)))
    }

    async fn post(router: &Router, route: &str, body: &'static str) -> (Response<()>, serde_json::Value) {
        let request = Request::post(route).header(header::CONTENT_TYPE, "application/json").body(Body::from(body));
        let (head, body) = router.clone().oneshot(request.unwrap()).await.unwrap().into_parts();
        let body = to_bytes(body, 10_000).await.unwrap();
        (Response::from_parts(head, ()), serde_json::from_slice(&body).unwrap())
    }

    const ORDER: &str = r#"{"id": 1, "item": "book"}"#;
    const PAYMENT: &str = r#"{"order": 1, "cents": 1290}"#;

    #[tokio::test(start_paused = true)]
    async fn each_type_goes_to_its_topic() {
        let (kafka, router) = service().await;
        for (route, body, at) in [("/orders", ORDER, "orders[0]@0"), ("/payments", PAYMENT, "payments[0]@0")] {
            let (head, body) = post(&router, route, body).await;
            assert_eq!((head.status().as_u16(), body["at"].as_str()), (201, Some(at)));
        }
        assert_eq!(kafka.partition("payments", 0)[0].value().unwrap(), r#"{"order":1,"cents":1290}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_says_whether_the_record_may_be_in_the_log() {
        let (kafka, router) = service().await;
        kafka.script().times(1).fail(Error::new(ErrorKind::RecordTooLarge, "larger than orders take"));
        let (head, body) = post(&router, "/orders", ORDER).await;
        assert_eq!((head.status().as_u16(), body["persistence"].as_str()), (413, Some("not_persisted")));
        assert!(!body.to_string().contains("larger than"), "{body}");

        kafka.script().times(1).lose_answer();
        let (head, body) = post(&router, "/orders", ORDER).await;
        assert_eq!((head.status().as_u16(), body["persistence"].as_str()), (504, Some("possibly_persisted")));
        assert_eq!(head.headers()[header::CONTENT_TYPE], "application/problem+json");

        // That failure has opened the breaker of the orders.
        let (head, body) = post(&router, "/orders", ORDER).await;
        assert_eq!((head.status().as_u16(), body["persistence"].as_str()), (503, Some("not_persisted")));
        let after: u64 = head.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        assert_eq!(post(&router, "/payments", PAYMENT).await.0.status(), 201);
    }
}
