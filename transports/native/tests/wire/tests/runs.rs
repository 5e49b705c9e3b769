//! Many seeds: the careful client keeps its promises under all faults, and no defect of it stays hidden.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, process, thread};

use super::careful::{Careful, Defect};
use crate::driver::{Connect, run};
use crate::faults::Kind;
use crate::native::Native;
use crate::profiles::{PLAIN_PROFILES, PROFILES, Profile, TOPIC};

/// Seeds of a usual run of the transport.
const SEEDS: u64 = 1_000;
/// Seeds of a usual run of the careful client, for each profile.
const CAREFUL_SEEDS: u64 = 4;
/// A seed takes some 30 ms, but the machine may have other things to do.
const TOO_LONG: Duration = Duration::from_secs(600);

fn number_of(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Runs the seeds of all these profiles. `KAFKA_TOWER_SEEDS` counts all of them, `KAFKA_TOWER_SEED` names one.
fn seeds<C: Connect + Sync>(profiles: &[Profile], connect: &C, usual: u64) {
    let profiles_len = profiles.len() as u64;
    let seeds = match number_of("KAFKA_TOWER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_of("KAFKA_TOWER_SEEDS").unwrap_or(usual),
    };
    // Each seed runs in one thread; several seeds run side by side.
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut results = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return results;
            }
            let profile = &profiles[usize::try_from(seed % profiles_len).expect("few")];
            let _watched = Watched::new(seed);
            results.push((seed, profile.name, run(seed, profile, connect).map(|report| report.outcomes)));
        }
    };
    let mut results = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run does not panic")).collect::<Vec<_>>()
    });
    results.sort_by_key(|(seed, ..)| *seed);
    let mut outcomes = BTreeMap::<_, [usize; 5]>::new();
    let (mut failures, mut first) = (Vec::new(), None);
    for (seed, profile, result) in results {
        match result {
            Ok(of_seed) => {
                let sum = outcomes.entry(profile).or_default();
                sum.iter_mut().zip(of_seed).for_each(|(sum, number)| *sum += number);
            }
            Err(failure) => {
                failures.push(format!("seed {seed}, \"{profile}\": {}", failure.findings[0]));
                first.get_or_insert(failure);
            }
        }
    }
    // Shown if the test fails, or with --nocapture.
    #[allow(clippy::print_stdout)]
    for (profile, [delivered, written, not, possibly, dropped]) in &outcomes {
        println!(
            "{profile}: {delivered} delivered, {written} written, {not} not, {possibly} possibly, {dropped} dropped"
        );
    }
    if let Some(first) = first {
        panic!("{} seeds failed:\n{}\n\n{first}", failures.len(), failures.join("\n"));
    }
}

/// Ends the test if a seed takes too long. On a paused clock that is a client which never waits, and tokio cannot stop it.
struct Watched {
    _alive: mpsc::Sender<()>,
}

impl Watched {
    fn new(seed: u64) -> Self {
        let (alive, ended) = mpsc::channel();
        thread::spawn(move || {
            if ended.recv_timeout(TOO_LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
                #[allow(clippy::print_stderr)]
                {
                    eprintln!("seed {seed} has taken {TOO_LONG:?}: does something poll without an end?");
                }
                process::exit(1);
            }
        });
        Self { _alive: alive }
    }
}

#[test]
fn the_transport_keeps_its_promises() {
    seeds(&PROFILES, &Native, SEEDS);
}

#[test]
fn the_transport_keeps_its_promises_without_idempotence() {
    seeds(&PLAIN_PROFILES, &Native, SEEDS);
}

#[test]
fn the_careful_client_keeps_its_promises() {
    seeds(&PROFILES, &Careful(Defect::None), CAREFUL_SEEDS * PROFILES.len() as u64);
}

#[test]
fn the_careful_client_keeps_its_promises_without_idempotence() {
    seeds(&PLAIN_PROFILES, &Careful(Defect::None), CAREFUL_SEEDS * PLAIN_PROFILES.len() as u64);
}

/// Everything that is known of a run.
fn shown<C: Connect>(seed: u64, profile: &Profile, connect: &C) -> String {
    match run(seed, profile, connect) {
        Ok(report) => {
            let events = (0..6).flat_map(|partition| report.cluster.events_of(TOPIC, partition));
            events.fold(format!("{:?}", report.outcomes), |text, event| format!("{text}\n{event}"))
        }
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn a_seed_is_enough_to_see_a_run_again() {
    for (seed, profile) in (0..).zip(&PROFILES) {
        let careful = Careful(Defect::None);
        assert_eq!(shown(seed, profile, &careful), shown(seed, profile, &careful));
        assert_eq!(shown(seed, profile, &Native), shown(seed, profile, &Native));
    }
}

/// Runs seeds until one fails, and returns what was found.
fn found(defect: Defect) -> String {
    for seed in 0..200 {
        let profile = &PROFILES[usize::try_from(seed).expect("few") % PROFILES.len()];
        if let Err(failure) = run(seed, profile, &Careful(defect)) {
            return failure.to_string();
        }
    }
    panic!("{defect:?} was not found");
}

#[test]
fn defects_are_found() {
    for (defect, says) in [
        (Defect::NewIdInDoubt, "is in the log twice: at orders["),
        (Defect::DeniesDoubt, "was reported not persisted (the careful client has given up), and is at orders["),
        (Defect::WrongOffset, "was reported at orders["),
        (Defect::Overtakes, ", and is behind it"),
        (Defect::Forgets, "has no outcome"),
        (Defect::BelievesNotLeader, ", and is lost"),
    ] {
        let text = found(defect);
        assert!(text.contains(says), "{defect:?}: {text}");
        assert!(text.starts_with("seed "), "{text}");
        assert!(text.contains("KAFKA_TOWER_SEED="), "{text}");
    }
}

/// Every kind of fault happens in some profile, within the usual number of seeds.
#[test]
fn all_faults_happen() {
    let mut seen = BTreeMap::<Kind, u64>::new();
    for (seed, profile) in (0..2 * PROFILES.len() as u64).zip(PROFILES.iter().cycle()) {
        let report = run(seed, profile, &Careful(Defect::None)).unwrap_or_else(|failure| panic!("{failure}"));
        for kind in Kind::ALL {
            *seen.entry(kind).or_default() += report.cluster.seen(kind);
        }
    }
    assert!(seen.values().all(|times| *times > 0), "{seen:?}");
}
