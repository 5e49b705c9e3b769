//! The same laws with concurrent tasks: runs are not repeatable, so only invariants are checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, ErrorKind, InFlight, Persistence, Result};
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use tokio::task::yield_now;

use crate::support::*;

const TASKS: usize = 16;

/// Sends until the transport is closed, and returns the outcome of each record.
async fn sender(task: usize, mut own: MemoryTransport) -> Vec<(String, Result<Delivery>)> {
    let (mut open, mut done) = (Vec::new(), Vec::new());
    for seq in 0.. {
        let value = format!("{task}-{seq}");
        open.push((value.clone(), send(&mut own, to(seq % 3, &value)).await));
        if seq % 4 == 0 {
            for (value, send) in open.drain(..) {
                done.push((value, send.await));
            }
            let closed = |(_, outcome): &(_, Result<Delivery>)| outcome.is_err();
            if done.iter().any(closed) {
                break;
            }
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_close_during_sends_reports_each_record_truthfully() {
    for round in 0..20 {
        let kafka = MemoryKafka::new().with_topic("orders", 3);
        let transport = kafka.transport_with(Limits { records: 7, bytes: 1_000 });
        let control = transport.control();
        let stop = Arc::new(AtomicBool::new(false));
        let releaser = tokio::spawn({
            let (kafka, stop) = (kafka.clone(), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::SeqCst) {
                    let (answers, appends) = (kafka.script().always().hold(), kafka.script().hold_append());
                    yield_now().await;
                    drop((answers, appends));
                }
            }
        });
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(sender(task, transport.clone()))).collect();
        let rest = async {
            while kafka.len("orders") < 500 {
                yield_now().await;
            }
            let within = Duration::from_micros(round % 2 * 200);
            let report = control.close(within).await.unwrap();
            assert_eq!(control.in_flight(), InFlight::default());
            let mut outcomes = BTreeMap::new();
            for task in tasks {
                outcomes.extend(task.await.expect("a task"));
            }
            assert_eq!(control.unseen().count(), 0, "all futures were polled or dropped");
            stop.store(true, Ordering::SeqCst);
            releaser.await.expect("the releaser");
            (report, outcomes)
        };
        let stuck = tokio::time::timeout(Duration::from_secs(60), rest).await;
        let (report, outcomes) = stuck.expect("stuck");
        assert_eq!(kafka.unanswered(), InFlight::default());

        let mut log = BTreeSet::new();
        for partition in 0..3 {
            for value in values(&kafka, partition) {
                assert!(log.insert(value.clone()), "{value} is there twice");
            }
        }
        let mut undelivered = BTreeSet::new();
        for handed_back in &report.undelivered {
            let value = String::from_utf8(handed_back.record.value.clone().unwrap().to_vec()).unwrap();
            let told = outcomes[&value].as_ref().expect_err("the caller was told");
            assert_eq!(told.persistence(), handed_back.error.persistence(), "{value}");
            assert!(undelivered.insert(value));
        }
        let mut refused = 0;
        for (value, outcome) in &outcomes {
            match outcome {
                Ok(_) => assert!(log.contains(value), "{value} is not in the log"),
                Err(error) => {
                    if error.persistence() == Persistence::NotPersisted {
                        assert!(!log.contains(value), "{value} is in the log: {error}");
                    }
                    if !undelivered.contains(value) {
                        assert_eq!(error.kind(), ErrorKind::Closed, "{value} was taken and not reported");
                        refused += 1;
                    }
                }
            }
        }
        // Only the last group of sends of each task was refused.
        assert!(refused <= TASKS * 4, "{refused} were not reported");
        assert!(log.iter().all(|value| outcomes.contains_key(value)));
    }
}
