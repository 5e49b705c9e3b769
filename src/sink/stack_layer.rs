use kafka_tower_core::{Delivery, Error};
use tower_layer::Layer;
use tower_service::Service;

/// A layer that a sink can use around `S`: [`SinkBuilder::layer`](crate::SinkBuilder::layer) takes those of messages,
/// [`SinkBuilder::record_layer`](crate::SinkBuilder::record_layer) those of records.
///
/// It is implemented for every `tower::Layer` whose service is `Clone + Send + Sync`, takes the request and answers with a
/// [`Delivery`], and whose error converts into [`Error`], as tower's boxed error does. What else the compiler says about a
/// layer that is none:
///
/// ```compile_fail
/// # async fn example(kafka: kafka_tower::memory::MemoryKafka) -> kafka_tower::Result<()> {
/// use kafka_tower::{KafkaSink, KafkaSinkConfig};
/// use tower::limit::RateLimitLayer;
///
/// let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
/// let sink = KafkaSink::<String>::builder(config)
///     .transport(kafka.transport())
///     // error: the layers of this sink do not fit: `tower::layer::util::Stack<RateLimitLayer, Identity>`
///     .layer(RateLimitLayer::new(5, std::time::Duration::from_secs(1)))
///     .build()
///     .await?;
/// # drop(sink);
/// # Ok(())
/// # }
/// ```
///
/// A rate limit is not `Clone`. Behind a `BufferLayer` it is, and all clones of the sink share it.
#[diagnostic::on_unimplemented(
    message = "the layers of this sink do not fit: `{Self}`",
    label = "one of them cannot be used around `{S}`",
    note = "the service that each layer makes must be `Clone + Send + Sync + 'static`, take `{Request}`, and answer with \
            `Delivery`; its error must convert into `kafka_tower::Error`, and its future must be `Send + 'static`",
    note = "a service that is not `Clone`, such as tower's `RateLimit`, works behind tower's `BufferLayer`",
    note = "`layer` takes layers of `SinkMessage<T>`, and `record_layer` layers of `Record`"
)]
pub trait StackLayer<Request, S>: Layer<S, Service: StackService<Request>> + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<L, Request, S> StackLayer<Request, S> for L where
    L: Layer<S, Service: StackService<Request>> + Send + Sync + 'static
{
}

/// A service that a [`StackLayer`] makes.
pub trait StackService<Request>:
    Service<Request, Response = Delivery, Error: Into<Error>, Future: Send + 'static> + Clone + Send + Sync + 'static
{
}

#[diagnostic::do_not_recommend]
impl<S, Request> StackService<Request> for S where
    S: Service<Request, Response = Delivery, Error: Into<Error>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}
