//! Compares ways to send, or to read, in turns (A B C A B C …), so that other load on the machine affects all of them.
//!
//! Each run is a separate process. See the usage below, and `benches/README.md`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kafka_tower_benches::broker::{self, Broker};
use kafka_tower_benches::other;
use kafka_tower_benches::run::{self, Mode, Plan, Took};
use kafka_tower_benches::stalled::{self, Resident};
use kafka_tower_benches::stats::{Spread, table};

const USAGE: &str = "\
ratio (--mock | --kafka) [options]

  --mock            librdkafka's mock cluster, in a process of its own
  --kafka           the Kafka at KAFKA_BROKERS, else one that is started (Java and Maven, or Docker)
  --modes A,B,…     future, future-send, transport, future-json, future-batch, typed, stack,
                    stream, batch; over the native transport: native, native-send, native-stack,
                    native-batch; with transactions: future-commit, future-await, transactions, guard,
                    java, batching, batching-cut; callers, callers-batching; with --kafka, of a topic with
                    8 partitions that is filled once: source, source-no-headers, source-bytes,
                    source-serve, stream-consumer, stream-consumer-stored, stream-consumer-bytes,
                    stream-consumer-defaults, java-consumer, franz-go
                    (default: future,transport,future-json,stack)
  --to MODE         what all are compared with (default: raw values with future, JSON with future-json,
                    batch with future-batch, transactions with future-await, batching with java,
                    callers-batching with callers, source-bytes with stream-consumer-bytes, others that read
                    with stream-consumer)
  --sizes A,B       bytes of a value (default: 100,1024)
  --pairs N         rounds (default: 7)
  --seconds S       how long a run should take, about (default: 1)
  --bytes N         values of a topic that is read (default: 204800000)
  --window N        records that are not awaited yet, at most; number of callers (default: 10000)
  --transaction N   records of a transaction (default: 100)
  --lanes N         transactional producers of the batching layer (default: 4)
  --age MS          of a batch of the batching layer (default: 50)
  --partitions N    of the topic, with --kafka (default: 4)
  --gate N          records that our gate admits (default: twice the window)
  --uneven          all records of a topic that is read are in one of its partitions
  --stalled         with --kafka, no comparison: the memory of a source whose service is never ready; fails
                    beyond the bound
  --retries N       how often a run is repeated while others used more than 0.3 of a core (default: 2)
  --pin             this program on processor 0, the broker on processor 1 (needs taskset)";

/// Argument of a process that serves with a service that is never ready.
const STALLED: &str = "--run-stalled";

/// Maximum share of a core that other processes may use during a run.
const QUIET: f64 = 0.3;

struct Options {
    kafka: bool,
    modes: Vec<Mode>,
    to: Option<Mode>,
    sizes: Vec<usize>,
    pairs: usize,
    seconds: f64,
    bytes: usize,
    window: usize,
    gate: Option<usize>,
    transaction: usize,
    lanes: usize,
    age: usize,
    partitions: i32,
    retries: usize,
    pin: bool,
    uneven: bool,
    stalled: bool,
}

