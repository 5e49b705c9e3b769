//! Calls a listener, one call after the other.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::{Assignment, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout_at};

use super::RebalanceListener;
use crate::source::failure::Failure;
use crate::source::place::{FIRST_BACKOFF, MAX_BACKOFF};
use crate::source::shared::now;
use crate::source::{Checkpoint, Shared, SourceError};

/// What a listener has to be told.
#[derive(Debug)]
pub(in crate::source) enum Call {
    Assigned(Vec<Assignment>),
    Revoking(Vec<Assignment>, Instant),
    Revoked(Vec<Assignment>, Instant),
    Lost(Vec<TopicPartition>),
    /// Everything has ended.
    Left,
}

/// The way to a listener. The task ends when this is dropped.
pub(in crate::source) struct Calls(UnboundedSender<Call>);

impl Calls {
    /// `within`: the time of a call that nothing waits for.
    pub(in crate::source) fn start(
        listener: Arc<dyn RebalanceListener>,
        source: Weak<Shared>,
        within: Duration,
        runtime: &Handle,
    ) -> Self {
        let (sender, calls) = unbounded_channel();
        let (preparing, told, backoff) = (Vec::new(), BTreeSet::new(), None);
        runtime.spawn(Listening { listener, source, within, calls, preparing, told, backoff }.run());
        Self(sender)
    }

    pub(in crate::source) fn call(&self, call: Call) {
        // The task is gone if the runtime is. Then the engine waits for no answer beyond its deadline.
        let _ = self.0.send(call);
    }
}

struct Listening {
    listener: Arc<dyn RebalanceListener>,
    source: Weak<Shared>,
    within: Duration,
    calls: UnboundedReceiver<Call>,
    /// Partitions that the listener has to prepare for.
    preparing: Vec<Assignment>,
    /// Partitions that it has prepared for, until it was told of their end.
    told: BTreeSet<TopicPartition>,
    /// The delay before `assigned` is repeated.
    backoff: Option<Duration>,
}

impl Listening {
    async fn run(mut self) {
        while let Some(call) = self.next().await {
            match call {
                Call::Assigned(more) => self.preparing.extend(more),
                Call::Revoking(all, until) => self.revoking(&all, until).await,
                Call::Revoked(all, until) => self.revoked(&all, until).await,
                Call::Lost(all) => self.lost(&all).await,
                Call::Left => {
                    self.preparing.clear();
                    let all: Vec<_> = self.told.iter().cloned().collect();
                    self.lost(&all).await;
                }
            }
        }
    }

