//! Consumers of sources, over librdkafka.

pub(crate) mod client_events;
pub(crate) mod commits;
mod control;
pub(crate) mod inspect;
mod logs;
pub(crate) mod look_up;
pub(crate) mod open;
mod properties;
mod reader_waker;
mod reading;
mod refused_seek;
mod shared;
mod unable;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitTicket, Consumer, ConsumerEvents, ConsumerGroup, ConsumerInspection,
    ConsumerTransport, ControlFuture, Result, SeekTo, Subscription, TokenProvider, TopicOffset, TopicPartition,
};

use crate::callbacks::Hooks;
use crate::events::ClientEvents;
use crate::properties::Properties;
use crate::threads;
use crate::tokens::Tokens;
use reading::{Reading, Then};
use shared::{Seek, Shared};

/// Time for leaving the group when a consumer is dropped without a [`leave`](Consumer::leave).
const DROPPED: Duration = Duration::from_secs(1);

/// Opens consumers that read through librdkafka: see [`ConsumerTransport`].
///
/// It takes librdkafka's properties. Those that are not set have librdkafka's defaults, except these:
/// `partition.assignment.strategy=cooperative-sticky`, `topic.metadata.refresh.interval.ms=60000`,
/// `fetch.queue.backoff.ms=10`, and `reconnect.backoff.max.ms=1000` (not if you set `reconnect.backoff.ms`). Properties on
/// which a source depends, for example `enable.auto.commit`, are refused. `debug` also contains `topic`, because some of its lines
/// are the only sign that librdkafka moves a partition; so `log_level` has no effect, and the application's filter for `tracing`
/// decides what is shown.
///
/// ```no_run
/// # async fn run() -> kafka_tower_core::Result<()> {
/// use kafka_tower_core::{ConsumerTransport, Subscription};
/// use kafka_tower_rdkafka::RdkafkaConsumerTransport;
///
/// let transport = RdkafkaConsumerTransport::new([("bootstrap.servers", "localhost:9092")]);
/// let consumer = transport.open(Subscription::new("billing", vec!["orders".into()])).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RdkafkaConsumerTransport {
    properties: Arc<dyn Fn(u32) -> Properties + Send + Sync>,
    connect_timeout: Duration,
    events: Option<Arc<dyn ClientEvents>>,
    token_provider: Option<Arc<dyn TokenProvider>>,
}

impl RdkafkaConsumerTransport {
    /// Takes properties of librdkafka.
    pub fn new<N: Into<String>, V: Into<String>>(properties: impl IntoIterator<Item = (N, V)>) -> Self {
        let all: Properties = properties.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self::for_partitions(move |_| all.clone())
    }

    /// Takes properties that depend on the number of partitions of all topics, as it is when a consumer is opened. librdkafka's
    /// limits of what it reads ahead, `queued.min.messages` and `queued.max.messages.kbytes`, are for each partition. To find
    /// the number, it connects with the properties for one partition.
    pub fn for_partitions(properties: impl Fn(u32) -> BTreeMap<String, String> + Send + Sync + 'static) -> Self {
        let connect_timeout = Duration::from_secs(10);
        Self { properties: Arc::new(properties), connect_timeout, events: None, token_provider: None }
    }

    /// Sets the total time that opening a consumer may take. A broker that starts during this time is found. Default: 10 s.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the receiver of errors and statistics.
    #[must_use]
    pub fn with_events(mut self, events: impl ClientEvents) -> Self {
        self.events = Some(Arc::new(events));
        self
    }

    /// Sets the provider of tokens for the mechanism OAUTHBEARER, as
    /// [`RdkafkaBuilder::token_provider`](crate::RdkafkaBuilder::token_provider) does.
    #[must_use]
    pub fn with_token_provider(mut self, provider: Arc<dyn TokenProvider>) -> Self {
        self.token_provider = Some(provider);
        self
    }

    /// Needs the runtime on which tokens are made, if there is a provider.
    fn hooks(&self) -> Result<Hooks> {
        let tokens = Tokens::new(self.token_provider.as_ref(), &(self.properties)(1))?;
        Ok(Hooks { events: self.events.clone(), tokens })
    }
}

