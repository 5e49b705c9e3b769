//! CPU time of a record when several threads send through many handles of one sink, over a transport that answers at once and has
//! no gate. The control are threads with a sink each: what a row has more than its control is what the threads contend for. The
//! rest is the machine's, whose cores may share a clock or a core.
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
const ROUNDS: usize = 12;
const THREADS: [usize; 3] = [1, 2, 8];

/// What the threads send through.
#[derive(Clone, Copy)]
enum Through {
    SinkEach,
    Handles(usize),
}

const CASES: [Through; 4] = [Through::SinkEach, Through::Handles(1), Through::Handles(100), Through::Handles(10_000)];

fn main() {
    let mut nanos = THREADS.map(|_| CASES.map(|_| Vec::new()));
    for round in 0..ROUNDS {
        for (threads, nanos) in THREADS.iter().zip(&mut nanos) {
            // Each round begins with another case: what comes first after a pause finds a faster processor.
            for case in (0..CASES.len()).map(|case| (case + round) % CASES.len()) {
                nanos[case].push(cost(*threads, CASES[case]));
            }
        }
    }
    let mut rows = Vec::new();
    for (threads, nanos) in THREADS.iter().zip(&nanos) {
        for (through, spent) in CASES.iter().zip(nanos) {
            let name = match through {
                Through::SinkEach => "a sink each".to_owned(),
                Through::Handles(handles) => format!("{handles} of one sink"),
            };
            let ratios = spent.iter().zip(&nanos[0]).map(|(spent, control)| spent / control);
            let (spent, ratios) = (Spread::of(spent.iter().copied()), Spread::of(ratios));
            rows.push(vec![threads.to_string(), name, spent.show(0), ratios.show(2)]);
        }
    }
    print!("{}", table(&["threads", "handles", "ns of CPU for a record", "to a sink each"], &rows));
}

/// Nanoseconds of CPU time for a record, the mean of all threads.
fn cost(threads: usize, through: Through) -> f64 {
    let sinks: Vec<_> = match through {
        Through::SinkEach => (0..threads).map(|_| sink()).collect(),
        Through::Handles(handles) => {
            let sink = sink();
            (0..handles).map(|_| sink.clone()).collect()
        }
    };
    let begin = Barrier::new(threads);
    let sends = |number: usize| {
        // Each thread has handles of its own, if there are enough.
        let own: Vec<_> = sinks.iter().skip(number % sinks.len()).step_by(threads).collect();
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

fn sink() -> KafkaSink<Reading> {
    let config = KafkaSinkConfig { topic: "readings".to_owned(), ..Default::default() };
    let built = KafkaSink::<Reading>::builder(config).transport(Null).build();
    runtime().block_on(built).expect("a configuration that works")
}

/// The time that this thread has run. Linux only.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with /proc");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}
