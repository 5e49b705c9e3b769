//! CPU time of a record when several threads send through many handles of one sink, over a transport that answers at once and has
//! no gate. Rows with the same number of handles differ by what the threads contend for.
//!
//! All cases are run in turn, so that a change of the machine concerns all; medians and ranges.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Barrier;
use std::{fs, thread};

use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_benches::cases::runtime;
use kafka_tower_benches::message::Reading;
use kafka_tower_benches::null::Null;
use kafka_tower_benches::stats::{Spread, table};

/// Of each thread.
const RECORDS: usize = 200_000;
const ROUNDS: usize = 7;

/// Threads and handles.
const CASES: [(usize, usize); 9] =
    [(1, 1), (1, 100), (1, 10_000), (2, 1), (2, 100), (2, 10_000), (8, 1), (8, 100), (8, 10_000)];

fn main() {
    let mut nanos = CASES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((threads, handles), nanos) in CASES.iter().zip(&mut nanos) {
            nanos.push(cost(*threads, *handles));
        }
    }
    let first = Spread::of(nanos[0].iter().copied()).median;
    let row = |((threads, handles), nanos): (&(usize, usize), &Vec<f64>)| {
        let spread = Spread::of(nanos.iter().copied());
        let ratio = format!("{:.2}", spread.median / first);
        vec![threads.to_string(), handles.to_string(), spread.show(0), ratio]
    };
    let rows: Vec<_> = CASES.iter().zip(&nanos).map(row).collect();
    print!("{}", table(&["threads", "handles", "ns of CPU for a record", "to the first"], &rows));
}

/// Nanoseconds of CPU time for a record, the mean of all threads.
fn cost(threads: usize, handles: usize) -> f64 {
    let config = KafkaSinkConfig { topic: "readings".to_owned(), ..Default::default() };
    let built = KafkaSink::<Reading>::builder(config).transport(Null).build();
    let sink = runtime().block_on(built).expect("a configuration that works");
    let sinks: Vec<_> = (0..handles).map(|_| sink.clone()).collect();
    let begin = Barrier::new(threads);
    let sends = |number: usize| {
        // Each thread has handles of its own, if there are enough.
        let own: Vec<_> = sinks.iter().skip(number % handles).step_by(threads).collect();
        let runtime = runtime();
        begin.wait();
        let before = cpu_nanos();
        runtime.block_on(async {
            for i in 0..RECORDS {
                black_box(own[i % own.len()].send(Reading::new(i)).await.expect("delivered"));
            }
        });
        cpu_nanos() - before
    };
    let used: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || sends(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    used as f64 / (RECORDS * threads) as f64
}

/// The time that this thread has run. Linux only.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with /proc");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}
