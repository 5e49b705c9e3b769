//! One run of a seed: its own runtime, a paused clock, a Kafka with faults, and a stack.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kafka_tower_core::{Control, Delivery, Error, InFlight, Record, Result, TransactionControl};
use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::batches::Lanes;
use super::config::Config;
use super::driver::{Driver, Stage, Stuck};
use super::journal::Journal;
use super::judge::judge;
use super::make::{CONNECTS, MakeStack, not_made};
use super::outcome::{Outcome, PATIENCE, Schedule, caught, count, on_paused_clock};
use super::probe::capacity;
use super::seen::seen;
use super::verdict::{Verdict, Violation};
use super::workload::{TOPIC, Workload};
use super::{Guarantee, batches, transactions};
use crate::{MemoryKafka, MemoryTransport};

/// Time limit of the close, on the paused clock.
const CLOSE: Duration = Duration::from_secs(5);

pub(crate) fn run<M: MakeStack>(config: &Config, seed: u64, schedule: &Schedule, stack: &M) -> Outcome {
    caught(|| {
        on_paused_clock(async {
            let stage = stage(config, seed, schedule);
            match config.guarantee {
                Guarantee::ExactlyOnce => {
                    let make = async |transport| transactions::over(&stage, transport, stack).await;
                    transactions::drive(config, &stage, schedule, &make).await
                }
                Guarantee::AtMostOnce | Guarantee::AtLeastOnce => drive(config, &stage, schedule, stack).await,
            }
        })
    })
}

/// Runs a seed over stacks that control their own transactions.
pub(crate) fn run_transactions<S, Fut, F>(config: &Config, seed: u64, schedule: &Schedule, connect: &F) -> Outcome
where
    F: Fn(MemoryTransport) -> Fut,
    Fut: Future<Output = Result<(S, Arc<dyn TransactionControl>)>>,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    caught(|| {
        on_paused_clock(async {
            let stage = stage(config, seed, schedule);
            let make = async |transport| transactions::own(&stage, connect(transport)).await;
            transactions::drive(config, &stage, schedule, &make).await
        })
    })
}

/// Runs a seed over stacks that run transactions of their own.
pub(crate) fn run_batches<S, Fut, F>(config: &Config, seed: u64, schedule: &Schedule, connect: &F) -> Outcome
where
    F: Fn(Lanes) -> Fut,
    Fut: Future<Output = Result<(S, Arc<dyn Control>)>>,
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    caught(|| {
        on_paused_clock(async {
            let stage = Stage { committed_only: true, ..stage(config, seed, schedule) };
            batches::drive(config, &stage, schedule, connect).await
        })
    })
}

fn stage(config: &Config, seed: u64, schedule: &Schedule) -> Stage {
    let kafka = MemoryKafka::new().with_topic(TOPIC, config.workload.partitions);
    kafka.replay_faults(seed, config.faults.clone(), schedule.faults.clone());
    Stage { kafka, journal: Arc::new(Journal::new()), seed, committed_only: false }
}

async fn drive<M: MakeStack>(config: &Config, stage: &Stage, schedule: &Schedule, stack: &M) -> Outcome {
    let (service, control) = made(config, stage, stack).await;
    let workload = &config.workload;
    let mut driver = Driver::new(stage);
    let mut sends = BTreeSet::new();
    for caller in 0..workload.callers {
        let steps = (0..workload.sends).map(|index| workload.step(stage.seed, caller, index));
        let steps: Vec<_> = steps.filter(|step| schedule.has(step.id)).collect();
        sends.extend(steps.iter().map(|step| step.id));
        driver.add_caller(service.clone(), steps);
    }
    let mut violations = settle(&mut driver, std::future::pending::<()>()).await.1;
    explain(&mut violations, control.in_flight());
    let mut found: Vec<_> = violations.into_iter().map(|(_, violation)| violation).collect();

    if found.is_empty() {
        found.extend(leak(config, stage, &service).await);
    }
    if found.is_empty() {
        let burst = (0..Workload::BURST).map(|index| workload.burst(index)).filter(|step| schedule.has(step.id));
        let burst: Vec<_> = burst.collect();
        sends.extend(burst.iter().map(|step| step.id));
        driver.add_caller(service.clone(), burst);
        found.extend(close(&mut driver, &*control, stage).await);
    }
    let calls = std::mem::take(&mut driver.calls);
    drop((driver, service, control));

    let records = stage.kafka.records(TOPIC);
    let seen = seen(&records);
    let (trace, attempts) = stage.journal.take();
    found.extend(judge(config.guarantee, config.order, &calls, &attempts, &seen));
    Outcome {
        violations: found,
        faults: stage.kafka.faults(),
        listed: stage.kafka.listed_faults(),
        sends,
        counts: count(calls.iter().map(|call| call.answered.as_ref().map(|answer| &answer.outcome)), &seen),
        trace,
    }
}

