//! One run of a seed with transactions: begin, sends through the stack, commit or abort, and a new producer if the
//! old one cannot be used any more.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::{ControlFuture, Delivery, Error, Persistence, Record, Recovery, Result, TransactionControl};
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::config::{Config, Order};
use super::driver::Stage;
use super::journal::What;
use super::judge::transactions::{Ended, Sent, Transaction, judge};
use super::make::{CONNECTS, MakeStack, not_made};
use super::outcome::{Counts, Outcome, PATIENCE, Schedule, count};
use super::seen::seen;
use super::verdict::{Verdict, Violation};
use super::workload::{Step, TOPIC, Then};
use crate::MemoryTransport;
use crate::faults::draw::{below, chance};

const ID: &str = "check";

/// Time limit of one control call.
const WITHIN: Duration = Duration::from_secs(1);

/// Number of times that a call is repeated before its outcome counts as unknown.
const CALLS: u32 = 20;

/// A producer with its stack.
pub(super) struct Producer<S> {
    service: S,
    transactions: Arc<dyn TransactionControl>,
}

/// The run ends because something is never ready.
pub(super) struct Stop(pub(super) Violation);

/// A stack, or the reason why none could be created.
type Made<S> = Result<Result<Producer<S>>, Stop>;

/// Creates a stack. Without transactions of its own, the check controls those of the transport below.
pub(super) async fn over<M: MakeStack>(stage: &Stage, transport: MemoryTransport, stack: &M) -> Made<M::Stack> {
    let transactions = transport.control().transactions();
    let made = watched("connect", stack.make(transport)).await?;
    let (service, control) = match made {
        Ok(made) => made,
        Err(error) => return Ok(Err(error)),
    };
    let own = control.and_then(|control| control.transactions());
    if let Some(transactions) = own {
        return Ok(Ok(Producer { service, transactions }));
    }
    let producer = Producer { service, transactions: transactions.expect("the producer has a transactional id") };
    let (outcome, _) = again(stage, "init", |within| producer.transactions.init(within)).await?;
    Ok(outcome.map(|()| producer))
}

/// Creates a stack that controls its own transactions.
pub(super) async fn own<S>(
    stage: &Stage,
    connected: impl Future<Output = Result<(S, Arc<dyn TransactionControl>)>>,
) -> Made<S> {
    let connected = watched("connect", connected).await?;
    note(stage, "connect", &connected.as_ref().map(drop).map_err(Clone::clone));
    Ok(connected.map(|(service, transactions)| Producer { service, transactions }))
}

pub(super) async fn drive<S>(
    config: &Config,
    stage: &Stage,
    schedule: &Schedule,
    make: &impl AsyncFn(MemoryTransport) -> Made<S>,
) -> Outcome
where
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let rounds = plan(config, stage.seed, schedule);
    let sends = rounds.iter().flat_map(|round| round.steps.iter().map(|step| step.id)).collect();
    let mut transactions = Vec::new();
    let stopped = run(config, stage, &rounds, make, &mut transactions).await.err();
    let mut found: Vec<_> = stopped.into_iter().map(|Stop(violation)| violation).collect();
    let faults = (stage.kafka.faults(), stage.kafka.listed_faults());
    stage.kafka.stop_faults();
    // Transactions that were left open time out.
    sleep(PATIENCE).await;
    let seen = seen(&stage.kafka.committed(TOPIC));
    found.extend(judge(&transactions, &seen));
    let sent = || transactions.iter().flat_map(|transaction| &transaction.sent);
    found.retain(|violation| config.order == Order::Calls || violation.verdict != Verdict::Reordered);
    let counts = count(sent().map(|sent| sent.outcome.as_ref()), &seen);
    Outcome {
        violations: found,
        faults: faults.0,
        listed: faults.1,
        sends,
        trace: stage.journal.take().0,
        counts: Counts { transactions: transactions.len() as u64, ..counts },
    }
}

/// A planned transaction.
struct Round {
    steps: Vec<Step>,
    commits: bool,
    /// A commit waits for records in flight by itself: half of the callers await the results before it, half after
    /// it.
    looks_before: bool,
}

