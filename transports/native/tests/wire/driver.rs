//! Runs a client against a cluster with faults: a workload that follows from the seed, then a close, some time in which late
//! requests are executed, and the judge.

use std::env;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_tower_core::{Delivery, Error, Persistence, Record};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::Cluster;
use super::faults::number;
use super::history::Event;
use super::judge::{Finding, Judge, Outcome};
use super::profiles::Profile;
use super::workload::{Dropped, Plan, Random};

/// Time for which late requests can still be executed.
const SETTLING: Duration = Duration::from_secs(300);
/// Time after which nothing of the faults is left.
const AFTERMATH: Duration = Duration::from_secs(120);
/// Every future ends within this time after the close.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// Attempts to connect: some fail because of the faults.
const CONNECTS: usize = 50;
/// Records that are sent after all faults, and have to arrive.
const PROBES: usize = 5;
/// Lines of events that a failure prints for each partition, unless a single seed is run.
const LINES: usize = 120;

/// A handle of the client under test.
pub(crate) trait Client: Clone + Send + 'static {
    /// Resolves to what became of a record. It may be dropped.
    type Sending: Future<Output = Result<Delivery, Error>> + Send + 'static;

    /// Waits until a record can be sent.
    fn ready(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
    /// Sends a record.
    fn call(&mut self, record: Record) -> Self::Sending;
    /// Waits for all records that were sent before.
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send;
    /// Ends the client, within this time.
    fn close(&self, within: Duration) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Makes clients.
pub(crate) trait Connect {
    type Client: Client;

    /// Connects a client to a cluster, for the promises of the profile.
    fn connect(&self, cluster: &Cluster, profile: &Profile) -> impl Future<Output = Result<Self::Client, Error>>;
}

/// A run in which nothing was wrong.
#[derive(Debug)]
pub(crate) struct Report {
    /// Number of records delivered, written, not persisted, possibly persisted, and dropped.
    pub(crate) outcomes: [usize; 5],
    /// The cluster, to ask what has happened in it.
    pub(crate) cluster: Cluster,
}

/// A run in which something was wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    seed: u64,
    profile: &'static str,
    /// What was wrong.
    pub(crate) findings: Vec<Finding>,
    events: Vec<((&'static str, i32), Vec<Event>)>,
}

/// Runs one seed.
///
/// # Errors
///
/// If the client has not kept its promises.
pub(crate) fn run<C: Connect>(seed: u64, profile: &Profile, connect: &C) -> Result<Report, Box<Failure>> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(simulate(seed, profile, connect))
}

async fn simulate<C: Connect>(seed: u64, profile: &Profile, connect: &C) -> Result<Report, Box<Failure>> {
    let random = Random::new(number(&[seed, 1]));
    let partitions = 1 + i32::try_from(random.below(6)).expect("few");
    let cluster = Cluster::new(profile.brokers, profile.versions, &profile.topics(partitions), profile.faults(seed));
    let run = Run {
        judge: Arc::new(Mutex::new(Judge::new(profile.promises()))),
        waiting: Arc::default(),
        profile: *profile,
        partitions,
    };
    match connected(&cluster, profile, connect).await {
        Ok(client) => run.drive(&cluster, client, &random).await,
        Err(error) => run.judge().find(format!("no connection in {CONNECTS} attempts: {error}")),
    }
    sleep(SETTLING).await;
    let mut findings = run.judge().verdict(&cluster.logs());
    findings.extend(cluster.complaints().into_iter().map(|text| Finding { number: None, partition: None, text }));
    if findings.is_empty() {
        return Ok(Report { outcomes: run.judge().outcomes(), cluster });
    }
    let mut places: Vec<_> = findings.iter().filter_map(|finding| finding.partition).collect();
    places.sort_unstable();
    places.dedup();
    let events = places.into_iter().map(|of| (of, cluster.events_of(of.0, of.1))).collect();
    Err(Box::new(Failure { seed, profile: profile.name, findings, events }))
}

async fn connected<C: Connect>(cluster: &Cluster, profile: &Profile, connect: &C) -> Result<C::Client, Error> {
    let mut attempt = 1;
    loop {
        match connect.connect(cluster, profile).await {
            Err(_) if attempt < CONNECTS => sleep(Duration::from_secs(1)).await,
            result => return result,
        }
        attempt += 1;
    }
}

#[derive(Clone)]
struct Run {
    judge: Arc<Mutex<Judge>>,
    /// What waits for the outcomes.
    waiting: Arc<Mutex<JoinSet<()>>>,
    profile: Profile,
    partitions: i32,
}

impl Run {
    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn drive<C: Client>(&self, cluster: &Cluster, mut client: C, random: &Random) {
        let (handles, records) = (1 + random.below(4), 200 + random.below(301));
        let mut sending = JoinSet::new();
        for handle in 0..handles {
            let (run, client) = (self.clone(), client.clone());
            let random = Random::new(number(&[random.below(u64::MAX), handle]));
            sending.spawn(async move { run.send_some(client, records / handles, &random).await });
        }
        while let Some(sent) = sending.join_next().await {
            sent.expect("a handle's task does not panic");
        }
        if random.below(3) == 0 {
            let _ = client.close(Duration::from_millis(random.below(20_000))).await;
            cluster.heal();
        } else {
            cluster.heal();
            // Brokers still answer slowly what they had read before. After it, what is sent arrives.
            sleep(AFTERMATH).await;
            for _ in 0..PROBES {
                let plan = Plan::probe(self.partitions, random);
                self.send(&mut client, plan, true).await;
                sleep(Duration::from_secs(1)).await;
            }
            if random.below(2) == 0 && timeout(PATIENCE, client.flush()).await.is_err() {
                self.judge().find("a flush did not end".to_owned());
            }
            let _ = client.close(Duration::from_secs(600)).await;
        }
        drop(client);
        let mut results = std::mem::take(&mut *self.waiting());
        let ended = timeout(PATIENCE, async {
            while let Some(result) = results.join_next().await {
                result.expect("waiting for a record does not panic");
            }
        });
        // Who has not ended has no outcome, and the judge says so.
        let _ = ended.await;
        results.shutdown().await;
    }

    /// The share of one handle.
    async fn send_some<C: Client>(&self, mut client: C, records: u64, random: &Random) {
        for _ in 0..records {
            let plan = Plan::random(&self.profile, self.partitions, random);
            sleep(plan.pause).await;
            if plan.flushes {
                // It waits for what may take long: others go on, and so does this handle after a time.
                let _ = timeout(Duration::from_secs(5), client.flush()).await;
            }
            let must_arrive = self.profile.rates.is_empty() && plan.can_arrive(&self.profile);
            self.send(&mut client, plan, must_arrive).await;
        }
    }

    async fn send<C: Client>(&self, client: &mut C, plan: Plan, must_arrive: bool) {
        match timeout(PATIENCE, client.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.judge().find(format!("not ready: {error}")),
            Err(_) => return self.judge().find("no room was given in time".to_owned()),
        }
        // Nothing waits between these two, so that the judge knows the order of the calls.
        let (number, record) = plan.record(self.judge().next_number());
        self.judge().calls(number, plan.topic, plan.partition, record.key.clone());
        let sending = client.call(record);
        if must_arrive {
            self.judge().must_arrive(number);
        }
        let run = self.clone();
        match plan.dropped {
            Dropped::Never => {
                self.waiting().spawn(async move { run.outcome(number, Some(sending.await)) });
            }
            Dropped::AtOnce => {
                drop(sending);
                self.outcome(number, None);
            }
            Dropped::After(time) => {
                self.waiting().spawn(async move { run.outcome(number, timeout(time, sending).await.ok()) });
            }
        }
    }

    fn outcome(&self, number: u64, result: Option<Result<Delivery, Error>>) {
        let outcome = match result {
            None => Outcome::Dropped,
            Some(Ok(delivery)) if delivery.persistence == Persistence::Persisted => {
                Outcome::Delivered { partition: delivery.partition, offset: delivery.offset }
            }
            Some(Ok(_)) => Outcome::Written,
            Some(Err(error)) if error.persistence() == Persistence::NotPersisted => {
                Outcome::NotPersisted(error.message().to_owned())
            }
            Some(Err(error)) => Outcome::PossiblyPersisted(error.message().to_owned()),
        };
        self.judge().outcome(number, outcome);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, profile \"{}\": run it again with KAFKA_TOWER_SEED={}",
            self.seed, self.profile, self.seed
        )?;
        for finding in self.findings.iter().take(20) {
            writeln!(f, "  {finding}")?;
        }
        for ((topic, partition), events) in self.events.iter().take(2) {
            writeln!(f, "{topic}[{partition}], and what concerns the whole cluster:")?;
            let numbers = self.findings.iter().filter(|finding| finding.partition == Some((topic, *partition)));
            let (skipped, shown) = around(events, numbers.filter_map(|finding| finding.number).next());
            for event in shown {
                writeln!(f, "  {event}")?;
            }
            let behind = events.len() - skipped - shown.len();
            if skipped + behind > 0 {
                writeln!(f, "  and {skipped} before these, {behind} behind them")?;
            }
        }
        Ok(())
    }
}

/// The events around the first that names a record, and the number of those before them. All of them if a single seed is run.
fn around(events: &[Event], number: Option<u64>) -> (usize, &[Event]) {
    if env::var_os("KAFKA_TOWER_SEED").is_some() {
        return (0, events);
    }
    let number = number.map(|number| number.to_string());
    let names = |event: &Event| {
        let mut words = event.text.split(|letter: char| !letter.is_ascii_digit());
        number.as_ref().is_some_and(|number| event.text.contains("->") && words.any(|word| word == number))
    };
    let first = events.iter().position(names).unwrap_or_default().saturating_sub(LINES / 4);
    (first, &events[first..events.len().min(first + LINES)])
}

/// The time that is left until a record's deadline has passed.
pub(crate) fn deadline(of: Option<Duration>) -> Option<std::time::Instant> {
    of.map(|time| (Instant::now() + time).into_std())
}
