//! Settings of a source.

mod choices;
mod presets;
mod rdkafka;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::source::{CommitSettings, CommitStrategy, EngineSettings, OutOfRangePolicy};
use kafka_tower_core::{Isolation, Result, Subscription, TokenProvider, TopicPartition, TopicPattern};

use super::built::Built;
use super::side::{SOURCE, Side};
use super::{Conflict, TokenSource, Variables, conflict, fields};

pub use choices::{Assignor, GroupProtocol, StartFrom};

fields::config! {
    /// Settings of a [`KafkaSource`](crate::KafkaSource).
    ///
    /// Create it with `..Default::default()`; with a preset ([`high_throughput`](Self::high_throughput),
    /// [`low_latency`](Self::low_latency), [`exactly_once`](Self::exactly_once)); from the environment with [`from_env`](Self::from_env); or from a file with
    /// serde. [`validate`](Self::validate) reports all conflicts at once; building a source calls it first.
    ///
    /// ```
    /// use kafka_tower::KafkaSourceConfig;
    ///
    /// let config = KafkaSourceConfig {
    ///     group_id: "billing".to_string(),
    ///     topics: vec!["orders".to_string()],
    ///     commit_interval_ms: 1_000,
    ///     ..Default::default()
    /// };
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[derive(Clone, PartialEq, Eq)]
    pub struct KafkaSourceConfig {
        /// Addresses of brokers, `host:port`, separated by commas. Default: `localhost:9092`. Default port: 9092.
        pub brokers: String = "localhost:9092".to_owned(),

        /// The consumer group. Required.
        pub group_id: String = String::new(),

        /// The topics. Required, unless `topic_pattern` or `assign` is set.
        pub topics: Vec<String> = Vec::new(),

        /// A [pattern](crate::TopicPattern) that the whole names of the topics match, in place of `topics`. A topic that is created later
        /// joins within a minute (`topic.metadata.refresh.interval.ms`). Default: none.
        pub topic_pattern: Option<String> = None,

        /// Fixed partitions, in place of `topics`: the source does not join the group, which only keeps its offsets, and reads
        /// these partitions until it is closed. Two sources must not have the same ones. Default: none.
        ///
        /// As text, `orders:0, orders:1`.
        pub assign: Vec<TopicPartition> = Vec::new(),

        /// Name of this consumer in the brokers' logs and quotas. Default: `kafka-tower`.
        pub client_id: String = "kafka-tower".to_owned(),

        /// Time that connecting, and looking up an offset for a seek or a start, may take in milliseconds. Default: 10 000.
        pub connect_timeout_ms: u64 = 10_000,

        /// Where a partition begins for which the group has committed no offset. Default: `Earliest`, because `Latest` skips
        /// records silently.
        pub start: StartFrom = StartFrom::default(),

        /// How a partition goes on whose next offset is not in its log any more, because records were deleted before they were
        /// read. Default: as `start`, and `Fail` if that is `Explicit`, or `commit` is `Checkpoint`: then the offsets are the
        /// application's. `Timestamp` counts as `Earliest`.
        pub on_out_of_range: Option<OutOfRangePolicy> = None,

        /// Which records are read. Default: `ReadCommitted`.
        pub isolation: Isolation = Isolation::default(),

        /// When offsets are committed. Default: `Automatic`.
        pub commit: CommitStrategy = CommitStrategy::default(),

        /// Interval of `Automatic` and `Periodic` in milliseconds. Default: 5 000.
        pub commit_interval_ms: u64 = 5_000,

        /// Number of settled records after which `Periodic` commits. Required with `Periodic`. Default: none.
        pub commit_every: Option<u64> = None,

        /// Whether `Manual` commits what is settled when partitions are given back and at the close. The other strategies
        /// always do, except `Transaction` and `Checkpoint`, which never do. Default: true.
        pub commit_on_revoke: bool = true,

        /// Time that a commit waits for its answer in milliseconds. Then it is reported and sent again. Default: 5 000.
        pub commit_timeout_ms: u64 = 5_000,

        /// Protocol of the group. Default: `Classic`.
        pub group_protocol: GroupProtocol = GroupProtocol::Classic,

        /// How a group of the classic protocol divides the partitions. All members must agree. Default: `CooperativeSticky`.
        pub assignor: Assignor = Assignor::CooperativeSticky,

        /// Identifier of a static member: if it restarts within `session_timeout_ms`, it gets its partitions back without a
        /// rebalance. Unique in the group, and the same after a restart. Default: none.
        pub group_instance_id: Option<String> = None,

        /// Time without a heartbeat after which a group of the classic protocol removes the member, in milliseconds. Default:
        /// 45 000.
        pub session_timeout_ms: u64 = 45_000,

        /// Interval of heartbeats to a group of the classic protocol, in milliseconds. At most a third of
        /// `session_timeout_ms`. Default: 3 000.
        pub heartbeat_interval_ms: u64 = 3_000,

        /// Time that the group waits in a rebalance for this member to give partitions back, in milliseconds. It is no limit
        /// for the application, which may hold a message for longer. Default: 300 000.
        pub rebalance_timeout_ms: u64 = 300_000,

        /// Time that a rebalance or a close waits for messages in the application's hands, in milliseconds. At most half of
        /// `rebalance_timeout_ms`. Default: 10 000.
        ///
        /// After it, the new owner of the partition reads these messages again, and acknowledging them has no effect.
        pub drain_timeout_ms: u64 = 10_000,

        /// Number of records that the client fetches ahead, over all partitions. Default: 100 000.
        pub buffer_records: usize = 100_000,

        /// Bytes of values that the client fetches ahead, over all partitions. Each partition has an equal share, of at least
        /// 64 KiB. One response may exceed its share, also by its compression ratio. Default: 67 108 864 (64 MiB).
        pub buffer_bytes: usize = 67_108_864,

        /// Maximum number of messages of a partition that are not settled, or that are settled behind one that is not. The
        /// partition is not read meanwhile; others are. Default: 10 000.
        pub max_unsettled: usize = 10_000,

        /// Bytes that a broker waits for before it answers a fetch, at most for `fetch_max_wait_ms`. Default: 1.
        pub fetch_min_bytes: usize = 1,

        /// Time that a broker may wait for `fetch_min_bytes`, in milliseconds. Default: 100.
        ///
        /// A partition that has as many records ahead as it may is left out of a request, and is not in the next one before
        /// this one is answered. So if the other partitions of the broker have no new records, at most its share of
        /// `buffer_records`, and one response more, is read of it in this time.
        pub fetch_max_wait_ms: u64 = 100,

        /// Maximum bytes of one partition in a response. A larger batch of records comes alone. Lower it for topics that
        /// compress very well, because the limit counts compressed bytes. Default: 1 048 576 (1 MiB).
        pub partition_fetch_bytes: usize = 1_048_576,

        /// Delay before a message that was not acknowledged is delivered again, in milliseconds. It doubles with each
        /// attempt, up to 30 000. Default: 1 000.
        pub redelivery_backoff_ms: u64 = 1_000,

        /// Time after which a warning names a partition whose first message in the application's hands is not settled, in
        /// milliseconds. 0: never. Default: 60 000.
        pub stall_warning_ms: u64 = 60_000,

        ..

        /// Other properties of librdkafka 2.12.1, by librdkafka's names: `security.protocol`, `sasl.username`, …
        ///
        /// [`validate`](Self::validate) checks their names and values; a property that a field above or the source itself
        /// sets is rejected. `Debug` does not show the values.
        pub properties: BTreeMap<String, String>,

        /// The provider of tokens for the SASL mechanism OAUTHBEARER, which needs one. Default: none.
        ///
        /// [`with_token_provider`](Self::with_token_provider) sets it.
        pub token_provider: TokenSource,

        /// The environment variables that these settings come from, so that conflicts and warnings can name them. Default:
        /// none.
        ///
        /// [`with_vars`](Self::with_vars) fills it.
        pub variables: Variables,
    }
}