impl Options {
    fn baseline(&self, mode: Mode) -> Mode {
        self.to.unwrap_or(mode.baseline())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(broker::SERVE_MOCK) => broker::serve_mock(),
        Some("--run") => println!("{}", run::run(&read_plan(&arguments[1..])).write()),
        Some(STALLED) => {
            let (buffer, plan) = (parsed(&arguments[1]).expect("a number"), read_plan(&arguments[2..]));
            let Resident { before, most } = runtime().block_on(stalled::serve(&plan, buffer));
            println!("{before} {most}");
        }
        _ => match options(&arguments) {
            Ok(mut options) => compare(&mut options),
            Err(error) => {
                eprintln!("{error}\n\n{USAGE}");
                std::process::exit(2);
            }
        },
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        kafka: false,
        modes: vec![Mode::Future, Mode::Transport, Mode::FutureJson, Mode::Stack],
        to: None,
        sizes: vec![100, 1024],
        pairs: 7,
        seconds: 1.0,
        bytes: 204_800_000,
        window: 10_000,
        gate: None,
        transaction: 100,
        lanes: 4,
        age: 50,
        partitions: 4,
        retries: 2,
        pin: false,
        uneven: false,
        stalled: false,
    };
    let mut target = false;
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().map(String::as_str).ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--mock" => target = true,
            "--kafka" => (target, options.kafka) = (true, true),
            "--modes" => options.modes = list(value()?)?,
            "--to" => options.to = Some(parsed(value()?)?),
            "--sizes" => options.sizes = list(value()?)?,
            "--pairs" => options.pairs = parsed::<usize>(value()?)?.max(1),
            "--seconds" => options.seconds = parsed(value()?)?,
            "--bytes" => options.bytes = parsed(value()?)?,
            "--window" => options.window = parsed::<usize>(value()?)?.max(1),
            "--gate" => options.gate = Some(parsed(value()?)?),
            "--transaction" => options.transaction = parsed::<usize>(value()?)?.max(1),
            "--lanes" => options.lanes = parsed::<usize>(value()?)?.max(1),
            "--age" => options.age = parsed(value()?)?,
            "--partitions" => options.partitions = parsed(value()?)?,
            "--retries" => options.retries = parsed(value()?)?,
            "--pin" => options.pin = true,
            "--uneven" => options.uneven = true,
            "--stalled" => (options.stalled, options.modes) = (true, vec![Mode::SourceServe]),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    if options.stalled {
        options.to = Some(Mode::SourceServe);
    }
    if !target {
        return Err("one of --mock and --kafka is required".to_owned());
    }
    for mode in options.modes.clone() {
        let baseline = options.baseline(mode);
        if !options.modes.contains(&baseline) {
            options.modes.insert(0, baseline);
        }
    }
    let reads = options.modes[0].reads();
    if options.modes.iter().any(|mode| mode.reads() != reads) || reads && !options.kafka {
        return Err("modes that read are not compared with those that send, and need --kafka".to_owned());
    }
    Ok(options)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn list<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Vec<T>, String> {
    text.split(',').map(parsed).collect()
}

fn broker(options: &Options) -> Option<Broker> {
    if !options.kafka {
        return Some(Broker::mock());
    }
    runtime().block_on(Broker::kafka(options.partitions))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn compare(options: &mut Options) {
    if options.modes.contains(&Mode::FranzGo) && !other::build_franz_go() {
        eprintln!("\n!!! franz-go is left out: its program was not built\n");
        options.modes.retain(|mode| *mode != Mode::FranzGo);
    }
    let options = &*options;
    let Some(broker) = broker(options) else { return };
    if options.pin {
        for pid in &broker.pids {
            let pinned = Command::new("taskset").args(["-apc", "1", &pid.to_string()]).stdout(Stdio::null()).status();
            assert!(pinned.is_ok_and(|status| status.success()), "taskset did not pin the broker");
        }
    }
    if options.stalled {
        return stalled(options, &broker);
    }
    println!(
        "{}{}, window {}, gate {}, {} pairs; medians (min–max); x: pairwise, to {}\n",
        if options.kafka { "Apache Kafka" } else { "the mock cluster" },
        if options.pin { ", pinned" } else { "" },
        options.window,
        gate(options),
        options.pairs,
        options.to.map_or_else(|| "the mode's own baseline".to_owned(), |mode| mode.to_string()),
    );
    for &size in &options.sizes {
        println!("{}", compare_size(options, &broker, size));
    }
}

fn gate(options: &Options) -> usize {
    options.gate.unwrap_or(2 * options.window)
}

/// Shows the memory of sources whose service is never ready.
fn stalled(options: &Options, broker: &Broker) {
    let mut rows = Vec::new();
    let mut beyond = false;
    for &size in &options.sizes {
        let mut plan = base(options, broker, size);
        runtime().block_on(broker.fill(&mut plan, false));
        for buffer in [16 << 20, 64 << 20] {
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command.args([STALLED, &buffer.to_string()]).args(arguments(&plan));
            let output = command.stderr(Stdio::inherit()).output().expect("a process");
            let line = String::from_utf8_lossy(&output.stdout);
            let numbers: Vec<usize> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            let &[before, most] = numbers.as_slice() else { panic!("no result: {}", output.status) };
            let bound = stalled::bound(&plan, buffer);
            beyond |= most - before > bound;
            let mib = |bytes: usize| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
            let topic = plan.records * size;
            rows.push(vec![format!("{size} B"), mib(topic), mib(buffer), mib(before), mib(most - before), mib(bound)]);
        }
    }
    println!("{}", table(&["values", "topic MiB", "buffer_bytes MiB", "before MiB", "more MiB", "bound MiB"], &rows));
    assert!(!beyond, "a source takes more than its bound");
}

/// What all modes send, or read, of this size.
fn base(options: &Options, broker: &Broker, size: usize) -> Plan {
    Plan {
        mode: options.modes[0],
        size,
        records: options.bytes / size,
        window: options.window,
        gate: gate(options),
        transaction: options.transaction,
        lanes: options.lanes,
        age: options.age,
        bootstrap: broker.bootstrap.clone(),
        topic: broker.topic.clone(),
        broker: broker.pids.clone(),
    }
}

fn compare_size(options: &Options, broker: &Broker, size: usize) -> String {
    let mut base = base(options, broker, size);
    if base.mode.reads() {
        runtime().block_on(broker.fill(&mut base, options.uneven));
        // It warms the broker up.
        spawn(options, &base);
    } else {
        calibrate(options, &mut base);
    }
    let mut rounds: Vec<Vec<Took>> = Vec::new();
    for round in 0..options.pairs {
        rounds.push(options.modes.iter().map(|&mode| quiet(options, &Plan { mode, ..base.clone() })).collect());
        eprintln!("{size} B, round {} of {}", round + 1, options.pairs);
    }
    let column =
        |i: usize, value: &dyn Fn(&Took) -> f64| rounds.iter().map(|round| value(&round[i])).collect::<Vec<_>>();
    let per_record = |took: &Took, time: Duration| time.as_secs_f64() * 1e6 / took.records as f64;
    let row = |(i, mode): (usize, &Mode)| {
        let base = options.modes.iter().position(|other| *other == options.baseline(*mode)).unwrap_or(i);
        let ratio = |value: &dyn Fn(&Took) -> f64| {
            Spread::of(column(i, value).into_iter().zip(column(base, value)).map(|(a, b)| a / b)).show(2)
        };
        let rate = |took: &Took| took.records as f64 / took.elapsed.as_secs_f64() / 1e3;
        let cpu = |took: &Took| per_record(took, took.own);
        let cores = |took: &Took| took.foreign.as_secs_f64() / took.elapsed.as_secs_f64();
        vec![
            format!("{mode}, {size} B"),
            Spread::of(column(i, &rate)).show(if options.modes[0].is_transactional() { 1 } else { 0 }),
            ratio(&rate),
            Spread::of(column(i, &cpu)).show(2),
            ratio(&cpu),
            format!("{:.2}", Spread::of(column(i, &|took| per_record(took, took.broker))).median),
            Spread::of(column(i, &cores)).show(2),
        ]
    };
    let rows: Vec<_> = options.modes.iter().enumerate().map(row).collect();
    table(&["mode", "k msgs/s", "x", "CPU µs", "CPU x", "broker µs", "foreign cores"], &rows)
}

/// Sets the number of records so that a run takes as long as it should.
fn calibrate(options: &Options, plan: &mut Plan) {
    let (first, least) =
        if plan.mode.is_transactional() { (20_000, options.transaction * 20) } else { (200_000, options.window * 5) };
    plan.records = first;
    // Twice: the first run warms the broker up.
    for _ in 0..2 {
        let took = spawn(options, plan);
        let records = (took.records as f64 / took.elapsed.as_secs_f64() * options.seconds) as usize;
        plan.records = records.clamp(least, 10_000_000);
    }
}

/// Returns a run with little disturbance by other processes, or the least disturbed of several.
fn quiet(options: &Options, plan: &Plan) -> Took {
    let foreign = |took: &Took| took.foreign.as_secs_f64() / took.elapsed.as_secs_f64();
    let mut best = spawn(options, plan);
    for _ in 0..options.retries {
        if foreign(&best) <= QUIET {
            break;
        }
        let again = spawn(options, plan);
        if foreign(&again) < foreign(&best) {
            best = again;
        }
    }
    best
}

fn spawn(options: &Options, plan: &Plan) -> Took {
    let program = std::env::current_exe().expect("this program");
    let mut command = if options.pin {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.arg("--run").args(arguments(plan));
    let started = Instant::now();
    let output = command.stderr(Stdio::inherit()).output().expect("a process");
    let line = String::from_utf8_lossy(&output.stdout);
    Took::read(&line)
        .unwrap_or_else(|| panic!("{} failed after {:.1?}: {line}{}", plan.mode, started.elapsed(), output.status))
}

/// As [`read_plan`] reads them.
fn arguments(plan: &Plan) -> [String; 11] {
    let broker: Vec<String> = plan.broker.iter().map(u32::to_string).collect();
    [
        plan.mode.to_string(),
        plan.size.to_string(),
        plan.records.to_string(),
        plan.window.to_string(),
        plan.gate.to_string(),
        plan.transaction.to_string(),
        plan.lanes.to_string(),
        plan.age.to_string(),
        plan.bootstrap.clone(),
        plan.topic.clone(),
        broker.join(","),
    ]
}

fn read_plan(arguments: &[String]) -> Plan {
    let [mode, size, records, window, gate, transaction, lanes, age, bootstrap, topic, broker] = arguments else {
        panic!("--run is for this program itself")
    };
    let number = |text: &String| parsed(text).unwrap_or_else(|error| panic!("{error}"));
    Plan {
        mode: parsed(mode).unwrap_or_else(|error| panic!("{error}")),
        size: number(size),
        records: number(records),
        window: number(window),
        gate: number(gate),
        transaction: number(transaction),
        lanes: number(lanes),
        age: number(age),
        bootstrap: bootstrap.clone(),
        topic: topic.clone(),
        broker: broker.split(',').filter_map(|pid| pid.parse().ok()).collect(),
    }
}
