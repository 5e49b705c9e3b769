//! The process that sends is killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower_test_suite::random::Random;
use kafka_tower_test_suite::units::{Fault, judge, units};
use kafka_tower_testkit::kafka::{Cluster, Isolation};

use crate::readers::Watch;
use crate::setting;

/// Records of a unit: see the sender.
const SIZE: usize = 750;
/// `transaction.timeout.ms` of the sender.
const TIME_OUT: Duration = Duration::from_secs(3);
/// For the broker, which looks for such transactions every half second, and for a busy machine.
const GRACE: Duration = Duration::from_secs(4);

/// When a process is killed: so long after a line that begins with the text, when it comes for the nth time.
#[derive(Debug)]
struct Moment {
    line: &'static str,
    nth: u64,
    after: Duration,
}

impl Moment {
    fn at(line: &'static str) -> Self {
        Self { line, nth: 1, after: Duration::ZERO }
    }

    fn draw(random: &mut Random) -> Self {
        match random.below(2) {
            // A commit takes a few milliseconds.
            0 => Self {
                line: "committing",
                nth: 1 + random.below(6),
                after: random.time_below(Duration::from_millis(8)),
            },
            _ => Self { line: "ready", nth: 1, after: random.time_below(Duration::from_millis(500)) },
        }
    }
}

/// What a process has said until it was killed.
#[derive(Debug, Default)]
struct Life {
    acknowledged: BTreeSet<u64>,
    /// The unit whose commit was requested and had not returned.
    in_doubt: Option<u64>,
    aborted: u64,
}

/// Runs the sender until the moment.
fn life(kafka: &Cluster, topic: &str, plan: &str, moment: &Moment) -> Life {
    let mut child = Command::new(env!("CARGO_BIN_EXE_child"))
        .args(["sender", kafka.bootstrap(), topic, topic, plan])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let child = Arc::new(Mutex::new(child));
    let (mut life, mut count, mut killer) = (Life::default(), 0, None);
    for line in lines {
        let line = line.unwrap();
        let (what, unit) = line.split_once(' ').unwrap();
        let unit: u64 = unit.parse().unwrap();
        match what {
            "committing" => life.in_doubt = Some(unit),
            "committed" => {
                life.in_doubt = None;
                life.acknowledged.insert(unit);
            }
            "aborted" => life.aborted += 1,
            _ => {}
        }
        count += u64::from(what == moment.line);
        if count == moment.nth && killer.is_none() {
            let (child, after) = (Arc::clone(&child), moment.after);
            killer = Some(std::thread::spawn(move || {
                std::thread::sleep(after);
                child.lock().unwrap().kill().unwrap();
            }));
        }
    }
    let killed = killer.map(|killer| killer.join().unwrap());
    let status = Child::wait(&mut child.lock().unwrap()).unwrap();
    assert!(killed.is_some() && status.code().is_none(), "the sender ended by itself: {status}");
    life
}

async fn one_node() -> Option<Cluster> {
    let builder = Cluster::builder().property("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500");
    builder.start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_a_killed_process_is_complete_or_absent() {
    let Some(kafka) = one_node().await else { return };
    let kills = setting("KAFKA_TOWER_KILLS", 5);
    let mut random = Random::of_environment();
    let topic = kafka.topic("killed", 3).await.unwrap();
    let watch = Watch::start(&kafka, &topic);
    let (mut acknowledged, mut in_doubt, mut aborted) = (BTreeSet::new(), Vec::new(), 0);
    for kill in 1..=kills {
        let moment = Moment::draw(&mut random);
        let life = tokio::task::block_in_place(|| life(&kafka, &topic, "right", &moment));
        acknowledged.extend(life.acknowledged);
        in_doubt.extend(life.in_doubt);
        aborted += life.aborted;
        // After every fifth kill this waits until the broker has ended the transaction by its time-out. After the others
        // the next producer with the id ends it.
        if kill % 5 == 0 {
            let _when_nothing_is_open = kafka.read_committed(&topic).await.unwrap();
        }
    }
    let read = kafka.read_committed(&topic).await.unwrap();
    let visible = units(&read);
    let longest = watch.longest().await;
    println!(
        "{kills} kills, {} of them in a commit; {} units of {SIZE} records committed, {} of them without an `Ok`; {aborted} \
         aborted; readers waited for a transaction for at most {:.1} s",
        in_doubt.len(),
        visible.len(),
        visible.difference(&acknowledged).count(),
        longest.as_secs_f64(),
    );
    assert_eq!(judge(SIZE, &acknowledged, &read), []);
    // Without an `Ok`, a unit can be visible only because its commit was on its way.
    assert!(visible.difference(&acknowledged).all(|unit| in_doubt.contains(unit)), "{visible:?} {in_doubt:?}");
    assert!(longest <= TIME_OUT + GRACE, "readers waited {longest:?}");
}

/// The judge finds what it is for: processes with a defect, and a reader that shows aborted transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_defect_is_found() {
    let Some(kafka) = one_node().await else { return };
    let run =
        |topic: &str, plan: &str, moment: Moment| tokio::task::block_in_place(|| life(&kafka, topic, plan, &moment));

    // A commit of half a unit.
    let topic = kafka.topic("half", 3).await.unwrap();
    let life = run(&topic, "half", Moment::at("half"));
    let read = {
        let _ended_by_the_next_owner = run(&topic, "right", Moment::at("ready"));
        kafka.read_committed(&topic).await.unwrap()
    };
    assert_eq!(judge(SIZE, &life.acknowledged, &read), [Fault::Torn(0, SIZE / 2)]);

    // A replay although the end was not known: the last `Ok` did not arrive.
    let topic = kafka.topic("replay", 3).await.unwrap();
    let mut life = run(&topic, "0", Moment { nth: 2, ..Moment::at("committed") });
    life.acknowledged.remove(&1);
    run(&topic, "1", Moment::at("committed"));
    let _ended = run(&topic, "right", Moment::at("ready"));
    let faults = judge(SIZE, &life.acknowledged, &kafka.read_committed(&topic).await.unwrap());
    assert!(faults.contains(&Fault::Doubled(1, 0)), "{faults:?}");

    // A reader that does not know of transactions.
    let topic = kafka.topic("uncommitted", 3).await.unwrap();
    let life = run(&topic, "right", Moment::at("aborted"));
    let faults = judge(SIZE, &life.acknowledged, &kafka.read_as(&topic, Isolation::Uncommitted).await.unwrap());
    assert!(faults.contains(&Fault::Aborted(3, 0)), "{faults:?}");

    // A commit that was never requested, and reported as `Ok`.
    let claimed = BTreeSet::from([1_000]);
    let faults = judge(SIZE, &claimed, &kafka.read_as(&topic, Isolation::Committed).await.unwrap());
    assert!(faults.contains(&Fault::Lost(1_000)), "{faults:?}");
}