/// Plans the transactions of a seed. Those without remaining sends are left out.
fn plan(config: &Config, seed: u64, schedule: &Schedule) -> Vec<Round> {
    let mut next_id = 0;
    let rounds = (0..config.transactions).map(|round| {
        let place = |what: u64| [3_000 + what, u64::from(round)];
        let first = next_id;
        next_id += 1 + below(seed, &place(0), 6) as u32;
        let steps = (first..next_id).filter(|id| schedule.has(*id)).map(|id| config.workload.step(seed, 0, id));
        let (commits, looks_before) = (chance(seed, &place(1), 0.75), chance(seed, &place(2), 0.5));
        Round { steps: steps.collect(), commits, looks_before }
    });
    rounds.filter(|round| !round.steps.is_empty()).collect()
}

async fn run<S>(
    config: &Config,
    stage: &Stage,
    rounds: &[Round],
    make: &impl AsyncFn(MemoryTransport) -> Made<S>,
    transactions: &mut Vec<Transaction>,
) -> Result<(), Stop>
where
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let mut producer = None;
    for round in rounds {
        let current = match producer.take() {
            Some(producer) => producer,
            None => connect(config, stage, make).await?,
        };
        let mut transaction = Transaction { sent: Vec::new(), ended: Ended::Unknown };
        let goes_on = one(stage, current, round, &mut transaction).await;
        transactions.push(transaction);
        producer = goes_on?.filter(|_| !config.replace);
    }
    Ok(())
}

async fn connect<S>(
    config: &Config,
    stage: &Stage,
    make: &impl AsyncFn(MemoryTransport) -> Made<S>,
) -> Result<Producer<S>, Stop> {
    let mut failed = 0;
    loop {
        let producer = config.producer(&stage.kafka).journal(&stage.journal).transactional(ID);
        match make(producer.transport()).await? {
            Ok(producer) => return Ok(producer),
            Err(error) if failed == CONNECTS => not_made(&error),
            Err(_) => failed += 1,
        }
    }
}

/// Runs one transaction. Returns the producer if it can be used again.
async fn one<S>(
    stage: &Stage,
    mut producer: Producer<S>,
    round: &Round,
    transaction: &mut Transaction,
) -> Result<Option<Producer<S>>, Stop>
where
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let control = Arc::clone(&producer.transactions);
    let begun = watched("begin", control.begin(WITHIN)).await?;
    note(stage, "begin", &begun);
    if begun.is_err() {
        transaction.ended = Ended::Aborted;
        return Ok(None);
    }
    let mut answers = Answers { stage, transaction, open: Vec::new() };
    for step in &round.steps {
        if !step.pause.is_zero() {
            sleep(step.pause).await;
        }
        // A stack may release room only when its futures are polled, so poll them meanwhile.
        let room = poll_fn(|cx| {
            answers.poll(cx);
            producer.service.poll_ready(cx)
        });
        if watched("poll_ready", room).await?.is_err() {
            break;
        }
        stage.journal.add(What::Called { caller: 0, id: step.id, key: step.key });
        let future = Box::pin(producer.service.call(step.record()));
        answers.transaction.sent.push(Sent { id: step.id, key: step.key, outcome: None });
        if step.then != Then::Leave {
            answers.open.push((step.id, future));
        }
        match step.then {
            Then::Await => answers.all().await?,
            Then::Keep => {}
            Then::Leave => answers.leave(step.id),
            Then::Glance => {
                answers.poll(&mut Context::from_waker(Waker::noop()));
                answers.leave(step.id);
            }
        }
    }
    if round.looks_before {
        answers.all().await?;
    }
    // Poll the other futures while the transaction ends: a stack may do work in them.
    let mut ending = pin!(end(stage, &*control, round.commits));
    let (ended, goes_on) = poll_fn(|cx| {
        answers.poll(cx);
        ending.as_mut().poll(cx)
    })
    .await?;
    answers.transaction.ended = ended;
    answers.all().await?;
    Ok(goes_on.then_some(producer))
}

