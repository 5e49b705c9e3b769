//! One run of a seed over stacks that run transactions of their own: callers, faults, and a new stack with the same
//! transactional ids when the earlier one is closed or dropped.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kafka_tower_core::{Control, Delivery, Error, Record, Result};
use tokio::time::sleep;
use tower_service::Service;

use super::Guarantee;
use super::config::Config;
use super::driver::{Driver, Stage};
use super::journal::Journal;
use super::judge::judge;
use super::make::{CONNECTS, not_made};
use super::outcome::{Outcome, PATIENCE, Schedule, count};
use super::run::{close, explain, settle};
use super::seen::seen;
use super::transactions::{Stop, note, watched};
use super::verdict::Violation;
use super::workload::{Step, TOPIC, Workload};
use crate::faults::draw::{below, chance};
use crate::{MemoryKafka, MemoryTransport};

/// Number of stacks, one after the other.
const STACKS: u32 = 4;

/// Makes the transactional transports of a stack: see [`check_batches`](super::check_batches).
#[derive(Clone, Debug)]
pub struct Lanes {
    kafka: MemoryKafka,
    journal: Arc<Journal>,
    config: Config,
}

impl Lanes {
    /// Makes a transport for each lane.
    #[must_use]
    pub fn transports(&self) -> Vec<MemoryTransport> {
        (0..self.config.lanes as usize).map(|lane| self.transport(lane)).collect()
    }

    /// Makes a transport with the transactional id of this lane, for example in place of one that has ended.
    #[must_use]
    pub fn transport(&self, lane: usize) -> MemoryTransport {
        let producer = self.config.producer(&self.kafka).journal(&self.journal);
        producer.transactional(format!("check-{lane}")).transport()
    }
}

/// A stack with the control that closes it, or the reason why it was not connected.
type Connected<S> = Result<(S, Arc<dyn Control>)>;

pub(super) async fn drive<S, Fut>(
    config: &Config,
    stage: &Stage,
    schedule: &Schedule,
    connect: &impl Fn(Lanes) -> Fut,
) -> Outcome
where
    Fut: Future<Output = Connected<S>>,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let (mut driver, mut sends, mut found) = (Driver::new(stage), BTreeSet::new(), Vec::new());
    for stack in 0..STACKS {
        match one(config, stage, schedule, &mut driver, stack, &mut sends, connect).await {
            Ok(violations) => found.extend(violations),
            Err(Stop(violation)) => found.push(violation),
        }
        if !found.is_empty() {
            break;
        }
    }
    driver.drop_callers();
    let (faults, listed) = (stage.kafka.faults(), stage.kafka.listed_faults());
    stage.kafka.stop_faults();
    // Stacks that were dropped end, and transactions that were left open time out.
    sleep(PATIENCE).await;
    let (calls, seen) = (std::mem::take(&mut driver.calls), seen(&stage.kafka.committed(TOPIC)));
    let (trace, attempts) = stage.journal.take();
    found.extend(judge(Guarantee::ExactlyOnce, config.order, &calls, &attempts, &seen));
    let counts = count(calls.iter().map(|call| call.answered.as_ref().map(|answer| &answer.outcome)), &seen);
    Outcome { violations: found, faults, listed, sends, trace, counts }
}

/// How the callers part with a stack.
enum Parting {
    /// It is closed with sends in flight, after all others are answered.
    Close,
    /// All handles and futures are dropped after this time.
    Drop(Duration),
}

fn parting(seed: u64, stack: u32) -> Parting {
    let place = |what: u64| [5_000 + what, u64::from(stack)];
    match chance(seed, &place(0), 0.5) {
        true => Parting::Close,
        false => Parting::Drop(Duration::from_millis(below(seed, &place(1), 1_000))),
    }
}

/// Runs the callers over one stack.
async fn one<S, Fut>(
    config: &Config,
    stage: &Stage,
    schedule: &Schedule,
    driver: &mut Driver<'_, S>,
    stack: u32,
    sends: &mut BTreeSet<u32>,
    connect: &impl Fn(Lanes) -> Fut,
) -> Result<Vec<Violation>, Stop>
where
    Fut: Future<Output = Connected<S>>,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let workload = &config.workload;
    let each = workload.sends.div_ceil(STACKS);
    let part = stack * each..workload.sends.min((stack + 1) * each);
    // Keys of their own: a stack that was dropped may commit its last records after those of the next one.
    let of_stack = |mut step: Step| {
        step.key = step.key.map(|key| stack * workload.callers * workload.keys + key);
        step
    };
    let of_caller = |caller| part.clone().map(move |index| of_stack(workload.step(stage.seed, caller, index)));
    let burst = (0..Workload::BURST).map(|index| workload.burst(stack * Workload::BURST + index));
    let is_left = |step: &Step| schedule.has(step.id);
    let callers: Vec<Vec<_>> = (0..workload.callers).map(|n| of_caller(n).filter(is_left).collect()).collect();
    let burst: Vec<_> = burst.filter(is_left).collect();
    sends.extend(callers.iter().flatten().chain(&burst).map(|step| step.id));
    if callers.iter().all(Vec::is_empty) && burst.is_empty() {
        return Ok(Vec::new());
    }
    let (service, control) = connected(config, stage, connect).await?;
    for steps in callers {
        driver.add_caller(service.clone(), steps);
    }
    let mut found = Vec::new();
    match parting(stage.seed, stack) {
        Parting::Drop(after) => {
            let mut over = pin!(sleep(after));
            poll_fn(|cx| if driver.poll(cx).is_ready() { Poll::Ready(()) } else { over.as_mut().poll(cx) }).await;
            stage.journal.note("the stack is dropped");
        }
        Parting::Close => {
            let mut violations = settle(driver, std::future::pending::<()>()).await.1;
            explain(&mut violations, control.in_flight());
            found.extend(violations.into_iter().map(|(_, violation)| violation));
            if found.is_empty() {
                driver.add_caller(service, burst);
                found.extend(close(driver, &*control, stage).await);
            }
        }
    }
    driver.drop_callers();
    Ok(found)
}

async fn connected<S, Fut>(
    config: &Config,
    stage: &Stage,
    connect: &impl Fn(Lanes) -> Fut,
) -> Result<(S, Arc<dyn Control>), Stop>
where
    Fut: Future<Output = Connected<S>>,
{
    let (kafka, journal) = (stage.kafka.clone(), Arc::clone(&stage.journal));
    let lanes = Lanes { kafka, journal, config: config.clone() };
    let mut failed = 0;
    loop {
        let connected = watched("connect", connect(lanes.clone())).await?;
        note(stage, "connect", &connected.as_ref().map(drop).map_err(Clone::clone));
        match connected {
            Ok(connected) => return Ok(connected),
            Err(error) if failed == CONNECTS => not_made(&error),
            Err(_) => failed += 1,
        }
    }
}
