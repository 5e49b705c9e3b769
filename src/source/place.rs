//! Where partitions are read: at their start, and if the application decides.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::source::CommitStrategy;
use kafka_tower_core::wakers::wake_all;
use kafka_tower_core::{Assignment, BoxError, Error, ErrorKind, SeekTo, TopicPartition};
use tokio::runtime::Handle;

use super::shared::now;
use super::{KafkaSource, Shared, SourceError};
use crate::{KafkaSourceConfig, StartFrom};

/// First delay before a look-up that failed is repeated; it doubles with each failure.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Longest delay before a look-up is repeated.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Finds where partitions begin that were assigned.
pub(super) struct Starts {
    start: StartFrom,
    /// The application's look-up.
    stored: Option<Stored>,
    /// Time of a look-up.
    within: Duration,
    /// Turns may come from threads without a runtime.
    runtime: Option<Handle>,
}

/// Looks up the offset at which a partition begins.
pub(super) type Stored =
    Arc<dyn Fn(TopicPartition) -> Pin<Box<dyn Future<Output = Result<Option<i64>, BoxError>> + Send>> + Send + Sync>;

impl Starts {
    pub(super) fn new(config: &KafkaSourceConfig, stored: Option<Stored>, listener: bool) -> Result<Self, Error> {
        if config.commit == CommitStrategy::Checkpoint && stored.is_none() && !listener {
            return Err(no_look_up());
        }
        let (start, within) = (config.start.clone(), config.connect_timeout());
        let starts = Self { start, stored, within, runtime: Handle::try_current().ok() };
        if (listener || starts.needs_look_up()) && starts.runtime.is_none() {
            return Err(no_runtime());
        }
        Ok(starts)
    }

    /// Whether the transport does not find it by itself. Needs a tokio runtime then.
    pub(super) fn needs_look_up(&self) -> bool {
        self.stored.is_some() || matches!(self.start, StartFrom::Timestamp(_) | StartFrom::Explicit(_))
    }

    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    /// The application's offset. In a runtime only.
    pub(super) async fn stored(&self, at: &TopicPartition) -> Result<Option<i64>, BoxError> {
        let Some(stored) = &self.stored else { return Ok(None) };
        let (stored, at) = (Arc::clone(stored), at.clone());
        // A task of its own, so that its panic is an error.
        let found = tokio::spawn(async move { stored(at).await }).await??;
        if found.is_some_and(|offset| offset < 0) { Err("the stored offset is negative".into()) } else { Ok(found) }
    }

    /// The application's offsets of these partitions. What went wrong is added to the problems.
    pub(super) async fn all_stored(
        &self,
        partitions: impl Iterator<Item = &TopicPartition>,
        problems: &mut Vec<String>,
    ) -> BTreeMap<TopicPartition, i64> {
        let mut all = BTreeMap::new();
        for at in partitions {
            match self.stored(at).await {
                Ok(offset) => all.extend(offset.map(|offset| (at.clone(), offset))),
                Err(error) => problems.push(format!("the look-up of `start_at` failed for {at}: {error}")),
            }
        }
        all
    }

    /// The offset, or none to begin as the transport does by itself.
    async fn find(&self, shared: &Shared, at: &TopicPartition) -> Result<Option<i64>, BoxError> {
        if let Some(offset) = self.stored(at).await? {
            return Ok(Some(offset));
        }
        if !matches!(self.start, StartFrom::Timestamp(_) | StartFrom::Explicit(_)) {
            return Ok(None);
        }
        let committed = shared.consumer().committed(std::slice::from_ref(at), self.within).await?;
        if committed.into_iter().flatten().next().is_some() {
            return Ok(None);
        }
        match &self.start {
            StartFrom::Explicit(offsets) => Ok(offsets.get(&at.topic, at.partition)),
            StartFrom::Timestamp(time) => {
                Ok(Some(shared.consumer().offset_of(at, SeekTo::Timestamp(*time), self.within).await?))
            }
            StartFrom::Earliest | StartFrom::Latest => Ok(None),
        }
    }
}

fn no_look_up() -> Error {
    Error::new(ErrorKind::Config, "`commit` is `Checkpoint`, and the source does not know where partitions begin")
        .without_record()
        .with_help("give the builder a look-up of the stored offsets, `start_at`, or a `listener` that returns them")
}

fn no_runtime() -> Error {
    Error::new(
        ErrorKind::Config,
        "a source with a listener, or one that looks up where it starts, was built outside of a tokio runtime",
    )
    .without_record()
    .with_help("build it in one")
}

impl Shared {
    /// The listener is ready for a partition, and may have said where it begins.
    pub(super) fn prepared(self: &Arc<Self>, at: Assignment, offset: Option<i64>) {
        let mut state = self.state();
        let looks = state.engine.prepared(&at) && offset.is_none() && self.starts().needs_look_up();
        if !looks {
            state.engine.located(&at, offset, now());
        }
        drop(state);
        if looks {
            self.locate(at);
        } else {
            self.moved();
        }
    }

