use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::{BoxError, ConsumerTransport, TopicPartition};
use kafka_tower_layers::deserialize::MessageDeserializer;

use super::listener::{self, RebalanceListener};
use super::place::{Starts, Stored};
use super::reader::Reading;
use super::{DecodePolicy, KafkaSource, Reader, Shared};
use crate::KafkaSourceConfig;
use crate::optional::TelemetrySetting;
use crate::preflight::{self, source::SourcePreflightReport};

/// Default deserializer: JSON with the feature `json`. Without it there is none, and [`SourceBuilder::deserializer`] must be
/// called.
#[cfg(feature = "json")]
pub type DefaultDeserializer = kafka_tower_layers::deserialize::JsonDeserializer;

/// Default deserializer: JSON with the feature `json`. Without it there is none, and [`SourceBuilder::deserializer`] must be
/// called.
#[cfg(not(feature = "json"))]
pub type DefaultDeserializer = crate::sink::NoSerializer;

/// Placeholder for a builder without a transport.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NoTransport;

/// Builds a [`KafkaSource`]: see [`KafkaSource::builder`].
///
/// `F` is the deserializer, `S` the transport.
#[must_use = "a builder makes nothing before `build`"]
pub struct SourceBuilder<T, F: ?Sized = DefaultDeserializer, S = NoTransport> {
    pub(super) config: KafkaSourceConfig,
    deserializer: Arc<F>,
    reading: Reading,
    stored: Option<Stored>,
    listener: Option<Arc<dyn RebalanceListener>>,
    pub(super) telemetry: TelemetrySetting,
    transport: S,
    message: PhantomData<fn() -> T>,
}

impl<T> SourceBuilder<T> {
    pub(super) fn new(config: KafkaSourceConfig) -> Self {
        let deserializer = Arc::new(DefaultDeserializer::default());
        Self {
            config,
            deserializer,
            reading: Reading::default(),
            stored: None,
            listener: None,
            telemetry: TelemetrySetting::default(),
            transport: NoTransport,
            message: PhantomData,
        }
    }
}

impl<T, F: ?Sized, S> SourceBuilder<T, F, S> {
    /// Sets the deserializer. Default: JSON.
    pub fn deserializer<G: MessageDeserializer<T>>(self, deserializer: Arc<G>) -> SourceBuilder<T, G, S> {
        let Self { config, reading, stored, listener, telemetry, transport, message, .. } = self;
        SourceBuilder { config, deserializer, reading, stored, listener, telemetry, transport, message }
    }

    /// Reads through this transport, for example a [`MemoryKafka`](crate::memory::MemoryKafka).
    pub fn transport<X: ConsumerTransport>(self, transport: X) -> SourceBuilder<T, F, X> {
        let Self { config, deserializer, reading, stored, listener, telemetry, message, .. } = self;
        SourceBuilder { config, deserializer, reading, stored, listener, telemetry, transport, message }
    }

    /// Sets a look-up of the offset at which a partition begins, for an application that stores offsets with its results. It
    /// is called each time that a partition is assigned, and comes before what the group has committed. Without an offset
    /// (`None`), the partition begins as without the look-up.
    ///
    /// If it fails or panics, `recv` returns an error of kind [`Seek`](super::SourceErrorKind::Seek), and it is repeated.
    /// Meanwhile the partition is not read. Required with [`CommitStrategy::Checkpoint`], unless a
    /// [listener](Self::listener) returns the offsets. Needs a tokio runtime.
    ///
    /// [`CommitStrategy::Checkpoint`]: kafka_tower_core::source::CommitStrategy::Checkpoint
    ///
    /// ```
    /// # use kafka_tower::{CommitStrategy, KafkaSource, KafkaSourceConfig, TopicPartition};
    /// # async fn stored_offset(_: &TopicPartition) -> Result<Option<i64>, std::io::Error> { Ok(None) }
    /// # fn example() {
    /// let config = KafkaSourceConfig {
    ///     group_id: "billing".into(),
    ///     topics: vec!["orders".into()],
    ///     commit: CommitStrategy::Checkpoint,
    ///     ..Default::default()
    /// };
    /// let builder = KafkaSource::<String>::builder(config).start_at(|at| async move { stored_offset(&at).await });
    /// # }
    /// ```
    pub fn start_at<L, R, E>(mut self, look_up: L) -> Self
    where
        L: Fn(TopicPartition) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<i64>, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.stored = Some(Arc::new(move |at| {
            let found = look_up(at);
            Box::pin(async move { found.await.map_err(Into::into) })
        }));
        self
    }

    /// Sets what hears when partitions are assigned, given back or lost: see [`RebalanceListener`]. Needs a tokio runtime.
    pub fn listener(mut self, listener: Arc<impl RebalanceListener>) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Sets what happens to a record that cannot be decoded. Default: [`DecodePolicy::fail`].
    pub fn on_decode_error(mut self, policy: DecodePolicy) -> Self {
        self.reading.policy = policy;
        self
    }

    /// Whether to decode a record whose header `content-type` states a format that the deserializer does not
    /// [read](MessageDeserializer::content_types). Default: false, and such a record is a decode error.
    pub fn lenient_content_type(mut self, lenient: bool) -> Self {
        self.reading.lenient_content_type = lenient;
        self
    }

    /// Whether records are read with their headers. Default: true.
    ///
    /// Without them, small records take about a sixth less CPU time with librdkafka, which makes a buffer for each record to look
    /// for headers, also if it has none. Messages then have no headers, nor have errors and dead letters; no `content-type` is
    /// compared; and the spans of the source's telemetry do not know those of the senders.
    pub fn read_headers(mut self, read: bool) -> Self {
        self.reading.ignores_headers = !read;
        self
    }

    /// Whether messages keep the original bytes of their values, for [`SourceMessage::raw`](super::SourceMessage::raw) and for
    /// dead letters of messages that could be decoded. Default: false, because each value is copied for that.
    ///
    /// A record that cannot be decoded keeps its bytes in any case.
    pub fn keep_raw(mut self, keep: bool) -> Self {
        self.reading.keep_raw = keep;
        self
    }

    /// Records spans and metrics of the source: see [`telemetry::source`](crate::telemetry::source). Without a transport of your
    /// own, the client id and the address of a single broker are taken from the configuration.
    #[cfg(feature = "opentelemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
    pub fn telemetry(mut self, telemetry: crate::telemetry::Telemetry) -> Self {
        self.telemetry = TelemetrySetting(Some(telemetry));
        self
    }
}

