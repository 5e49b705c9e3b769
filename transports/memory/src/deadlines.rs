//! Task that expires records at their deadlines, while there are any.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::thread;

use kafka_tower_core::ledger::{RecordTransport, Slot};
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Delivery, Result};
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::client::Client;

/// The task of a client.
#[derive(Debug, Default)]
pub(crate) struct ExpiryTask {
    runs: AtomicBool,
    /// Number of tasks started so far: only the latest one goes on.
    started: AtomicU64,
    /// Runtime of the latest task.
    runtime: Mutex<Option<Id>>,
}

thread_local! {
    /// This thread is starting a task. A runtime that has ended drops it at once: the caller that needs it would be woken
    /// and start the next one, for ever.
    static STARTING: Cell<bool> = const { Cell::new(false) };
}

/// Resolves at an instant, on the runtime that polls it: the one that polled it before may have ended. Without a runtime it
/// never resolves.
pub(crate) struct Timer {
    at: Instant,
    sleep: Option<(Id, Pin<Box<Sleep>>)>,
}

impl Timer {
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, sleep: None }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(runtime) = Handle::try_current() else { return Poll::Pending };
        let at = self.at;
        match &mut self.sleep {
            Some((on, sleep)) if *on == runtime.id() => sleep.as_mut().poll(cx),
            other => other.insert((runtime.id(), Box::pin(sleep_until(at)))).1.as_mut().poll(cx),
        }
    }
}

impl Client {
    /// Watches the deadline of a record that is not settled.
    ///
    /// # Errors
    ///
    /// Its sink was closed.
    pub(crate) fn watch(self: &Arc<Self>, slot: &Arc<Slot<Delivery>>) -> Result<()> {
        if self.ledger().watch(slot)? {
            self.start_expiry();
        }
        Ok(())
    }

    /// Keeps the deadline of a record that is awaited on the current runtime. `kept_on` is the runtime on which it was kept
    /// before, for this record alone.
    ///
    /// Starts the task if there is none: a record may be called outside a runtime and awaited inside one. If the task runs
    /// on another runtime, which nothing may drive, the record gets a task of its own.
    pub(crate) fn keep_deadline(self: &Arc<Self>, at: std::time::Instant, kept_on: &mut Option<Id>) {
        if !self.expiry.runs.load(Ordering::Acquire) {
            self.start_expiry();
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let here = Some(runtime.id());
        if here == *kept_on || here == *lock(&self.expiry.runtime) {
            return;
        }
        *kept_on = here;
        let client = Arc::downgrade(self);
        runtime.spawn(async move {
            sleep_until(at.into()).await;
            client.upgrade().iter().for_each(Self::expire_due);
        });
    }

    fn expire_due(self: &Arc<Self>) {
        let now = self.now();
        drop(self.expire(now, |slot, admitted| slot.time_out(admitted, now, None)));
    }

    pub(crate) fn start_expiry(self: &Arc<Self>) {
        let (Ok(runtime), Some(at)) = (Handle::try_current(), self.ledger().next_deadline()) else {
            // A task that runs on another runtime waits for a later deadline: the next poll inside a runtime starts one.
            self.expiry.runs.store(false, Ordering::Release);
            return self.ledger().forget_next_deadline();
        };
        self.expiry.runs.store(true, Ordering::Release);
        let number = self.expiry.started.fetch_add(1, Ordering::AcqRel) + 1;
        let before = lock(&self.expiry.runtime).replace(runtime.id());
        STARTING.set(true);
        runtime.spawn(Running { client: Arc::downgrade(self), number }.run(at.into()));
        STARTING.set(false);
        if before.is_some_and(|before| before != runtime.id()) {
            // The callers on the runtime of the task before keep their own deadlines from now on.
            self.ledger().watched().iter().for_each(|slot| slot.wake());
        }
    }
}

struct Running {
    client: Weak<Client>,
    number: u64,
}

impl Running {
    async fn run(self, mut at: Instant) {
        loop {
            sleep_until(at).await;
            let Some(client) = self.client() else { return };
            client.expire_due();
            let Some(next) = client.ledger().next_deadline() else { return };
            at = next.into();
        }
    }

    /// The client, if no later task took over.
    fn client(&self) -> Option<Arc<Client>> {
        self.client.upgrade().filter(|client| client.expiry.started.load(Ordering::Acquire) == self.number)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also when the runtime ends: the next record starts a task on its own runtime, and so does a caller on another
        // runtime, which is woken for that.
        if let Some(client) = self.client() {
            *lock(&client.expiry.runtime) = None;
            client.expiry.runs.store(false, Ordering::Release);
            client.ledger().forget_next_deadline();
            // It panics where time is not enabled. Another task would panic as well.
            if !STARTING.get() && !thread::panicking() {
                client.ledger().watched().iter().for_each(|slot| slot.wake());
            }
        }
    }
}