impl fields::Settings for KafkaSourceConfig {
    const SIDE: &'static Side = &SOURCE;

    fn alone(&self, _: Built) -> Vec<Conflict> {
        validate::alone(self)
    }

    fn all_conflicts(&self, built: Built) -> Vec<Conflict> {
        validate::conflicts(self, built)
    }
}

impl KafkaSourceConfig {
    /// Checks all settings, alone and together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with every conflict and its cure in the text;
    /// [`conflicts`](Self::conflicts) returns them one by one.
    ///
    /// ```
    /// use kafka_tower::KafkaSourceConfig;
    ///
    /// let config = KafkaSourceConfig { group_id: "billing".into(), ..Default::default() };
    /// assert_eq!(
    ///     config.validate().unwrap_err().message(),
    ///     "the configuration cannot work: `topics` is empty: name the topics to read",
    /// );
    /// ```
    pub fn validate(&self) -> Result<()> {
        conflict::refuse(&self.conflicts())
    }

    /// Returns every conflict in these settings. Empty if they can work.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        conflict::by_variables(self)
    }

    /// Returns warnings about settings that work but may be unintended, one line each. Building a
    /// source logs them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let warnings = validate::warnings(self).into_iter();
        warnings.map(|text| self.variables.show(self, &text)).collect()
    }

    /// Sets the provider of tokens for the SASL mechanism OAUTHBEARER: a function that returns a future, or a type that implements
    /// [`TokenProvider`].
    ///
    /// It is called on the tokio runtime that connects, when a client is made and when 80 % of a token's lifetime are over. A call
    /// may take 30 s, and no message waits for it while the token is valid. After a failure, a panic or a time-out it is repeated,
    /// after 0.5 s at first and 10 s at most. Without a valid token connecting fails after
    /// [`connect_timeout_ms`](Self::connect_timeout_ms), and its error names the last failure.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kafka_tower::{BoxError, KafkaSourceConfig, OauthToken};
    ///
    /// # async fn request() -> Result<(String, u64), BoxError> { Ok(("secret".into(), 300)) }
    /// let config = KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() }
    ///     .with_property("security.protocol", "sasl_ssl")
    ///     .with_property("sasl.mechanism", "OAUTHBEARER")
    ///     .with_token_provider(|| async {
    ///         let (access_token, expires_in) = request().await?;
    ///         Ok::<_, BoxError>(OauthToken::new(access_token, Duration::from_secs(expires_in)))
    ///     });
    /// # if cfg!(feature = "ssl") { config.validate()?; }
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn with_token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.token_provider = TokenSource::new(Arc::new(provider));
        self
    }

    /// Sets a property of librdkafka.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Returns the properties for a librdkafka client that reads topics with this number of partitions in total: the fields
    /// under librdkafka's names, and [`properties`](Self::properties) unchanged. Contains secrets if `properties` does.
    ///
    /// librdkafka's limits of what is fetched ahead are per partition: each gets its share of `buffer_records` and
    /// `buffer_bytes`, at least 100 records and 64 KiB.
    ///
    /// It also sets properties that have no field and differ from librdkafka's defaults: offsets are not committed and the
    /// end of a partition is not reported by the client itself; `check.crcs` is true; a full partition is fetched again after
    /// 10 ms (`fetch.queue.backoff.ms`); new partitions are found within 60 s (`topic.metadata.refresh.interval.ms`); a
    /// connection that is idle for 230 s is closed (`connections.max.idle.ms`), before a load balancer forgets it.
    #[must_use]
    pub fn librdkafka_properties(&self, partitions: u32) -> BTreeMap<String, String> {
        rdkafka::properties(self, partitions)
    }

    pub(crate) fn engine_settings(&self) -> EngineSettings {
        EngineSettings {
            commits: CommitSettings {
                strategy: self.commit,
                interval: Duration::from_millis(self.commit_interval_ms),
                every: self.commit_every.unwrap_or(u64::MAX),
                timeout: Duration::from_millis(self.commit_timeout_ms),
            },
            commit_on_revoke: self.commit_on_revoke,
            drain: self.drain_timeout(),
            redelivery_backoff: Duration::from_millis(self.redelivery_backoff_ms),
            max_unsettled: self.max_unsettled,
            locate: false,
            out_of_range: self.out_of_range(),
            stall_warning: (self.stall_warning_ms > 0).then(|| Duration::from_millis(self.stall_warning_ms)),
            listener: false,
        }
    }

    pub(crate) fn out_of_range(&self) -> OutOfRangePolicy {
        self.on_out_of_range.unwrap_or(match self.start {
            StartFrom::Explicit(_) => OutOfRangePolicy::Fail,
            _ if self.commit == CommitStrategy::Checkpoint => OutOfRangePolicy::Fail,
            StartFrom::Latest => OutOfRangePolicy::Latest,
            StartFrom::Earliest | StartFrom::Timestamp(_) => OutOfRangePolicy::Earliest,
        })
    }

    pub(crate) fn subscription(&self) -> Subscription {
        let group = self.group_id.as_str();
        let topics = self.topics.iter().map(|topic| topic.as_str().into()).collect();
        let fixed = !self.assign.is_empty();
        let mut subscription =
            if fixed { Subscription::fixed(group, self.assign.clone()) } else { Subscription::new(group, topics) };
        subscription.pattern = self.topic_pattern.as_deref().and_then(|pattern| TopicPattern::new(pattern).ok());
        (subscription.start, subscription.isolation) = (self.start.reset(), self.isolation);
        subscription
    }

    /// `connect_timeout_ms` as a `Duration`.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// `drain_timeout_ms` as a `Duration`.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}
