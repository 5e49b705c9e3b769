//! Settings of a source.

use std::time::Duration;

use kafka_tower_core::source::{CommitSettings, CommitStrategy, EngineSettings};
use kafka_tower_core::validate::topic_name;
use kafka_tower_core::{Isolation, Result, StartFrom, Subscription};

use super::{Conflict, conflict};

/// Settings of a [`KafkaSource`](crate::KafkaSource).
///
/// Create it with `..Default::default()`. [`validate`](Self::validate) reports all conflicts at once; building a source calls
/// it first.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSourceConfig {
    /// The consumer group. Required.
    pub group_id: String,

    /// The topics. Required.
    pub topics: Vec<String>,

    /// Where a partition begins for which the group has committed no offset. Default: `Earliest`, because `Latest` skips
    /// records silently.
    pub start: StartFrom,

    /// Which records are read. Default: `ReadCommitted`.
    pub isolation: Isolation,

    /// When offsets are committed. Default: `Automatic`.
    pub commit: CommitStrategy,

    /// Interval of `Automatic` and `Periodic` in milliseconds. Default: 5 000.
    pub commit_interval_ms: u64,

    /// Number of settled records after which `Periodic` commits. Required with `Periodic`. Default: none.
    pub commit_every: Option<u64>,

    /// Whether `Manual` commits what is settled when partitions are given back and at the close. The other strategies always
    /// do. Default: true.
    pub commit_on_revoke: bool,

    /// Time that a commit waits for its answer in milliseconds. Then it is reported and sent again. Default: 5 000.
    pub commit_timeout_ms: u64,

    /// Time that a rebalance or a close waits for messages in the application's hands, in milliseconds. Default: 10 000.
    ///
    /// After it, the new owner of the partition reads these messages again, and acknowledging them has no effect.
    pub drain_timeout_ms: u64,

    /// Maximum number of messages of a partition that are not settled, or that are settled behind one that is not. The
    /// partition is not read meanwhile; others are. Default: 10 000.
    pub max_unsettled: usize,

    /// Delay before a message that was not acknowledged is delivered again, in milliseconds. It doubles with each attempt, up
    /// to 30 000. Default: 1 000.
    pub redelivery_backoff_ms: u64,
}

impl Default for KafkaSourceConfig {
    fn default() -> Self {
        Self {
            group_id: String::new(),
            topics: Vec::new(),
            start: StartFrom::default(),
            isolation: Isolation::default(),
            commit: CommitStrategy::default(),
            commit_interval_ms: 5_000,
            commit_every: None,
            commit_on_revoke: true,
            commit_timeout_ms: 5_000,
            drain_timeout_ms: 10_000,
            max_unsettled: 10_000,
            redelivery_backoff_ms: 1_000,
        }
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
        let mut found = Vec::new();
        if self.group_id.is_empty() {
            found.push(Conflict::new("group_id", "`group_id` is empty", "name the consumer group"));
        }
        if self.topics.is_empty() {
            found.push(Conflict::new("topics", "`topics` is empty", "name the topics to read"));
        }
        for topic in &self.topics {
            if let Err(error) = topic_name(topic) {
                found.push(Conflict::new("topics", format!("`topics`: {}", error.message()), error.help().to_owned()));
            }
        }
        for (field, value) in [
            ("commit_interval_ms", self.commit_interval_ms),
            ("commit_timeout_ms", self.commit_timeout_ms),
            ("max_unsettled", self.max_unsettled as u64),
        ] {
            if value == 0 {
                found.push(Conflict::new(field, format!("`{field}` is 0"), "set it to at least 1"));
            }
        }
        match (self.commit, self.commit_every) {
            (CommitStrategy::Periodic, None | Some(0)) => found.push(Conflict::new(
                "commit_every",
                "`commit` is `Periodic` without `commit_every`",
                "set `commit_every` to a number of records, or use `Automatic`",
            )),
            (CommitStrategy::Periodic, Some(_)) | (_, None) => {}
            (other, Some(_)) => found.push(Conflict::new(
                "commit_every",
                format!("`commit_every` has no effect with `{other:?}`"),
                "set `commit` to `Periodic`, or leave `commit_every` out",
            )),
        }
        found
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
        }
    }

    pub(crate) fn subscription(&self) -> Subscription {
        let topics = self.topics.iter().map(|topic| topic.as_str().into()).collect();
        let mut subscription = Subscription::new(self.group_id.as_str(), topics);
        (subscription.start, subscription.isolation) = (self.start, self.isolation);
        subscription
    }

    /// `drain_timeout_ms` as a `Duration`.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conflict_is_found_at_once() {
        let good = KafkaSourceConfig { group_id: "g".into(), topics: vec!["orders".into()], ..Default::default() };
        assert_eq!(good.conflicts(), []);
        let bad = KafkaSourceConfig {
            group_id: String::new(),
            topics: vec!["a/b".into()],
            commit_interval_ms: 0,
            commit_timeout_ms: 0,
            max_unsettled: 0,
            commit: CommitStrategy::Periodic,
            ..good.clone()
        };
        let fields: Vec<_> = bad.conflicts().iter().map(|conflict| conflict.field).collect();
        let all = ["group_id", "topics", "commit_interval_ms", "commit_timeout_ms", "max_unsettled", "commit_every"];
        assert_eq!(fields, all);
        for commit in [CommitStrategy::Automatic, CommitStrategy::Each, CommitStrategy::Manual] {
            let unused = KafkaSourceConfig { commit, commit_every: Some(5), ..good.clone() };
            assert_eq!(unused.conflicts()[0].field, "commit_every");
        }
        let periodic = KafkaSourceConfig { commit: CommitStrategy::Periodic, commit_every: Some(5), ..good };
        assert_eq!(periodic.conflicts(), []);
    }
}
