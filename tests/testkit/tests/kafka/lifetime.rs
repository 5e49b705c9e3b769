//! The cluster ends with the test process, for whatever reason that ends.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kafka_tower_testkit::kafka as cluster;

const CHILD: &str = "KAFKA_TOWER_LIFETIME_CHILD";

/// The process that is ended: this binary again, with only this test.
#[tokio::test]
#[allow(clippy::print_stdout)]
async fn child() {
    let Ok(end) = std::env::var(CHILD) else {
        return;
    };
    let Some(kafka) = cluster::shared().await else {
        return;
    };
    println!("\nCLUSTER {} {}", kafka.pid(1).unwrap().unwrap(), kafka.data_dir(1).unwrap().display());
    if end == "wait" {
        std::future::pending::<()>().await;
    }
}

fn cluster_dies(end: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, end)
        .env_remove("KAFKA_BROKERS")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("CLUSTER"));
    if end == "wait" {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    drop(lines);
    // No Kafka available: nothing to check.
    let Some(line) = line else { return };
    let mut words = line.split(' ').skip(1);
    let (pid, data) = (words.next().unwrap(), PathBuf::from(words.next().unwrap()));
    let begin = Instant::now();
    while data.exists() || runs(pid) {
        assert!(begin.elapsed() < Duration::from_secs(20), "process {pid} or its data outlive the tests");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn runs(pid: &str) -> bool {
    Command::new("sh").args(["-c", r#"kill -0 "$0" 2>/dev/null"#, pid]).status().unwrap().success()
}

#[test]
fn the_test_process_is_killed() {
    cluster_dies("wait");
}

#[test]
fn the_test_process_ends() {
    cluster_dies("end");
}
