//! Counts allocations and, under valgrind, instructions per record. Both are the same in every run, on any machine.
//!
//! `count` prints a table of the cases in memory; `count rdkafka` one of the modes over librdkafka and over the native
//! transport, against librdkafka's mock cluster in another process. A text argument selects cases by name; `--no-instructions` skips valgrind. `count check FILE`
//! fails if sending or reading costs more than the file says.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
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

const MODES: &[Mode] = &[
    Mode::Future,
    Mode::Transport,
    Mode::FutureJson,
    Mode::Typed,
    Mode::Stack,
    Mode::Stream,
    Mode::Batch,
    Mode::Native,
    Mode::NativeSend,
    Mode::NativeStack,
    Mode::NativeBatch,
];

const READING: &[Mode] = &[
    Mode::StreamConsumer,
    Mode::StreamConsumerStored,
    Mode::StreamConsumerBytes,
    Mode::Source,
    Mode::SourceNoHeaders,
    Mode::SourceBytes,
    Mode::SourceServe,
];

/// Records of a topic that is read: as many of 1 KiB as the mock cluster keeps.
const FILLED: usize = 18_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [broker::SERVE_MOCK] => broker::serve_mock(),
        ["check", path] => check(path, std::env::var_os("KAFKA_TOWER_BLESS").is_some()),
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
            let rows = if arguments.contains(&"rdkafka") {
                rdkafka(wanted, instructions, &[100, 1024])
            } else {
                in_memory(wanted, instructions)
            };
            print!("{}", table(&["case", "allocations", "bytes", "instructions"], &rows));
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

/// Columns of a row of a case.
const ALLOCATIONS: usize = 1;
const INSTRUCTIONS: usize = 3;

/// How many more allocations of a record [`check`] permits.
const MORE_ALLOCATIONS: f64 = 0.1;

/// How many more instructions of a record it permits, as a part of them. Over librdkafka they differ by 1 %.
const MORE_INSTRUCTIONS: f64 = 0.05;

/// Compares what sending and reading cost with a file, or writes the file.
fn check(path: &str, writes: bool) {
    let guarded = ["gate/", "memory/", "null/", "source/"];
    let mut rows = in_memory(|case| guarded.iter().any(|group| case.starts_with(group)), true);
    rows.extend(rdkafka(|mode| mode.starts_with("native") || mode.starts_with("source"), true, &[100]));
    if writes {
        return fs::write(path, rows.iter().map(|row| row.join("\t") + "\n").collect::<String>()).expect("a file");
    }
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let known: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let decimal =
        |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{text} is not a number: is valgrind missing?"));
    assert_eq!(rows.len(), known.len(), "{path} has other cases: write it anew with KAFKA_TOWER_BLESS=1");
    let mut more = Vec::new();
    for row in &rows {
        let known = known.iter().find(|known| known[0] == row[0]);
        let Some(known) = known else {
            panic!("{path} does not have {}: write it anew with KAFKA_TOWER_BLESS=1", row[0])
        };
        let most = decimal(known[INSTRUCTIONS]) * (1.0 + MORE_INSTRUCTIONS);
        let is_more = decimal(&row[ALLOCATIONS]) > decimal(known[ALLOCATIONS]) + MORE_ALLOCATIONS;
        let verdict = if is_more || decimal(&row[INSTRUCTIONS]) > most { "MORE" } else { "ok" };
        println!(
            "{verdict}: {}: {} allocations (known: {}), {} instructions (known: {}, at most {most:.0})",
            row[0], row[ALLOCATIONS], known[ALLOCATIONS], row[INSTRUCTIONS], known[INSTRUCTIONS]
        );
        more.extend((verdict != "ok").then(|| row[0].clone()));
    }
    assert!(more.is_empty(), "{more:?} cost more for each record: find out why, or accept it with KAFKA_TOWER_BLESS=1");
}

