//! What the sends of a thread use: sends that several threads make, through one sink or its clones, contend for nothing here.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use kafka_tower_core::sharded::Sharded;

use super::boxed::DynStack;
use super::called::Tracker;
use super::inner::SinkInner;

/// State of a sink, and what each thread uses of it.
pub(super) struct Shards<T> {
    shards: Sharded<Shard<T>>,
    /// Declared last: it holds the transactional ids, which are released after the transport's handles are dropped.
    inner: Arc<SinkInner<T>>,
}

/// What the sends of a thread use. Their references are counted here, and not in memory that other threads change.
#[repr(align(128))]
pub(super) struct Shard<T> {
    /// A handle that sends use in their first poll, so that its buffers are reused.
    idle: Mutex<Option<Box<dyn DynStack<T>>>>,
    pub(super) tracker: Arc<Tracker>,
    /// Declared last, as in [`Shards`].
    pub(super) inner: Arc<SinkInner<T>>,
}

impl<T> Shards<T> {
    pub(super) fn new(inner: SinkInner<T>) -> Arc<Self> {
        Arc::new(Self { shards: Sharded::default(), inner: Arc::new(inner) })
    }

    /// The state without what threads use.
    pub(super) fn inner(&self) -> Arc<SinkInner<T>> {
        Arc::clone(&self.inner)
    }

    /// The shard of this thread.
    #[inline]
    pub(super) fn shard(&self) -> &Arc<Shard<T>> {
        self.shards.get_or_init(|| Shard {
            idle: Mutex::new(None),
            tracker: Arc::new(Tracker::of(&self.inner.parts)),
            inner: self.inner(),
        })
    }
}

impl<T> Deref for Shards<T> {
    type Target = SinkInner<T>;

    #[inline]
    fn deref(&self) -> &SinkInner<T> {
        &self.inner
    }
}

impl<T> Shard<T> {
    /// The place of the idle handle, unless another send uses it. Never blocks on the lock.
    #[inline]
    pub(super) fn idle(&self) -> Option<MutexGuard<'_, Option<Box<dyn DynStack<T>>>>> {
        match self.idle.try_lock() {
            Ok(idle) => Some(idle),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(idle)) => Some(self.unpoisoned(idle.into_inner())),
        }
    }

    /// Returns a handle whose readiness was used.
    pub(super) fn give(&self, stack: Box<dyn DynStack<T>>) {
        let unwanted = match self.idle() {
            Some(mut idle) if idle.is_none() => idle.replace(stack),
            _ => Some(stack),
        };
        drop(unwanted);
    }

    /// A handle whose call panicked is not used again.
    #[cold]
    fn unpoisoned<'a>(
        &self,
        mut idle: MutexGuard<'a, Option<Box<dyn DynStack<T>>>>,
    ) -> MutexGuard<'a, Option<Box<dyn DynStack<T>>>> {
        *idle = None;
        self.idle.clear_poison();
        idle
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use std::task::{Context, Poll};
    use std::time::Duration;

    use kafka_tower_core::sync::lock;
    use kafka_tower_core::{Control, Result, SinkMessage};
    use kafka_tower_layers::metrics::Metrics;
    use kafka_tower_memory::MemoryKafka;

    use super::super::inner::SharedParts;
    use super::super::stack_future::StackFuture;
    use super::super::telemetry::SinkTelemetry;
    use super::super::transaction::Claim;
    use super::*;

    /// A handle that notes when it is dropped whether its transactional id is still claimed.
    #[derive(Clone)]
    struct Noting {
        control: Arc<dyn Control>,
        claimed: Arc<Mutex<Vec<bool>>>,
    }

    fn claim(control: &dyn Control) -> Option<Claim> {
        let transactions = control.transactions()?;
        Claim::of(&*transactions, "orders-1").ok().flatten()
    }

    impl Drop for Noting {
        fn drop(&mut self) {
            lock(&self.claimed).push(claim(&*self.control).is_none());
        }
    }

    impl DynStack<u32> for Noting {
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Pending
        }

        fn call(&mut self, _: SinkMessage<u32>) -> StackFuture {
            unreachable!("it is never ready")
        }

        fn fresh(&self) -> Box<dyn DynStack<u32>> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn a_transactional_id_is_released_after_the_last_handle() {
        let control = MemoryKafka::new().transactional_transport("orders-1").control();
        let handle = Noting { control: Arc::clone(&control), claimed: Arc::default() };
        let claimed = Arc::clone(&handle.claimed);
        let mut parts = SharedParts::new(
            Arc::clone(&control),
            None,
            Duration::ZERO,
            Metrics::new(),
            SinkTelemetry::default(),
            None,
            false,
        );
        parts.claims = Arc::new([claim(&*control).unwrap()]);
        let shards = Shards::new(SinkInner::over(handle.fresh(), parts));
        let shard = Arc::clone(shards.shard());
        shard.give(Box::new(handle));
        drop(shards);
        drop(shard);
        assert_eq!(*lock(&claimed), [true, true]);
        assert!(claim(&*control).is_some());
    }
}