impl<T, F: ?Sized, S> SourceBuilder<T, F, S> {
    /// Refuses what cannot work together.
    fn starts(&self) -> kafka_tower_core::Result<Starts> {
        if self.listener.is_some() {
            listener::check(&self.config)?;
        }
        Starts::new(&self.config, self.stored.clone(), self.listener.is_some())
    }

    pub(super) async fn preflight_through(&self, transport: &dyn ConsumerTransport) -> SourcePreflightReport {
        let mut report = SourcePreflightReport::of(&self.config);
        let starts = self.starts().map_err(|error| report.problems.push(format!("{error:#}"))).ok();
        let Some(starts) = starts.filter(|_| report.may_connect()) else { return report };
        let started = Instant::now();
        match transport.inspect(self.config.subscription()).await {
            Ok(found) => {
                let stored = match &self.listener {
                    Some(_) => None,
                    None => Some(starts.all_stored(found.logs.keys(), &mut report.problems).await),
                };
                preflight::source::evaluate(&self.config, &found, stored.as_ref(), &mut report);
                report.inspection = Some(found);
            }
            Err(error) => report.error = Some(error),
        }
        report.elapsed = started.elapsed();
        report
    }
}

impl<T, F: ?Sized, S: ConsumerTransport> SourceBuilder<T, F, S> {
    /// Tries the configuration: reports all conflicts and problems at once, and where reading would begin, before a source is
    /// built.
    ///
    /// It joins no group, reads and commits nothing, and creates no topic. It asks the transport about the topics, the group with
    /// its committed offsets, and the ends of the logs; and calls the look-up of [`start_at`](Self::start_at) for each partition,
    /// one after another. With a [`listener`](Self::listener), which may know other offsets, it does not say where reading would
    /// begin. The transport's documentation has the time that it takes; with conflicts nothing connects.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the questions.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # #[cfg(all(feature = "json", feature = "memory"))] {
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaSource, KafkaSourceConfig, TopicPartition};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3);
    /// let config = KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() };
    /// let report = KafkaSource::<String>::builder(config).transport(kafka).preflight().await;
    /// assert!(report.passed(), "{report}");
    /// assert_eq!(report.begins[&TopicPartition::new("orders", 0)], 0);
    /// # }
    /// # }
    /// ```
    pub async fn preflight(&self) -> SourcePreflightReport {
        self.preflight_through(&self.transport).await
    }
}

impl<T, F, S> SourceBuilder<T, F, S>
where
    T: Send + 'static,
    F: MessageDeserializer<T> + 'static,
    S: ConsumerTransport,
{
    /// Validates the configuration, opens a consumer, and joins the group.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for settings that cannot work; the transport's error if it cannot
    /// open a consumer, for example because a topic does not exist.
    ///
    /// # Panics
    ///
    /// With [`DecodePolicy::dead_letter`] outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// The source is not made.
    pub async fn build(self) -> kafka_tower_core::Result<KafkaSource<T>> {
        self.config.validate()?;
        for warning in self.config.warnings() {
            tracing::warn!("{warning}");
        }
        let starts = self.starts()?;
        let mut subscription = self.config.subscription();
        subscription.headers = !self.reading.ignores_headers;
        let consumer = self.transport.open(subscription).await?;
        let group = self.config.group_id.as_str().into();
        let hooks = self.telemetry.of_group(&group);
        let shared = Shared::start(consumer, group, self.config.engine_settings(), starts, self.listener, hooks);
        Ok(KafkaSource {
            shared,
            reader: Reader::new(self.deserializer, self.reading),
            drain: self.config.drain_timeout(),
            buffer_bytes: self.config.buffer_bytes,
        })
    }
}

impl<T, F: ?Sized, S: fmt::Debug> fmt::Debug for SourceBuilder<T, F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceBuilder")
            .field("config", &self.config)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