fn in_memory(wanted: impl Fn(&str) -> bool, instructions: bool) -> Vec<Vec<String>> {
    let row = |case: &Case| {
        let mut run = (case.start)();
        // Warm-up: buffers and rings reach their final size.
        run(LENGTHS.0);
        let before = Allocations::now();
        run(LENGTHS.1);
        let counted = before.since();
        let cost = |n: usize| instructions.then(|| callgrind(&["--case", &case.id(), &n.to_string()], false)).flatten();
        vec![
            case.id(),
            per_record(counted.calls, LENGTHS.1),
            per_record(counted.bytes, LENGTHS.1),
            difference(cost(LENGTHS.0), cost(LENGTHS.1), LENGTHS),
        ]
    };
    cases::ALL.iter().filter(|case| wanted(&case.id())).map(row).collect()
}

fn rdkafka(wanted: impl Fn(&str) -> bool, instructions: bool, sizes: &[usize]) -> Vec<Vec<String>> {
    let broker = Broker::mock();
    let mut rows = Vec::new();
    for &size in sizes {
        let mut filled = plan("source", size, FILLED, &broker.bootstrap, &broker.topic);
        cases::runtime().block_on(broker.fill(&mut filled, false));
        for mode in MODES.iter().chain(READING).filter(|mode| wanted(&mode.to_string())) {
            let (records, lengths, topic) = if mode.reads() {
                (FILLED, (FILLED / 5, FILLED), &filled.topic)
            } else {
                (200_000, (20_000, 60_000), &broker.topic)
            };
            let counted = run::run(&plan(&mode.to_string(), size, records, &broker.bootstrap, topic)).allocations;
            // Of the thread that reads: how much librdkafka has fetched ahead by the end differs.
            let cost = |n: usize| {
                let (name, size, n) = (mode.to_string(), size.to_string(), n.to_string());
                let arguments = ["--mode", &name, &size, &n, &broker.bootstrap, topic];
                instructions.then(|| callgrind(&arguments, mode.reads())).flatten()
            };
            rows.push(vec![
                format!("{mode}, {size} B"),
                per_record(counted.calls, records),
                per_record(counted.bytes, records),
                difference(cost(lengths.0), cost(lengths.1), lengths),
            ]);
        }
    }
    rows
}

fn per_record(count: u64, records: usize) -> String {
    format!("{:.2}", count as f64 / records as f64)
}

fn difference(short: Option<u64>, long: Option<u64>, lengths: (usize, usize)) -> String {
    let records = (lengths.1 - lengths.0) as f64;
    short.zip(long).map_or_else(|| "-".to_owned(), |(short, long)| format!("{:.0}", (long - short) as f64 / records))
}

/// Returns the number of instructions of this program with these arguments: of all threads, or of the main thread.
fn callgrind(arguments: &[&str], main_thread: bool) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let name = format!("kafka-tower-count-{}", std::process::id());
    let profile = if main_thread { std::env::temp_dir().join(name) } else { "/dev/null".into() };
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--fair-sched=yes"]);
    command.args(main_thread.then_some("--separate-threads=yes"));
    command.arg(format!("--callgrind-out-file={}", profile.display())).arg(program).args(arguments);
    let output = command.output().map_err(|error| eprintln!("no instructions: valgrind: {error}")).ok()?;
    let log = String::from_utf8_lossy(&output.stderr);
    let after = |text: &str, label| text.lines().find_map(|line| line.split_once(label)?.1.trim().parse().ok());
    let collected = if main_thread {
        // A file for each thread, and one without a number.
        let thread = |number: usize| format!("{}-{number:02}", profile.display());
        let main = fs::read_to_string(thread(1)).unwrap_or_default();
        (1..).map(thread).take_while(|file| fs::remove_file(file).is_ok()).for_each(drop);
        let _there = fs::remove_file(&profile);
        after(&main, "totals: ")
    } else {
        after(&log, "Collected : ")
    };
    if collected.is_none() || !output.status.success() {
        eprintln!("valgrind with {arguments:?}: {log}");
        return None;
    }
    collected
}
