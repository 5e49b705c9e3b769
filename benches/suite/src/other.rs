//! Clients in other languages, in processes of their own.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use kafka_tower_testkit::kafka::{Cluster, java};

use crate::run::{Mode, Plan, Start, Took};
use crate::{transactions, usage};

/// Warm-ups are as long as the measured part, for compilers that work while a program runs.
///
/// # Panics
///
/// Without Java and Kafka's jars, or without the program of [`build_franz_go`].
pub(crate) fn run(plan: &Plan) -> Took {
    let mut command = match plan.mode {
        Mode::FranzGo => Command::new(franz_go()),
        Mode::JavaConsumer => java("Reader.java"),
        _ => java("Transactions.java"),
    };
    command.args([&*plan.bootstrap, &*plan.topic, &*transactions::id(plan)]);
    if plan.mode.reads() {
        command.arg(plan.records.to_string());
    } else {
        command.args([plan.size, plan.measured(), plan.transaction].map(|number| number.to_string()));
    }
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let (mut input, output) = (process.stdin.take().expect("its input"), process.stdout.take().expect("its output"));
    let mut lines = BufReader::new(output).lines();
    wait_for(&mut lines, "ready");
    let own = || usage::of(&[process.id()]);
    let start = Start::now(plan, own);
    input.write_all(b"go\n").expect("a process that reads");
    wait_for(&mut lines, "done");
    let took = start.took(plan, own);
    drop(input);
    assert!(process.wait().is_ok_and(|status| status.success()), "the program failed");
    took
}

fn java(source: &str) -> Command {
    let mut command = java::command().expect("Java, its compiler and Kafka's jars");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(source));
    command
}

fn franz_go() -> PathBuf {
    Cluster::cache_dir().with_file_name("franz-go-reader")
}

/// Builds the program that reads with franz-go. False without Go, or without its modules.
#[must_use]
pub fn build_franz_go() -> bool {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/franz_go");
    let mut command = Command::new("bash");
    let script = r#". "$1" && ensure_go && cd "$2" && go build -o "$3" ."#;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/lib.sh");
    command.args(["-c", script, "bash"]).args([scripts, sources, franz_go()]).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) {
    let line = lines.next().expect("a process that lives").expect("text");
    assert_eq!(line, wanted);
}