async fn made<M: MakeStack>(config: &Config, stage: &Stage, stack: &M) -> (M::Stack, Arc<dyn Control>) {
    let mut failed = 0;
    loop {
        let transport = config.producer(&stage.kafka).journal(&stage.journal).transport();
        let below = transport.control();
        match stack.make(transport).await {
            Ok((service, control)) => return (service, control.unwrap_or(below)),
            Err(error) if failed == CONNECTS => not_made(&error),
            Err(_) => failed += 1,
        }
    }
}

/// Runs until all callers are done or nothing happens any more. Polls another future alongside, and returns its
/// output if it ends.
pub(super) async fn settle<S, T>(
    driver: &mut Driver<'_, S>,
    beside: impl Future<Output = T>,
) -> (Option<T>, Vec<(Stuck, Violation)>)
where
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let mut beside = pin!(beside);
    let mut watchdog = pin!(sleep(PATIENCE));
    let (mut output, mut events) = (None, driver.events());
    let all_done = poll_fn(|cx| {
        if output.is_none() {
            if let Poll::Ready(value) = beside.as_mut().poll(cx) {
                output = Some(value);
            }
        }
        let done = driver.poll(cx).is_ready();
        if done {
            return Poll::Ready(true);
        }
        if driver.events() != events {
            events = driver.events();
            watchdog.as_mut().reset(Instant::now() + PATIENCE);
        }
        Pin::new(&mut watchdog).poll(cx).map(|()| false)
    })
    .await;
    let stuck = if all_done { Vec::new() } else { driver.stuck() };
    let violations = stuck.into_iter().map(|(what, ready)| {
        let (verdict, why) = if ready {
            (Verdict::LostWakeUp, "is ready, but its task was not woken")
        } else {
            (Verdict::StuckFuture, "is never ready")
        };
        let text = match what {
            Stuck::Answer(id) => format!("the answer of r{id} {why}"),
            Stuck::Room(caller) => format!("poll_ready of caller {caller} {why}"),
        };
        (what, Violation::new(verdict, text))
    });
    let violations = violations.collect();
    (output, violations)
}

/// Changes the verdict of callers that wait for room while nothing is in flight: they wait for a leaked permit.
pub(super) fn explain(violations: &mut [(Stuck, Violation)], in_flight: InFlight) {
    let no_answer = !violations.iter().any(|(what, _)| matches!(what, Stuck::Answer(_)));
    for (what, violation) in violations {
        let waits = matches!(what, Stuck::Room(_)) && violation.verdict == Verdict::StuckFuture;
        if waits && no_answer && in_flight == InFlight::default() {
            violation.verdict = Verdict::PermitLeak;
            violation.evidence.push_str(", and nothing is in flight");
        }
    }
}

/// Checks whether the stack admits less than a new one.
async fn leak<S>(config: &Config, stage: &Stage, service: &S) -> Option<Violation>
where
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    let at_start = config.capacity?;
    // Let parts that react to faults, such as breakers and limits, recover first.
    sleep(PATIENCE).await;
    let now = capacity(&stage.kafka, service).await;
    (now < at_start).then(|| {
        let text = format!("{now} sends were admitted with nothing in flight, and {at_start} by a new stack");
        Violation::new(Verdict::PermitLeak, text)
    })
}

/// Closes the transport while sends are in flight.
pub(super) async fn close<S>(driver: &mut Driver<'_, S>, control: &dyn Control, stage: &Stage) -> Vec<Violation>
where
    S: Service<Record, Response = Delivery> + Clone,
    S::Error: Into<Error>,
{
    // Let the sends get as far as they can at once.
    poll_fn(|cx| {
        let _ = driver.poll(cx);
        Poll::Ready(())
    })
    .await;
    let before = control.in_flight();
    let on_their_way = (before.records + before.parked) as u64;
    stage.journal.note(format!("close, {on_their_way} in flight"));
    let (report, stuck) = settle(driver, control.close(CLOSE)).await;
    let mut found: Vec<_> = stuck.into_iter().map(|(what, violation)| unreported(&what, violation)).collect();
    // All callers may be done before the close ends.
    let report = match report {
        Some(report) => report,
        None => control.close(CLOSE).await,
    };
    if let Ok(report) = report {
        stage.journal.note(format!("closed: {report}"));
        let told = report.delivered + report.failed + report.unknown;
        if told < on_their_way {
            let text = format!("{on_their_way} records were in flight, the close report covers {told}");
            found.push(Violation::new(Verdict::UnreportedAtClose, text));
        }
    }
    found
}

fn unreported(what: &Stuck, violation: Violation) -> Violation {
    match what {
        Stuck::Answer(id) if violation.verdict == Verdict::StuckFuture => {
            Violation::new(Verdict::UnreportedAtClose, format!("close came back, and r{id} has no answer"))
        }
        _ => violation,
    }
}
