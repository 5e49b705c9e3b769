//! Runs the built command.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// More than any command takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The documents of `--json`.
    pub(crate) fn documents(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The last document.
    pub(crate) fn document(&self) -> Value {
        self.documents().pop().unwrap_or_else(|| panic!("no document: {self:?}"))
    }
}

/// The command, without settings of this machine's environment.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-tower"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAFKA_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub(crate) async fn run(args: &[&str], input: &str) -> Ran {
    run_with(args, &[], input).await
}

/// Runs the command with environment variables.
pub(crate) async fn run_with(args: &[&str], vars: &[(&str, &str)], input: &str) -> Ran {
    let mut child = command(args).envs(vars.iter().copied()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A command that has enough does not read the rest.
    tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
    ended(child).await
}

/// Waits for the end.
pub(crate) async fn ended(child: Child) -> Ran {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the command hangs").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
}
