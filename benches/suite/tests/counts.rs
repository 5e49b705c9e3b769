//! What a record costs to send and to read, compared with `benches/counts.txt`. Run by `scripts/counts`, which optimizes.

use std::process::Command;

#[test]
#[ignore = "needs valgrind and an optimized build: scripts/counts"]
fn a_record_costs_no_more_than_before() {
    let known = concat!(env!("CARGO_MANIFEST_DIR"), "/../counts.txt");
    let status = Command::new(env!("CARGO_BIN_EXE_count")).args(["check", known]).status().expect("a process");
    assert!(status.success(), "{status}");
}