impl ConsumerTransport for RdkafkaConsumerTransport {
    /// Finds a broker, the topics and the coordinator of the group.
    ///
    /// # Errors
    ///
    /// As [`RdkafkaBuilder::connect`](crate::RdkafkaBuilder::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection; its threads end by themselves.
    fn open(&self, subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        let transport = self.clone();
        Box::pin(async move {
            let hooks = transport.hooks()?;
            let opens =
                move |given_up: &dyn Fn() -> bool| open::open(&transport, subscription, &hooks, given_up).map(Opened);
            let opened: Arc<dyn Consumer> =
                Arc::new(threads::run("kafka-tower-connect", "cannot connect", opens).await?);
            Ok(opened)
        })
    }

    /// Connecting may take up to the connect time-out, and so may the rest. It connects to each broker under its advertised name.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), if no broker answers or the login fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the inspection; its threads end by themselves.
    fn inspect(&self, subscription: Subscription) -> ControlFuture<'_, ConsumerInspection> {
        let transport = self.clone();
        Box::pin(async move {
            let hooks = transport.hooks()?;
            let look = move |given_up: &dyn Fn() -> bool| inspect::inspect(&transport, &subscription, hooks, given_up);
            threads::run("kafka-tower-inspect", "cannot look at the cluster", look).await
        })
    }
}

/// Shows the names of properties only, because some values are secret.
impl fmt::Debug for RdkafkaConsumerTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaConsumerTransport")
            .field("properties", &(self.properties)(1).keys().collect::<Vec<_>>())
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// The source's handle. Its drop ends the consumer.
struct Opened(Arc<Shared>);

impl Consumer for Opened {
    fn run(&self, events: Arc<dyn ConsumerEvents>) {
        self.0.tell(|state| state.events = Some(events));
    }

    fn notify(&self) {
        self.0.tell(|state| state.notified = true);
    }

    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, cx: &mut Context<'_>) -> Poll<Batch> {
        self.0.waker.register(cx.waker());
        let Some(shared::Batch { lent, taken, lease }) = ready!(self.0.take(at, max)) else {
            return Poll::Ready(Batch::default());
        };
        lent.lend(taken.lend, self.0.subscription.headers, into);
        drop(lease);
        self.0.tell_taken(&at.at, &taken.then);
        if let Then::OutOfRange(offset) = taken.then {
            look_up::find_range(&self.0, at, offset);
        }
        if taken.lend == 0 && taken.position.is_none() {
            return Poll::Pending;
        }
        Poll::Ready(Batch { records: taken.lend, position: taken.position })
    }

    fn start(&self, at: &Assignment) {
        self.0.tell(|state| {
            if let Some(partition) = state.partitions.get_mut(&at.at) {
                partition.reading = Some(Reading::start(at.epoch, partition.begin.take(), partition.queue.position()));
            }
        });
        self.0.waker.wake();
    }

    fn release(&self, at: &[TopicPartition]) {
        self.0.tell(|state| {
            state.end_readings(at);
            state.released = true;
        });
    }

    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket) {
        self.0.tell(|state| {
            let Some(instance) = &state.instance else { return };
            let places = offsets.iter().map(|offset| (&*offset.topic, offset.partition, offset.offset));
            if let Err(code) = instance.commit(places, ticket.0) {
                state.ahead.push_back(commits::not_sent(&self.0, offsets, ticket, code));
            }
        });
    }

    fn seek(&self, at: &Assignment, to: i64) {
        self.0.tell(|state| {
            if let Some(partition) = state.partitions.get_mut(&at.at) {
                partition.reading = Some(Reading::seek(at.epoch, to));
                partition.seek = Some(Seek::new(to, Instant::now()));
            }
        });
    }

    fn committed<'a>(&'a self, at: &'a [TopicPartition], within: Duration) -> ControlFuture<'a, Vec<Option<i64>>> {
        look_up::committed(&self.0, at, within)
    }

    fn offset_of<'a>(&'a self, at: &'a TopicPartition, place: SeekTo, within: Duration) -> ControlFuture<'a, i64> {
        look_up::offset_of(&self.0, at, place, within)
    }

    fn end_offset(&self, at: &TopicPartition) -> Option<i64> {
        self.0.state().instance.as_ref()?.end_offset(&at.topic, at.partition)
    }

    fn group(&self) -> Option<ConsumerGroup> {
        let state = self.0.state();
        let instance = state.instance.as_ref().filter(|_| state.leave.is_none())?;
        instance.group().filter(|group| group.generation > 0 && !group.member_id.is_empty())
    }

    fn leave(&self, within: Duration) {
        self.0.tell(|state| {
            state.leave.get_or_insert_with(|| later(Instant::now(), within));
        });
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.leave(DROPPED);
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaConsumer").field("subscription", &self.0.subscription).finish_non_exhaustive()
    }
}
