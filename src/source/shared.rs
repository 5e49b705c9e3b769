//! The engine of a source, shared by its reader, its messages and its transport.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::source::{
    Action, CommitStrategy, CommitWait, DeliveryId, Engine, EngineSettings, Notice, Settled, Span,
};
use kafka_tower_core::sync::lock;
use kafka_tower_core::wakers::wake_all;
use kafka_tower_core::{Assignment, Consumer, ConsumerEvents, ConsumerGroup, GroupEvent, TopicOffset, TopicPartition};
use tokio::sync::{oneshot, watch};

use super::close::Shown;
use super::listener::{Call, Calls, RebalanceListener};
use super::log::Log;
use super::place::Starts;
use super::receipt::{Effect, Settle};
use super::telemetry::Hooks;
use super::{Acked, SourceCloseReport, SourceError};

/// Time for leaving the group.
const LEAVE: Duration = Duration::from_secs(5);

/// Time for messages in the application's hands, when the source was dropped.
const DROPPED: Duration = Duration::from_secs(1);

/// Interval of the look for lines that were suppressed.
const LOG: Duration = Duration::from_secs(10);

/// Maximum number of notices that wait for `recv`. Beyond it the oldest one is dropped. Each was logged when it came.
const MAX_NOTICES: usize = 64;

pub(super) struct Shared {
    consumer: Arc<dyn Consumer>,
    group: Arc<str>,
    state: Mutex<State>,
    report: watch::Sender<Option<SourceCloseReport>>,
    /// The time of a close beyond the one for messages in the application's hands.
    ending: Duration,
    strategy: CommitStrategy,
    starts: Starts,
    listener: Option<Calls>,
    me: Weak<Self>,
    pub(super) hooks: Hooks,
    pub(super) log: Log,
}

pub(super) struct State {
    pub(super) engine: Engine,
    pub(super) reader: Option<Waker>,
    pub(super) notices: VecDeque<SourceError>,
    /// Changes when messages that were handed out may have become stale, or the source closes.
    pub(super) changes: u64,
    commits: BTreeMap<CommitWait, oneshot::Sender<Result<(), Notice>>>,
}

