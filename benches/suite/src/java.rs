//! Java's producer, in a process of its own.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use kafka_tower_testkit::kafka::java;

use crate::run::{Plan, Start, Took};
use crate::{transactions, usage};

/// Sends transactions with Kafka's Java producer. Two warm-ups of the same length as the measured part, for its compiler.
///
/// # Panics
///
/// Without Java and Kafka's jars.
pub(crate) fn run(plan: &Plan) -> Took {
    let mut command = java::command().expect("Java, its compiler and Kafka's jars");
    let mut process = command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/Transactions.java"))
        .args([&*plan.bootstrap, &*plan.topic, &*transactions::id(plan)])
        .args([plan.size, plan.measured(), plan.transaction].map(|number| number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Java starts");
    let (mut input, output) = (process.stdin.take().expect("its input"), process.stdout.take().expect("its output"));
    let mut lines = BufReader::new(output).lines();
    wait_for(&mut lines, "ready");
    let own = || usage::of(&[process.id()]);
    let start = Start::now(plan, own);
    input.write_all(b"go\n").expect("a process that reads");
    wait_for(&mut lines, "done");
    let took = start.took(plan, own);
    drop(input);
    assert!(process.wait().is_ok_and(|status| status.success()), "Java failed");
    took
}

fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) {
    let line = lines.next().expect("a process that lives").expect("text");
    assert_eq!(line, wanted);
}
