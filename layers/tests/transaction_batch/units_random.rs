//! Consume, transform, produce with random faults: each input gives its output exactly once, and in order.

use crate::support::*;

const PARTITIONS: i32 = 2;
const INPUTS: i64 = 25;
const SEEDS: u64 = 300;
const IDS: [&str; 2] = ["id-0", "id-1"];

/// The `SplitMix64` generator.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The output of an input record: none, one or two records in one or two partitions.
fn output(partition: i32, offset: i64) -> Vec<Record> {
    (0..offset % 3).map(|n| to((n % 2) as i32, format!("{partition}-{offset:02}-{n}"))).collect()
}

/// A fault of the next requests, in most cases of the `EndTxn`.
fn fault(kafka: &MemoryKafka, random: &mut Random) {
    let transactions = kafka.script_transactions().after(random.below(4));
    let call = [TransactionCall::Commit, TransactionCall::Commit, TransactionCall::Abort, TransactionCall::SendOffsets]
        [random.below(4) as usize];
    let transactions = transactions.on(call).times(1 + random.below(4));
    let _ = match random.below(8) {
        0 => transactions.fail(must_abort()),
        1 | 2 => transactions.lose_answer(),
        3 => transactions.lose_request(),
        4 => transactions.times(200).lose_answer(),
        5 => transactions.expire(),
        6 => {
            let scope = if random.one_in(2) { Scope::Record } else { Scope::Batch };
            let refused = Error::new(ErrorKind::Rejected, "planted").with_scope(scope);
            kafka.script().after(random.below(10)).fail(refused);
            return;
        }
        _ => {
            kafka.script().after(random.below(10)).fail(broken());
            return;
        }
    };
}

fn committed_offset(kafka: &MemoryKafka, partition: i32) -> i64 {
    kafka.committed_offset("g", "input", partition).unwrap_or_default()
}

/// One life of the program, until it has consumed everything or crashes. `init` has ended what the life before left open.
async fn live(kafka: &MemoryKafka, random: &mut Random) {
    // With two lanes, each input partition has its own.
    let lanes = 1 + random.below(2) as usize;
    let transports: Vec<_> = IDS[..lanes].iter().map(|id| kafka.transactional_transport(*id)).collect();
    let records = 1 + random.below(4) as usize;
    let layer = TransactionBatchLayer::lanes(transports.iter().map(MemoryTransport::control).collect());
    let layer = layer.records(records).replays(1).room(6, 1_000).timeout(8 * SECOND);
    layer.init(60 * SECOND).await.unwrap();
    let mut service = layer.layer_lanes(transports);
    let mut group = kafka.rebalance("g");
    let mut next: Vec<i64> = (0..PARTITIONS).map(|partition| committed_offset(kafka, partition)).collect();
    loop {
        // Several units at once: those behind a failure must not be committed.
        let mut open = Vec::new();
        for _ in 0..1 + random.below(8) {
            let partition = random.below(PARTITIONS as u64) as i32;
            let offset = &mut next[partition as usize];
            if *offset < INPUTS {
                let consumed = TopicOffset { topic: "input".into(), partition, offset: *offset + 1 };
                let unit = Unit::new(output(partition, *offset)).with_offsets([consumed], group.clone());
                *offset += 1;
                open.push((partition, *offset, service.join(unit)));
            }
            if random.one_in(3) {
                yield_now().await;
            }
            if random.one_in(30) {
                group = kafka.rebalance("g");
            }
        }
        if random.one_in(2) {
            fault(kafka, random);
        }
        if random.one_in(12) {
            sleep(random.below(200) as u32 * MS).await;
            return; // a crash: the futures are dropped, and the tasks go on as those of an old process
        }
        let mut failed = false;
        for (partition, consumed, joined) in open {
            match joined.await {
                Ok(_) => assert!(committed_offset(kafka, partition) >= consumed, "`Ok` before the commit"),
                Err(error) if error.persistence() == Persistence::NotPersisted => failed = true,
                // A new life waits until the transaction has ended.
                Err(_) => return,
            }
        }
        if failed {
            group = kafka.rebalance("g");
            for partition in 0..PARTITIONS {
                next[partition as usize] = committed_offset(kafka, partition);
                service.resume("g", "input", partition).unwrap();
            }
            // A lane that has ended takes no more units.
            if service.control().last_error().is_some() {
                return;
            }
        }
        if next.iter().all(|offset| *offset == INPUTS) {
            return;
        }
    }
}

#[test]
fn each_input_gives_its_output_once() {
    for seed in 0..SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(seed));
    }
}

async fn run(seed: u64) {
    let (kafka, mut random) = (kafka(), Random(seed));
    for life in 0.. {
        live(&kafka, &mut random).await;
        // Ends the old life's transaction, so that what is read is final.
        kafka.clear_script();
        for id in IDS {
            let successor = kafka.transactional_transport(id);
            successor.control().transactions().unwrap().init(60 * SECOND).await.unwrap();
        }
        if (0..PARTITIONS).all(|partition| committed_offset(&kafka, partition) == INPUTS) {
            break;
        }
        assert!(life < 500, "seed {seed}: no end");
    }
    for partition in 0..2 {
        let mut expected: Vec<_> = (0..PARTITIONS)
            .flat_map(|input| (0..INPUTS).flat_map(move |offset| output(input, offset)))
            .filter(|record| record.partition == Some(partition))
            .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
            .collect();
        let found = values(&kafka.committed_partition("orders", partition));
        for input in 0..PARTITIONS {
            let of_input = |values: &[String]| -> Vec<String> {
                values.iter().filter(|value| value.starts_with(&format!("{input}-"))).cloned().collect()
            };
            assert_eq!(of_input(&found), of_input(&expected), "seed {seed}, partition {partition}");
        }
        expected.sort();
        let mut found = found;
        found.sort();
        assert_eq!(found, expected, "seed {seed}");
    }
}