/// The present time of tokio's clock, which a transport for tests may have paused.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Shared {
    /// Starts the consumer.
    pub(super) fn start(
        consumer: Arc<dyn Consumer>,
        group: Arc<str>,
        mut settings: EngineSettings,
        starts: Starts,
        listener: Option<Arc<dyn RebalanceListener>>,
        hooks: Hooks,
    ) -> Arc<Self> {
        settings.listener = listener.is_some();
        settings.locate = settings.listener || starts.needs_look_up();
        let engine = Engine::new(settings);
        let state = State { engine, reader: None, notices: VecDeque::new(), changes: 0, commits: BTreeMap::new() };
        let of_listener = if settings.listener { settings.drain } else { Duration::ZERO };
        let ending = settings.commits.timeout.saturating_add(of_listener);
        let shared = Arc::new_cyclic(|me| Self {
            consumer,
            group,
            state: Mutex::new(state),
            report: watch::Sender::new(None),
            ending,
            strategy: settings.commits.strategy,
            listener: listener
                .zip(starts.runtime())
                .map(|(listener, runtime)| Calls::start(listener, Weak::clone(me), settings.drain, runtime)),
            starts,
            hooks,
            log: Log::default(),
            me: Weak::clone(me),
        });
        shared.hooks.watch(&shared);
        shared.consumer.run(Arc::clone(&shared) as _);
        shared
    }

    pub(super) fn consumer(&self) -> &Arc<dyn Consumer> {
        &self.consumer
    }

    pub(super) fn group(&self) -> &Arc<str> {
        &self.group
    }

    /// Refuses a commit that the strategy does not have.
    pub(super) fn may_commit(&self) -> Result<(), SourceError> {
        match self.strategy {
            CommitStrategy::Transaction => Err(SourceError::in_transactions()),
            CommitStrategy::Checkpoint => Err(SourceError::no_commits()),
            _ => Ok(()),
        }
    }

    pub(super) fn strategy(&self) -> CommitStrategy {
        self.strategy
    }

    pub(super) fn starts(&self) -> &Starts {
        &self.starts
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Settles a message, unless its receipt has had an `effect` before.
    pub(super) fn settle(&self, at: &TopicPartition, id: DeliveryId, how: Settle, effect: &Effect) -> Acked {
        let mut state = self.state();
        if let Some(effect) = effect.get() {
            return effect;
        }
        let change = match how {
            Settle::Ack => state.engine.settle(at, id, now),
            Settle::Skip => state.engine.skip(at, id, now()),
            Settle::DeadLetter => state.engine.dead_letter(at, id, now()),
            Settle::GiveBack(0) => state.engine.put_back(at, id, now()),
            Settle::GiveBack(attempts) => state.engine.give_back(at, id, attempts, now()),
        };
        let acked = match (change.settled, how) {
            (Settled::Done, Settle::Ack | Settle::Skip | Settle::DeadLetter) => Acked::Counted,
            _ => Acked::Stale,
        };
        effect.set(acked);
        let reader = if change.readable { state.reader.take() } else { None };
        drop(state);
        if change.needs_turn {
            self.consumer.notify();
        }
        wake_all(reader);
        self.hooks.settled(&at.topic, how, change.settled == Settled::Done);
        acked
    }

    /// A message cannot be handled: its partition waits until it is settled or given back. False if it is stale.
    pub(super) fn reject(&self, at: &TopicPartition, id: DeliveryId) -> bool {
        let mut state = self.state();
        let rejected = state.engine.reject(at, id, now());
        // A drain does not wait for it any more.
        let notify = state.engine.needs_turn(at);
        drop(state);
        if notify {
            self.consumer.notify();
        }
        rejected == Settled::Done
    }

    /// Whether offsets are committed in transactions only.
    pub(super) fn is_transactional(&self) -> bool {
        self.strategy == CommitStrategy::Transaction
    }

    /// The offsets after these records, and the metadata with which a transaction commits them. `None` if a partition was
    /// given back, lost or read again, also if the group's metadata are current: Kafka does not check who owns a partition.
    pub(super) fn offsets_after(&self, spans: &[Span]) -> Option<(Vec<TopicOffset>, ConsumerGroup)> {
        let state = self.state();
        let offsets = state.engine.offsets_after(spans)?;
        // Under the lock: a turn with a later generation waits for it, so that the metadata are not newer than the epochs.
        let group = self.consumer.group()?;
        Some((offsets, group))
    }

    /// The transaction with these records was committed.
    pub(super) fn settle_spans(&self, spans: &[Span], offsets: &[TopicOffset]) {
        let mut state = self.state();
        let settled = spans.iter().zip(offsets).filter(|(span, offset)| state.engine.settle_span(span, offset.offset));
        let settled: Vec<_> = settled.map(|(span, _)| span).collect();
        drop(state);
        for span in settled {
            (0..span.dead_letters).for_each(|_| self.hooks.settled(&span.at.topic, Settle::DeadLetter, true));
        }
        // A revocation may wait for it.
        self.consumer.notify();
    }

    /// Whether a position is behind what the group has committed: see [`Engine::passed`].
    pub(super) fn has_passed(&self) -> bool {
        !self.state().engine.passed().is_empty()
    }

    /// The positions behind what the group has committed, and the metadata with which a transaction commits them.
    pub(super) fn passed(&self) -> Option<(Vec<(Assignment, i64)>, ConsumerGroup)> {
        let state = self.state();
        let passed = Some(state.engine.passed()).filter(|passed| !passed.is_empty())?;
        // Under the lock, as in `offsets_after`.
        Some((passed, self.consumer.group()?))
    }

    /// A transaction has committed these positions.
    pub(super) fn committed_positions(&self, passed: &[(Assignment, i64)]) {
        let mut state = self.state();
        passed.iter().for_each(|(at, position)| state.engine.committed_position(at, *position));
    }

    /// These records are delivered again, and what follows them, not before `at`. Returns the partitions of which this is
    /// true: the others were given back, lost or read again.
    pub(super) fn rewind_spans(&self, spans: &[Span], at: Instant) -> Vec<TopicPartition> {
        let mut state = self.state();
        let rewound = spans.iter().filter(|span| state.engine.rewind(span, at));
        let rewound = rewound.map(|span| span.at.clone()).collect();
        drop(state);
        self.consumer.notify();
        rewound
    }

    /// A message could not be handled: it is delivered again, and what follows it, not before `due`.
    pub(super) fn retry(&self, at: &TopicPartition, id: DeliveryId, due: Instant) {
        self.state().engine.retry(at, id, due);
        self.consumer.notify();
    }

    /// Whether the records can still become part of a transaction.
    pub(super) fn is_current(&self, span: &Span) -> bool {
        self.state().engine.is_current(&span.at, span.last)
    }

    /// Starts a commit.
    pub(super) fn begin_commit(
        &self,
        start: impl FnOnce(&mut Engine) -> Result<Option<CommitWait>, Notice>,
    ) -> BegunCommit {
        let mut state = self.state();
        let waits = start(&mut state.engine).map(|id| {
            let (sender, receiver) = oneshot::channel();
            state.commits.insert(id?, sender);
            Some(receiver)
        });
        drop(state);
        if !matches!(waits, Ok(None)) {
            self.consumer.notify();
        }
        BegunCommit(waits)
    }

    pub(super) fn close(self: &Arc<Self>, within: Duration) -> impl Future<Output = SourceCloseReport> + Send + use<> {
        // The transport keeps its own times; this is for one that does not.
        self.close_by(within, within.saturating_add(self.ending).saturating_add(2 * LEAVE))
    }

    pub(super) fn close_by(
        self: &Arc<Self>,
        drain: Duration,
        bound: Duration,
    ) -> impl Future<Output = SourceCloseReport> + Send + use<> {
        self.begin_close(drain);
        let shared = Arc::clone(self);
        async move {
            let mut report = shared.report.subscribe();
            let ended = tokio::time::timeout(bound, report.wait_for(Option::is_some)).await;
            let ended = ended.ok().and_then(|ended| ended.ok()?.clone());
            ended.unwrap_or_else(|| SourceCloseReport::new(shared.state().engine.closed(), false))
        }
    }

    fn begin_close(&self, within: Duration) {
        let mut state = self.state();
        state.engine.close(now(), within);
        state.changes += 1;
        let reader = state.reader.take();
        drop(state);
        self.consumer.notify();
        wake_all(reader);
    }

    /// The source was dropped.
    pub(super) fn abandon(&self) {
        if !self.state().engine.is_closing() {
            self.begin_close(DROPPED);
        }
    }

    /// Carries out what is neither the reader's nor the lock's.
    fn carry_out(&self, action: Action) {
        match action {
            Action::Start(at) => self.consumer.start(&at),
            Action::Locate(at) => drop(self.me.upgrade().map(|shared| shared.locate(at))),
            Action::Assigned(partitions) => self.call(Call::Assigned(partitions)),
            Action::Revoking(partitions, until) => self.call(Call::Revoking(partitions, until)),
            Action::Revoked(partitions, until) => self.call(Call::Revoked(partitions, until)),
            Action::Release(partitions) => self.consumer.release(&partitions),
            Action::Commit { ticket, offsets } => {
                // Before, because the answer may come at once.
                self.hooks.commit_sent(ticket);
                self.consumer.commit(&offsets, ticket);
            }
            Action::Seek { at, to } => self.consumer.seek(&at, to),
            Action::Leave => self.consumer.leave(LEAVE),
            Action::Notice(notice) => self.tell(notice),
            Action::Answer(id, result) => {
                let waits = self.state().commits.remove(&id);
                // The caller may have stopped waiting.
                let _ = waits.map(|waits| waits.send(result));
            }
        }
    }

    fn call(&self, call: Call) {
        if let Some(listener) = &self.listener {
            listener.call(call);
        }
    }

    fn tell(&self, notice: Notice) {
        if let Notice::Lost(partitions) = &notice {
            self.call(Call::Lost(partitions.clone()));
        }
        match &notice {
            Notice::Unsettled(all) => {
                for unsettled in all {
                    tracing::warn!("given back in a rebalance, {}: the next owner reads them again", Shown(unsettled));
                }
            }
            Notice::Skipped { at, from, to } => {
                let skipped = to - from;
                tracing::warn!(partition = %at, from, to, skipped, "records were deleted before they were read, and are skipped");
            }
            Notice::Stalled(at, offset, lasts) => {
                let lasts = lasts.as_secs_f64();
                tracing::warn!(partition = %at, offset, "a message has not been settled for {lasts} s: nothing behind it is committed");
            }
            Notice::GoesOn(at, offset, lasts) => {
                let lasts = lasts.as_secs_f64();
                tracing::info!(partition = %at, offset, "a partition goes on: its message was not settled for {lasts} s");
            }
            _ => {}
        }
        if let Some(error) = SourceError::of_notice(notice) {
            self.report(error);
        }
    }

    /// Logs an error, and keeps it for `recv`.
    pub(super) fn report(&self, error: SourceError) {
        let cause = std::error::Error::source(&error).map(tracing::field::display);
        tracing::warn!(cause, "{}", error.message());
        let mut state = self.state();
        let oldest = if state.notices.len() == MAX_NOTICES { state.notices.pop_front() } else { None };
        state.notices.push_back(error);
        drop(state);
        drop(oldest);
    }
}

