//! [`Serve`]: gives the messages of a source to a tower service.

mod alarms;
mod driver;
pub(super) mod lanes;
mod policy;
mod slots;

use std::fmt;
use std::future::{Future, Pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower_core::BoxError;
use pin_project::pin_project;
use tower_service::Service;

use super::{KafkaSource, SourceCloseReport, SourceError, SourceMessage};
use driver::Driver;
pub use lanes::Order;
pub(super) use policy::Verdict;
pub use policy::{FailurePolicy, Settlement};

/// Default of [`Serve::concurrency`].
const CONCURRENCY: usize = 64;

/// Gives the messages of a source to a service: [`KafkaSource::serve`]. A future that ends when the source is closed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::source::{FailurePolicy, Order};
/// use kafka_tower::{KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, SourceMessage};
/// use tower::{ServiceBuilder, service_fn};
///
/// async fn store(order: SourceMessage<String>) -> Result<(), std::io::Error> {
///     println!("{:?}", order.value());
///     Ok(()) // acknowledges it
/// }
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3);
/// # let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
/// # let sink = KafkaSink::<String>::builder(config).transport(kafka.transport()).build().await?;
/// # sink.send("first".to_string()).await?;
/// let config = KafkaSourceConfig {
///     group_id: "billing".into(),
///     topics: vec!["orders".into()],
///     ..Default::default()
/// };
/// let source = KafkaSource::<String>::builder(config).transport(kafka.clone()).build().await?;
///
/// let service = ServiceBuilder::new().concurrency_limit(16).service(service_fn(store));
/// let report = source
///     .serve(service)
///     .concurrency(64)
///     .order(Order::Key)
///     .record_timeout(Duration::from_secs(30))
///     .on_failure(FailurePolicy::retry(3).then_skip())
///     .until(tokio::time::sleep(Duration::from_millis(100))) // or `tokio::signal::ctrl_c()`
///     .await?;
/// assert!(report.is_complete(), "{report}");
/// assert_eq!(report.settled, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Messages
///
/// Each message is handled by one call of the service. Its answer settles the message, so there is no need to call
/// [`ack`](SourceMessage::ack). An error, a panic and a [time-out](Self::record_timeout) are failures, about which the
/// [policy](Self::on_failure) decides. A service that decides itself answers with a [`Settlement`].
///
/// A message that is handled again is the same value: it returns when the service drops the message. If the service has taken
/// the value out ([`into_parts`](SourceMessage::into_parts)) or keeps the message, it is read again from Kafka, after the
/// source's `redelivery_backoff_ms`, together with what follows it in its partition.
///
/// The futures of the service run on the task that awaits `serve`. To use more threads, spawn a task in the service and await
/// it. A service that answers before such a task is done acknowledges its message too early.
///
/// # Readiness
///
/// No message is read before `poll_ready` of the service was `Ok`. A service that is not ready, for example a concurrency limit
/// without a free place, stops the reading; the source remains a member of its group. An error of `poll_ready` ends `serve`.
///
/// To stop the reading while something is down, put the service behind a circuit breaker that
/// [waits](crate::layers::circuit_breaker#waiting). By default a breaker is ready while it is open, and rejects: each rejected
/// message has failed. The messages that open the breaker and its probes are failures, so retry them:
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use kafka_tower::layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::source::FailurePolicy;
/// use kafka_tower::{BoxError, KafkaSource, KafkaSourceConfig, SourceMessage};
/// use tokio::time::{Duration, sleep};
/// use tower::{ServiceBuilder, service_fn};
///
/// async fn store(_: SourceMessage<String>) -> Result<(), BoxError> {
///     Err("the database is down".into())
/// }
///
/// # let kafka = MemoryKafka::new().with_topic("orders", 3);
/// # let config = KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() };
/// # let source = KafkaSource::<String>::builder(config).transport(kafka).build().await?;
/// let breaker = CircuitBreakerConfig::new().failure_threshold(3).open_for(Duration::from_secs(10));
/// let breaker = CircuitBreakerLayer::new(breaker).wait_while_open(true);
/// let service = ServiceBuilder::new().layer(breaker).service(service_fn(store));
/// let serve = source.serve(service).on_failure(FailurePolicy::retry(u32::MAX));
/// # serve.until(sleep(Duration::from_secs(60))).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Rebalances
///
/// When partitions are taken back, their messages that wait for a place or for their lane are put back at once. Those that the
/// service handles are waited for up to `drain_timeout_ms`. After that they go on, but their answers have no effect, because
/// the new owner reads them again; see [`cancel_on_revoke`](Self::cancel_on_revoke).
///
/// # Errors
///
/// [`SourceErrorKind::Handler`](super::SourceErrorKind::Handler) or [`Timeout`](super::SourceErrorKind::Timeout) if a message
/// failed and the policy says so, [`Decode`](super::SourceErrorKind::Decode) if one cannot be decoded,
/// [`DeadLetter`](super::SourceErrorKind::DeadLetter) if a dead letter is not delivered for certain, and
/// [`Service`](super::SourceErrorKind::Service) if the service will not be ready any more. In each case the messages that are
/// handled may end, what is settled is committed, and the source is closed: [`SourceError::close_report`]. The message of the
/// error is not settled and is read again after a restart. Other errors of the source are logged only.
///
/// # Cancel safety
///
/// Dropping it drops the futures of the service and acknowledges nothing more: messages that were not answered are read again.
/// The source closes in the background, as if it was dropped.
#[pin_project]
#[must_use = "nothing is read unless it is awaited"]
pub struct Serve<T, S: Service<SourceMessage<T>>, U = Pending<()>> {
    driver: Driver<T, S>,
    #[pin]
    shutdown: U,
}