    /// The next call. Prepares for partitions until it comes.
    async fn next(&mut self) -> Option<Call> {
        while !self.preparing.is_empty() {
            let listener = Arc::clone(&self.listener);
            let (partitions, backoff) = (names(&self.preparing), self.backoff);
            let mut task = tokio::spawn(async move {
                if let Some(backoff) = backoff {
                    sleep(backoff).await;
                }
                listener.assigned(&partitions).await
            });
            let mut more = Vec::new();
            let call = poll_fn(|cx| {
                if let Poll::Ready(ended) = Pin::new(&mut task).poll(cx) {
                    return Poll::Ready(Err(ended));
                }
                loop {
                    match self.calls.poll_recv(cx) {
                        Poll::Ready(Some(Call::Assigned(assigned))) => more.extend(assigned),
                        Poll::Ready(call) => return Poll::Ready(Ok(call)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            let (call, ended) = match call.await {
                Ok(call) => {
                    // It is one call at a time. It may have ended in this moment.
                    task.abort();
                    (Some(call), task.await)
                }
                Err(ended) => (None, ended),
            };
            match ended {
                Ok(answer) => self.assigned(answer.map_err(Failure::Error)),
                Err(error) if error.is_panic() => self.assigned(Err(Failure::Panicked)),
                Err(_) => {}
            }
            self.preparing.extend(more);
            if let Some(call) = call {
                return call;
            }
        }
        self.calls.recv().await
    }

    fn assigned(&mut self, answer: Result<Checkpoint, Failure>) {
        let answer = answer.and_then(|offsets| {
            let wrong = offsets.iter().find(|(_, offset)| *offset < 0);
            wrong.map_or(Ok(offsets), |(at, _)| Err(Failure::Error(format!("the offset of {at} is negative").into())))
        });
        match answer {
            Ok(offsets) => {
                self.backoff = None;
                for at in std::mem::take(&mut self.preparing) {
                    // Also if the assignment has ended: then the listener is told so.
                    self.told.insert(at.at.clone());
                    if let Some(source) = self.source.upgrade() {
                        source.prepared(at.clone(), offsets.get(&at.at.topic, at.at.partition));
                    }
                }
            }
            Err(failure) => {
                let backoff = self.backoff.map_or(FIRST_BACKOFF, |backoff| (backoff * 2).min(MAX_BACKOFF));
                self.backoff = Some(backoff);
                self.report(SourceError::listener("assigned", &names(&self.preparing), failure));
            }
        }
    }

    async fn revoking(&mut self, all: &[Assignment], until: Instant) {
        let told = self.end_preparing(&names(all));
        let listener = Arc::clone(&self.listener);
        let call = |told: Vec<TopicPartition>| async move { listener.revoking(&told).await };
        self.call("revoking", &told, until, call).await;
        if let Some(source) = self.source.upgrade() {
            let mut state = source.state();
            all.iter().for_each(|at| state.engine.revoking_heard(at));
            drop(state);
            source.consumer().notify();
        }
    }

    async fn revoked(&mut self, all: &[Assignment], until: Instant) {
        let told = self.end_preparing(&names(all));
        let listener = Arc::clone(&self.listener);
        let call = |told: Vec<TopicPartition>| async move { listener.revoked(&told).await };
        let may_commit = match self.call("revoked", &told, until, call).await {
            None => told.is_empty(),
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.report(SourceError::listener("revoked", &told, Failure::Error(error)));
                false
            }
        };
        let mut late = Vec::new();
        if let Some(source) = self.source.upgrade() {
            let mut state = source.state();
            let too_late = |at: &&Assignment| !state.engine.revoked_heard(at, may_commit, now());
            late.extend(all.iter().filter(too_late).map(|at| at.at.clone()));
            drop(state);
            source.consumer().notify();
        }
        if may_commit {
            self.told.retain(|at| !told.contains(at) || late.contains(at));
        }
        self.lost(&told).await;
    }

    /// Tells the listener of those that it was told of, and not of their end.
    async fn lost(&mut self, all: &[TopicPartition]) {
        let told = self.end_preparing(all);
        self.told.retain(|at| !told.contains(at));
        let listener = Arc::clone(&self.listener);
        let call = |told: Vec<TopicPartition>| async move { listener.lost(&told).await };
        self.call("lost", &told, later(now(), self.within), call).await;
    }

    /// Those of these partitions that the listener has prepared for. It does not prepare for the others any more.
    fn end_preparing(&mut self, all: &[TopicPartition]) -> Vec<TopicPartition> {
        self.preparing.retain(|at| !all.contains(&at.at));
        all.iter().filter(|at| self.told.contains(*at)).cloned().collect()
    }

    /// Calls the listener in a task of its own, so that a panic is an error. `None` if it has no answer in time.
    async fn call<R, F>(
        &self,
        method: &'static str,
        told: &[TopicPartition],
        until: Instant,
        call: impl FnOnce(Vec<TopicPartition>) -> F,
    ) -> Option<R>
    where
        R: Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        if told.is_empty() {
            return None;
        }
        let begun = now();
        let mut task: JoinHandle<R> = tokio::spawn(call(told.to_vec()));
        let ended = match timeout_at(until.into(), &mut task).await {
            Ok(ended) => ended,
            Err(_) => {
                task.abort();
                // It may have ended in this moment.
                task.await
            }
        };
        let failure = match ended {
            Ok(answer) => return Some(answer),
            Err(error) if error.is_panic() => Failure::Panicked,
            Err(_) => Failure::TimedOut(until.saturating_duration_since(begun)),
        };
        self.report(SourceError::listener(method, told, failure));
        None
    }

    fn report(&self, error: SourceError) {
        if let Some(source) = self.source.upgrade() {
            source.report(error);
        }
    }
}

fn names(all: &[Assignment]) -> Vec<TopicPartition> {
    all.iter().map(|at| at.at.clone()).collect()
}
