//! Two runs with the same seed are identical: outcomes, their order, their times, and the log.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower_core::Record;
use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use tokio::time::{Instant, sleep};

use crate::support::*;

type Trace = Arc<Mutex<Vec<String>>>;

/// Runs on its own runtime.
fn run(seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut random = Random::new(seed);
        let kafka = MemoryKafka::new().with_topic("orders", 3);
        for _ in 0..60 {
            let rule = kafka.script().after(random.below(400) as u64).times(1 + random.below(5) as u64);
            let rule = rule.late_by(MS * random.below(20) as u32);
            match random.below(4) {
                0 => drop(rule.fail(broker_error())),
                1 => drop(rule.lose_answer()),
                2 => drop(rule.lose_request()),
                _ => drop(rule.delay(MS * (1 + random.below(30)) as u32)),
            }
        }
        let hold = kafka.script().on_partition("orders", 1).after(50).hold_append();
        let transport = kafka.transport_with(Limits { records: 8, bytes: 300 });
        let (trace, start) = (Trace::default(), Instant::now());
        let tasks: Vec<_> = (0..20)
            .map(|task| tokio::spawn(sender(task, seed * 100 + task, transport.clone(), Arc::clone(&trace), start)))
            .collect();
        sleep(100 * MS).await;
        hold.release();
        watched(async {
            for task in tasks {
                task.await.expect("a task");
            }
        })
        .await;
        let report = watched(transport.control().close(Duration::from_secs(1))).await.unwrap();
        let mut trace = std::mem::take(&mut *trace.lock().unwrap());
        trace.push(report.to_string());
        trace.extend(kafka.records("orders").iter().map(|r| format!("{r:?} {:?}", r.value())));
        trace
    })
}

async fn sender(task: u64, seed: u64, mut own: MemoryTransport, trace: Trace, start: Instant) {
    let mut random = Random::new(seed);
    for seq in 0..25 {
        let size = random.below(60);
        let mut record = Record::new("orders").with_value(format!("{task}-{seq}-{size:0size$}"));
        if random.below(3) == 0 {
            record = record.with_key(task.to_string());
        }
        if random.below(4) == 0 {
            record = record.with_expires_at(Instant::now() + MS * random.below(15) as u32);
        }
        let send = send(&mut own, record).await;
        if random.below(5) > 0 {
            let outcome = match send.await {
                Ok(delivery) => delivery.to_string(),
                Err(error) => error.to_string(),
            };
            trace.lock().unwrap().push(format!("{:?} {task}-{seq}: {outcome}", start.elapsed()));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..10 {
        let (first, second) = (run(seed), run(seed));
        let differs = first.iter().zip(&second).find(|(a, b)| a != b);
        assert!(differs.is_none() && first.len() == second.len(), "seed {seed}: {differs:?}");
        assert!(first.iter().any(|line| line.contains("may have been written")), "the run is dull");
        assert!(first.iter().any(|line| line.contains("there was no room for it")), "nothing was parked past its time");
    }
    assert_ne!(run(1), run(2), "the trace says something");
}