impl<T, S> Serve<T, S>
where
    T: Send + 'static,
    S: Service<SourceMessage<T>>,
    S::Response: Into<Settlement>,
    S::Error: Into<BoxError>,
{
    pub(super) fn new(source: KafkaSource<T>, service: S) -> Self {
        Self { driver: Driver::new(source, service), shutdown: std::future::pending() }
    }
}

impl<T, S: Service<SourceMessage<T>>, U> Serve<T, S, U> {
    /// Sets how many messages are handled at the same time, at least 1. Default: 64. Set it before the first poll.
    ///
    /// Of each partition, at most four times as many messages (at least 64) are handled or wait for their lane or a place. Of all
    /// partitions, they have at most `buffer_bytes`, and those of one batch more.
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.driver.lanes = self.driver.lanes.again(self.driver.lanes.order(), messages);
        self
    }

    /// Sets which messages are handled one at a time, in the order of their offsets. Default: [`Order::Key`]. Set it before
    /// the first poll.
    pub fn order(mut self, order: Order) -> Self {
        self.driver.lanes = self.driver.lanes.again(order, self.driver.lanes.places());
        self
    }

    /// Sets how long the handling of a message may take, with the time in the layers of the service. Default: no limit.
    ///
    /// After it the service's future is dropped, and the message has failed.
    pub fn record_timeout(mut self, time: Duration) -> Self {
        self.driver.record_timeout = Some(time);
        self
    }

    /// Sets what happens to a message that failed. Default: [`FailurePolicy::fail`].
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.driver.policy = policy;
        self
    }

    /// Whether to drop the service's futures of messages whose partition was given back or lost. Default: false, so that they
    /// end; their answers have no effect.
    pub fn cancel_on_revoke(mut self, cancel: bool) -> Self {
        self.driver.cancel_on_revoke = cancel;
        self
    }

    /// Closes the source when this future ends, for example `tokio::signal::ctrl_c()`. Messages that the service handles are
    /// waited for up to `drain_timeout_ms`. [`SourceControl::close`](super::SourceControl::close) does the same from another
    /// task.
    pub fn until<V: Future>(self, shutdown: V) -> Serve<T, S, V> {
        Serve { driver: self.driver, shutdown }
    }
}

impl<T, S, U> Future for Serve<T, S, U>
where
    T: Send + 'static,
    S: Service<SourceMessage<T>>,
    S::Response: Into<Settlement>,
    S::Error: Into<BoxError>,
    U: Future,
{
    type Output = Result<SourceCloseReport, SourceError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.driver.is_transactional() {
            return Poll::Ready(Err(SourceError::in_transactions()));
        }
        this.driver.poll(|cx| this.shutdown.poll(cx).map(drop), cx)
    }
}

impl<T, S: Service<SourceMessage<T>>, U> fmt::Debug for Serve<T, S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Driver { lanes, policy, record_timeout, cancel_on_revoke, .. } = &self.driver;
        f.debug_struct("Serve")
            .field("concurrency", &lanes.places())
            .field("order", &lanes.order())
            .field("record_timeout", record_timeout)
            .field("on_failure", policy)
            .field("cancel_on_revoke", cancel_on_revoke)
            .field("running", &lanes.running())
            .finish_non_exhaustive()
    }
}
