//! What an application does when partitions come and go.

mod calls;

use kafka_tower_core::{BoxError, Error, ErrorKind, Result, TopicPartition};
use kafka_tower_layers::serialize::async_trait;

use super::Checkpoint;
use crate::KafkaSourceConfig;

pub(super) use calls::{Call, Calls};

/// Hears when partitions are assigned to a [`KafkaSource`](super::KafkaSource), given back, or lost:
/// [`SourceBuilder::listener`](super::SourceBuilder::listener).
///
/// | method | called | what waits for it |
/// |---|---|---|
/// | [`assigned`](Self::assigned) | before anything of the partitions is read | their first messages |
/// | [`revoking`](Self::revoking) | when the group takes partitions back, and at the close | their hand-back, together with the messages in the application's hands, up to `drain_timeout_ms` |
/// | [`revoked`](Self::revoked) | after that, before what is settled is committed and the partitions are given back | the commit and the hand-back, again up to `drain_timeout_ms` |
/// | [`lost`](Self::lost) | when the partitions may already belong to others | nothing |
///
/// The methods of one source are called one after the other, in tasks of their own. After `assigned` has returned `Ok`, each
/// partition ends with one `revoked` that returned `Ok` in time, or with `lost`. A call that is not ready in time is dropped. The
/// source stays in its group in any case: its membership, its commits and other partitions do not wait for a listener.
///
/// A failure, a panic and a time-out are logged, and `recv` returns them as
/// [`SourceErrorKind::Listener`](super::SourceErrorKind::Listener).
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use kafka_tower::source::{Checkpoint, RebalanceListener};
/// use kafka_tower::{BoxError, TopicPartition, async_trait};
///
/// /// Sums that are kept in memory, and stored before a partition is given back.
/// #[derive(Default)]
/// struct Sums(Mutex<BTreeMap<TopicPartition, u64>>);
///
/// # async fn load(_: &TopicPartition) -> Result<u64, BoxError> { Ok(0) }
/// # async fn store(_: &TopicPartition, _: u64) -> Result<(), BoxError> { Ok(()) }
/// #[async_trait]
/// impl RebalanceListener for Sums {
///     async fn assigned(&self, partitions: &[TopicPartition]) -> Result<Checkpoint, BoxError> {
///         for at in partitions {
///             let sum = load(at).await?;
///             self.0.lock().unwrap().insert(at.clone(), sum);
///         }
///         // They begin where the group has committed.
///         Ok(Checkpoint::new())
///     }
///
///     async fn revoked(&self, partitions: &[TopicPartition]) -> Result<(), BoxError> {
///         for at in partitions {
///             let sum = self.0.lock().unwrap().get(at).copied().unwrap_or_default();
///             store(at, sum).await?;
///             self.0.lock().unwrap().remove(at);
///         }
///         Ok(())
///     }
///
///     async fn lost(&self, partitions: &[TopicPartition]) {
///         self.0.lock().unwrap().retain(|at, _| !partitions.contains(at));
///     }
/// }
/// ```
#[async_trait]
pub trait RebalanceListener: Send + Sync + 'static {
    /// Prepares for partitions, and returns the offsets at which they begin. Those that are not in the answer begin as without
    /// a listener: as [`start_at`](super::SourceBuilder::start_at) says, or where the group has committed.
    ///
    /// It has no time limit. It is repeated after a back-off if it fails, and for the partitions that are left if others are given
    /// back or lost meanwhile: then this call is dropped first.
    ///
    /// # Errors
    ///
    /// None of the partitions is read until it succeeds.
    async fn assigned(&self, partitions: &[TopicPartition]) -> Result<Checkpoint, BoxError> {
        let _ = partitions;
        Ok(Checkpoint::new())
    }

    /// Finishes what is under way of partitions that the group takes back. Their messages that the application holds can still
    /// be acknowledged; new ones do not come.
    async fn revoking(&self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }

    /// Ends what belongs to partitions before they are given back. Nothing of them is in the application's hands any more, unless
    /// it was held for longer than `drain_timeout_ms`.
    ///
    /// # Errors
    ///
    /// The partitions are given back without a commit: their next owner reads again what was settled since the last one.
    /// [`lost`](Self::lost) follows, as after a panic or a time-out.
    async fn revoked(&self, partitions: &[TopicPartition]) -> Result<(), BoxError> {
        let _ = partitions;
        Ok(())
    }

    /// Gives up what belongs to partitions that the source does not have any more. Another member may already read them. It has
    /// `drain_timeout_ms`.
    async fn lost(&self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }
}

/// Refuses times with which the group would remove a member whose listener is slow.
pub(super) fn check(config: &KafkaSourceConfig) -> Result<()> {
    let drains = config.drain_timeout_ms.saturating_mul(2);
    if drains.saturating_add(config.commit_timeout_ms) <= config.rebalance_timeout_ms {
        return Ok(());
    }
    let text = "the group would remove a source whose listener is slow: twice `drain_timeout_ms` and `commit_timeout_ms` \
                are more than `rebalance_timeout_ms`";
    let help = "lower `drain_timeout_ms`, or raise `rebalance_timeout_ms`";
    Err(Error::new(ErrorKind::Config, text).without_record().with_help(help))
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn a_listener_has_to_fit_into_a_rebalance() {
        let config = |rebalance_timeout_ms| KafkaSourceConfig { rebalance_timeout_ms, ..Default::default() };
        check(&config(25_000)).unwrap();
        assert_consistent(&check(&config(24_999)).unwrap_err());
    }
}
