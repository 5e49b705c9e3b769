//! Counts allocations and, under valgrind, instructions per record. Both are the same in every run, on any machine.
//!
//! `count` prints a table of the cases in memory; `count rdkafka` one of the modes over librdkafka, against its mock
//! cluster in another process. A text argument selects cases by name; `--no-instructions` skips valgrind.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::Command;

use kafka_tower_benches::alloc::{Allocations, Counting};
use kafka_tower_benches::broker::{self, Broker};
use kafka_tower_benches::cases::{self, Case};
use kafka_tower_benches::run::{self, Mode, Plan};
use kafka_tower_benches::stats::table;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Two lengths: their difference removes the fixed cost of a process.
const LENGTHS: (usize, usize) = (2_000, 22_000);

const MODES: &[Mode] =
    &[Mode::Future, Mode::Transport, Mode::FutureJson, Mode::Typed, Mode::Stack, Mode::Stream, Mode::Batch];

const READING: &[Mode] = &[Mode::StreamConsumer, Mode::StreamConsumerStored, Mode::Source, Mode::SourceServe];

/// Records of a topic that is read: as many of 1 KiB as the mock cluster keeps.
const FILLED: usize = 18_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [broker::SERVE_MOCK] => broker::serve_mock(),
        // What valgrind runs.
        ["--case", id, n] => (find(id).start)()(number(n)),
        ["--mode", mode, size, n, bootstrap, topic] => {
            println!("{}", run::run(&plan(mode, number(size), number(n), bootstrap, topic)).write());
        }
        _ => {
            let filter =
                arguments.iter().copied().find(|argument| !argument.starts_with("--") && *argument != "rdkafka");
            let instructions = !arguments.contains(&"--no-instructions");
            let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter));
            let text = if arguments.contains(&"rdkafka") {
                rdkafka(wanted, instructions)
            } else {
                in_memory(wanted, instructions)
            };
            print!("{text}");
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

fn find(id: &str) -> Case {
    *cases::ALL.iter().find(|case| case.id() == id).unwrap_or_else(|| panic!("unknown case {id}"))
}

fn plan(mode: &str, size: usize, records: usize, bootstrap: &str, topic: &str) -> Plan {
    let mode = mode.parse().unwrap_or_else(|error| panic!("{error}"));
    let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
    Plan {
        mode,
        size,
        records,
        window: 5_000,
        gate: 10_000,
        transaction: 100,
        lanes: 4,
        age: 50,
        bootstrap,
        topic,
        broker: Vec::new(),
    }
}

fn in_memory(wanted: impl Fn(&str) -> bool, instructions: bool) -> String {
    let row = |case: &Case| {
        let mut run = (case.start)();
        // Warm-up: buffers and rings reach their final size.
        run(LENGTHS.0);
        let before = Allocations::now();
        run(LENGTHS.1);
        let counted = before.since();
        let cost = |n: usize| instructions.then(|| callgrind(&["--case", &case.id(), &n.to_string()])).flatten();
        vec![
            case.id(),
            per_record(counted.calls, LENGTHS.1),
            per_record(counted.bytes, LENGTHS.1),
            difference(cost(LENGTHS.0), cost(LENGTHS.1), LENGTHS),
        ]
    };
    let rows: Vec<_> = cases::ALL.iter().filter(|case| wanted(&case.id())).map(row).collect();
    table(&["case", "allocations", "bytes", "instructions"], &rows)
}

fn rdkafka(wanted: impl Fn(&str) -> bool, instructions: bool) -> String {
    let broker = Broker::mock();
    let mut rows = Vec::new();
    for size in [100, 1024] {
        let mut filled = plan("source", size, FILLED, &broker.bootstrap, &broker.topic);
        cases::runtime().block_on(broker.fill(&mut filled));
        for mode in MODES.iter().chain(READING).filter(|mode| wanted(&mode.to_string())) {
            let (records, lengths, topic) = if mode.reads() {
                (FILLED, (FILLED / 5, FILLED), &filled.topic)
            } else {
                (200_000, (20_000, 60_000), &broker.topic)
            };
            let counted = run::run(&plan(&mode.to_string(), size, records, &broker.bootstrap, topic)).allocations;
            let cost = |n: usize| {
                let (mode, size, n) = (mode.to_string(), size.to_string(), n.to_string());
                let arguments = ["--mode", &mode, &size, &n, &broker.bootstrap, topic];
                instructions.then(|| callgrind(&arguments)).flatten()
            };
            rows.push(vec![
                format!("{mode}, {size} B"),
                per_record(counted.calls, records),
                per_record(counted.bytes, records),
                difference(cost(lengths.0), cost(lengths.1), lengths),
            ]);
        }
    }
    table(&["mode", "allocations", "bytes", "instructions"], &rows)
}

fn per_record(count: u64, records: usize) -> String {
    format!("{:.2}", count as f64 / records as f64)
}

fn difference(short: Option<u64>, long: Option<u64>, lengths: (usize, usize)) -> String {
    let records = (lengths.1 - lengths.0) as f64;
    short.zip(long).map_or_else(|| "-".to_owned(), |(short, long)| format!("{:.0}", (long - short) as f64 / records))
}

/// Returns the number of instructions of this program with these arguments, over all threads.
fn callgrind(arguments: &[&str]) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--fair-sched=yes", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(arguments)
        .output()
        .map_err(|error| eprintln!("no instructions: valgrind: {error}"))
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    if collected.is_none() || !output.status.success() {
        eprintln!("valgrind with {arguments:?}: {text}");
        return None;
    }
    collected
}