    /// Finds where a partition begins, in the background, and repeats it until it is found or the partition has gone.
    pub(super) fn locate(self: &Arc<Self>, at: Assignment) {
        let Some(runtime) = &self.starts().runtime else { return };
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            let mut backoff = FIRST_BACKOFF;
            while shared.state().engine.is_locating(&at) {
                match shared.starts().find(&shared, &at.at).await {
                    Ok(offset) => {
                        shared.state().engine.located(&at, offset, now());
                        shared.consumer().notify();
                        return;
                    }
                    Err(error) => shared.report(SourceError::not_located(&at.at, error)),
                }
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        });
    }

    async fn seek(self: Arc<Self>, at: TopicPartition, to: SeekTo) -> Result<(), SourceError> {
        let place = match to {
            SeekTo::Offset(offset) => Ok(offset),
            to => self.consumer().offset_of(&at, to, self.starts().within).await,
        };
        let offset = place.map_err(|error| SourceError::not_sought(&at, Some(error)))?;
        if offset < 0 || !self.state().engine.seek(&at, offset, now()) {
            return Err(SourceError::not_sought(&at, None));
        }
        self.moved();
        Ok(())
    }

    /// For each partition that is read: how far its settled part is from its end.
    pub(super) async fn lag(self: Arc<Self>) -> Result<BTreeMap<TopicPartition, Option<u64>>, SourceError> {
        let mut lag = BTreeMap::new();
        for at in self.assignment() {
            let end = self.consumer().offset_of(&at, SeekTo::End, self.starts().within).await;
            let end = end.map_err(|error| SourceError::no_end(&at, error))?;
            // After the end, so that it is not greater than what was written at the time of the look-up.
            let settled = self.state().engine.settled_offset(&at);
            lag.insert(at, settled.map(|settled| u64::try_from(end - settled).unwrap_or(0)));
        }
        Ok(lag)
    }

    pub(super) fn assignment(&self) -> Vec<TopicPartition> {
        self.state().engine.assignment()
    }

    /// The place of a partition has changed.
    fn moved(&self) {
        self.consumer().notify();
        let reader = self.state().reader.take();
        wake_all(reader);
    }
}

impl<T: Send + 'static> KafkaSource<T> {
    /// The partitions that this source reads, in order. Not those that it is giving back.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.assignment()
    }

    /// Looks up, for each partition that this source reads, how many offsets lie between its first message that is not settled
    /// and its end. `None` if nothing of the partition was read yet. Offsets of markers and of aborted transactions count until
    /// they are passed.
    ///
    /// It asks the brokers for the ends, one request for each partition, so that it is as of this call. The gauge
    /// `kafka_tower.source.lag` is the same number with the end that came with the last answer to a fetch, and sends no request: it
    /// is too small while a partition is not fetched, because it is paused or the client's buffer is full.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Seek`](super::SourceErrorKind::Seek) if the end of a partition was not found within
    /// `connect_timeout_ms`.
    pub fn lag(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<TopicPartition, Option<u64>>, SourceError>> + Send + use<T> {
        Arc::clone(&self.shared).lag()
    }

    /// Continues a partition elsewhere: the next message of it is the first readable one at that place or behind it.
    ///
    /// Messages of the partition that were received before are stale: their acknowledgement changes nothing. The place is
    /// committed like an acknowledgement, also if it is before the offset that the group has, so that a restart continues
    /// there.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Seek`](super::SourceErrorKind::Seek) if the source does not read the partition, the offset is
    /// negative, or the place was not found within `connect_timeout_ms`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, nothing has changed.
    ///
    /// ```
    /// # use kafka_tower::{KafkaSource, SeekTo, Timestamp};
    /// # async fn example(source: KafkaSource<String>) -> Result<(), kafka_tower::SourceError> {
    /// let an_hour_ago = Timestamp::from_millis(Timestamp::now().as_millis() - 3_600_000);
    /// for partition in source.assignment() {
    ///     source.seek(&partition, SeekTo::Timestamp(an_hour_ago)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn seek(
        &self,
        at: &TopicPartition,
        to: SeekTo,
    ) -> impl Future<Output = Result<(), SourceError>> + Send + use<T> {
        Arc::clone(&self.shared).seek(at.clone(), to)
    }

    /// Stops receiving messages of a partition, until [`resume`](Self::resume) or until the partition is given back. Messages
    /// that were received before can be acknowledged. Returns false if the source does not read the partition.
    pub fn pause(&self, at: &TopicPartition) -> bool {
        self.shared.state().engine.pause(at)
    }

    /// Receives messages of a paused partition again. Returns false if the source does not read the partition.
    pub fn resume(&self, at: &TopicPartition) -> bool {
        let resumed = self.shared.state().engine.resume(at, now());
        self.shared.moved();
        resumed
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::Timestamp;
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn a_start_that_is_looked_up_needs_a_runtime_and_a_checkpoint_needs_a_look_up() {
        let of = |config: &KafkaSourceConfig| Starts::new(config, None, false).err();
        assert!(of(&KafkaSourceConfig::default()).is_none());
        let start = StartFrom::Timestamp(Timestamp::now());
        assert_consistent(&of(&KafkaSourceConfig { start, ..Default::default() }).unwrap());
        let commit = CommitStrategy::Checkpoint;
        let config = KafkaSourceConfig { commit, ..Default::default() };
        assert_consistent(&of(&config).unwrap());
        assert_consistent(&Starts::new(&config, None, true).err().unwrap());
    }
}