/// A commit that was started.
pub(super) struct BegunCommit(Result<Option<oneshot::Receiver<Result<(), Notice>>>, Notice>);

impl BegunCommit {
    pub(super) async fn ended(self) -> Result<(), SourceError> {
        let ended = match self.0 {
            Ok(None) => Ok(()),
            Ok(Some(waits)) => waits.await.map_err(|_| SourceError::closed())?,
            Err(notice) => Err(notice),
        };
        ended.map_err(|notice| SourceError::of_notice(notice).unwrap_or_else(SourceError::closed))
    }
}

impl ConsumerEvents for Shared {
    fn turn(&self, now: Instant, event: Option<GroupEvent>) -> Option<Instant> {
        event.iter().for_each(|event| self.hooks.event(event));
        let mut state = self.state();
        let left = matches!(event, Some(GroupEvent::Left));
        let gone = matches!(event, Some(GroupEvent::Revoked(_) | GroupEvent::Lost(_)));
        if let Some(event) = event {
            state.engine.event(now, event);
        }
        let (actions, next) = state.engine.turn(now);
        // A release ends the epoch of messages that were not settled in time.
        let ends = |action: &Action| matches!(action, Action::Seek { .. } | Action::Release(_) | Action::Leave);
        state.changes += u64::from(left || gone || actions.iter().any(ends));
        let report = left.then(|| SourceCloseReport::new(state.engine.closed(), true));
        drop(state);
        actions.into_iter().for_each(|action| self.carry_out(action));
        if let Some(report) = report {
            self.call(Call::Left);
            self.log.end(now);
            for unsettled in &report.unsettled {
                tracing::warn!("at the close of a source, {}: they are read again", Shown(unsettled));
            }
            self.report.send_replace(Some(report));
        }
        let reader = self.state().reader.take();
        wake_all(reader);
        let of_log = self.log.tick(now).then(|| later(now, LOG));
        next.into_iter().chain(of_log).min()
    }
}
