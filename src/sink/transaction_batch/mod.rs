//! A sink whose sends share transactions: the lanes of its transport, and what it refuses.

mod lanes;
mod options;

use kafka_tower_core::{IntoTransport, Record, Result, SinkMessage, Transport};
use kafka_tower_layers::serialize::MessageSerializer;
use kafka_tower_layers::transaction_batch::TransactionBatch;

use super::KafkaSink;
use super::builder::{Made, SinkBuilder};
use super::stack::{RecordStack, TypedStack};
use super::stack_layer::StackLayer;

#[cfg(feature = "rdkafka")]
pub(super) use self::lanes::lane_id;
pub(super) use self::lanes::{ConnectLane, connect_lane, connect_lanes};
pub use self::options::TransactionBatchOptions;

/// Transport source of a builder with shared transactions: `C` makes the transport of each lane.
#[derive(Clone, Debug)]
pub struct Batched<C> {
    pub(super) connect: C,
    pub(super) options: TransactionBatchOptions,
}

impl<T, F: ?Sized, S, L, R> SinkBuilder<T, F, S, L, R> {
    /// As `transaction_batch`, over transports of your own: `transport` makes the one with the transactional id that it
    /// gets. It is called for each lane, and again if the producer of a lane has to be replaced.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage, TransactionBatchOptions};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 4);
    /// let config = KafkaSinkConfig::exactly_once("memory", "orders", "billing");
    /// let options = TransactionBatchOptions::new().lanes(2);
    /// let lanes = kafka.clone();
    /// let sink = KafkaSink::<String>::builder(config)
    ///     .transaction_batch_over(options, move |id| lanes.transactional_transport(id))
    ///     .build()
    ///     .await?;
    ///
    /// // Committed: `read_committed` readers see it.
    /// sink.send(SinkMessage::new("debit".to_string()).with_key("42")).await?;
    /// assert_eq!(kafka.committed("orders").len(), 1);
    /// sink.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction_batch_over<X, M>(
        self,
        options: TransactionBatchOptions,
        transport: M,
    ) -> SinkBuilder<T, F, Batched<Lanes<M>>, L, R>
    where
        X: IntoTransport,
        M: Fn(&str) -> X + Send + Sync + 'static,
    {
        self.batched(options, |_| Lanes(transport))
    }
}

/// Makes the transports of lanes with a function.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<M>(M);

impl<T, F, L, R, X, M> SinkBuilder<T, F, Batched<Lanes<M>>, L, R>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
    X: IntoTransport,
    X::Transport: Transport + Sync,
    M: Fn(&str) -> X + Send + Sync + 'static,
{
    /// Validates the configuration, acquires the transactional ids of all lanes, and makes the sink.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for settings that cannot work, and if another sink of this process
    /// uses a transactional id: see [Shared transactions](KafkaSink#shared-transactions). Otherwise the reason why an id
    /// could not be acquired.
    ///
    /// # Cancel safety
    ///
    /// The sink is not made. An initialisation of a transactional id that has begun goes on in the transport.
    pub async fn build(self) -> Result<KafkaSink<T>>
    where
        R: StackLayer<Record, RecordStack<TransactionBatch>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, TransactionBatch, R>>,
    {
        let connect = |Lanes(transport): Lanes<M>| -> ConnectLane<X::Transport> {
            connect_lane(move |id| std::future::ready(Ok(transport(&id).into_transport())))
        };
        self.build_batched(connect).await
    }
}

impl<T, F, C, L, R> SinkBuilder<T, F, Batched<C>, L, R>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
{
    /// Checks everything that can be checked before a connection, then makes the lanes and the sink over them.
    pub(super) async fn build_batched<S: Transport + Sync>(
        self,
        connect: impl FnOnce(C) -> ConnectLane<S>,
    ) -> Result<KafkaSink<T>>
    where
        R: StackLayer<Record, RecordStack<TransactionBatch>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, TransactionBatch, R>>,
    {
        self.check()?;
        self.source.options.check(&self.config)?;
        let (builder, Batched { connect: with, options }) = self.take_source();
        let telemetry = builder.telemetry.of_topic(&builder.config.topic);
        let (batch, control, claims) = connect_lanes(&builder.config, options, &telemetry, connect(with)).await?;
        Ok(builder.finish(Made { transport: batch, control, claims, is_batched: true, shared: None }))
    }
}