/// Results that are being awaited.
struct Answers<'a, F> {
    stage: &'a Stage,
    transaction: &'a mut Transaction,
    open: Vec<(u32, Pin<Box<F>>)>,
}

impl<F, E> Answers<'_, F>
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    fn poll(&mut self, cx: &mut Context<'_>) {
        let Self { stage, transaction, open } = self;
        open.retain_mut(|(id, future)| {
            let Poll::Ready(outcome) = future.as_mut().poll(cx) else { return true };
            let outcome = outcome.map_err(Into::into);
            stage.journal.add(What::Answered { id: *id, outcome: outcome.clone() });
            if let Some(sent) = transaction.sent.iter_mut().find(|sent| sent.id == *id) {
                sent.outcome = Some(outcome);
            }
            false
        });
    }

    /// The caller drops the future.
    fn leave(&mut self, id: u32) {
        let told = self.transaction.sent.iter().any(|sent| sent.id == id && sent.outcome.is_some());
        self.open.retain(|(open, _)| *open != id);
        if !told {
            self.stage.journal.add(What::Left { id });
        }
    }

    async fn all(&mut self) -> Result<(), Stop> {
        let names: Vec<_> = self.open.iter().map(|(id, _)| format!("r{id}")).collect();
        let all = poll_fn(|cx| {
            self.poll(cx);
            if self.open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        watched(&format!("the answer of one of {}", names.join(", ")), all).await
    }
}

/// Ends the transaction as planned, or as it must be ended. Returns whether the producer can be used again.
async fn end(stage: &Stage, control: &dyn TransactionControl, commits: bool) -> Result<(Ended, bool), Stop> {
    if commits {
        let (outcome, given_up) = again(stage, "commit", |within| control.commit(within)).await?;
        match outcome {
            Ok(()) => return Ok((Ended::Committed, true)),
            Err(_) if given_up => return Ok((Ended::Unknown, false)),
            Err(error) => match (error.persistence(), error.recovery()) {
                (Persistence::NotPersisted, Recovery::AbortTransaction) => {}
                (Persistence::NotPersisted, _) => return Ok((Ended::Aborted, false)),
                _ => return Ok((Ended::Unknown, false)),
            },
        }
    }
    let (outcome, _) = again(stage, "abort", |within| control.abort(within)).await?;
    match outcome {
        Ok(()) => Ok((Ended::Aborted, true)),
        // No commit was requested, so none of its records may be visible.
        Err(error) if error.persistence() == Persistence::NotPersisted => Ok((Ended::Aborted, false)),
        Err(_) => Ok((Ended::Unknown, false)),
    }
}

/// Repeats a call while its error says `Retry`. Also returns whether it was given up.
async fn again<'a>(
    stage: &Stage,
    name: &'static str,
    call: impl Fn(Duration) -> ControlFuture<'a, ()>,
) -> Result<(Result<()>, bool), Stop> {
    for n in 1.. {
        let outcome = watched(name, call(WITHIN)).await?;
        note(stage, name, &outcome);
        match outcome {
            Err(error) if error.recovery() == Recovery::Retry && n < CALLS => {}
            Err(error) if error.recovery() == Recovery::Retry => return Ok((Err(error), true)),
            outcome => return Ok((outcome, false)),
        }
    }
    unreachable!("the last call is counted")
}

pub(super) fn note(stage: &Stage, name: &str, outcome: &Result<()>) {
    match outcome {
        Ok(()) => stage.journal.note(format!("{name}: Ok")),
        Err(error) => stage.journal.note(format!("{name}: {}: {error}", error.kind())),
    }
}

/// Runs a future under the watchdog.
pub(super) async fn watched<F: Future>(name: &str, future: F) -> Result<F::Output, Stop> {
    let mut future = Box::pin(future);
    match timeout(PATIENCE, &mut future).await {
        Ok(output) => Ok(output),
        Err(_) => {
            let ready = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())).is_ready();
            let (verdict, why) = if ready {
                (Verdict::LostWakeUp, "is ready, but its task was not woken")
            } else {
                (Verdict::StuckFuture, "is never ready")
            };
            Err(Stop(Violation::new(verdict, format!("{name} {why}"))))
        }
    }
}
