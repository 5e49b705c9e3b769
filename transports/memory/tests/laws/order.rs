//! Law 1: call order is log order; law 2: dropping a future cancels nothing.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

use kafka_tower_core::Record;
use kafka_tower_core::gate::Limits;
use kafka_tower_memory::MemoryKafka;
use tokio::time::sleep;
use tower::Service;

use crate::support::*;

const CALLS: usize = 10_000;

#[tokio::test(start_paused = true)]
async fn call_order_is_log_order_in_whatever_order_futures_are_polled() {
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let kafka = MemoryKafka::new().with_topic("orders", 4);
        // Small limits: most records are parked.
        let mut transport = kafka.transport_with(Limits { records: 50, bytes: 2_000 });
        let hold = kafka.script().after(20).times(3).hold_append();
        for partition in 0..4 {
            let rule = || kafka.script().on_partition("orders", partition);
            rule().times(1_000).delay(3 * MS);
            rule().after(1_500).times(500).late_by(MS).lose_answer();
        }
        let mut sends: Vec<_> = (0..CALLS).map(|n| Box::pin(transport.call(to(random.below(4) as i32, n)))).collect();
        sleep(10 * MS).await;
        assert_eq!(hold.held(), 3);
        hold.release();
        watched(async {
            while !sends.is_empty() {
                for _ in 0..sends.len() {
                    let which = random.below(sends.len());
                    let mut cx = Context::from_waker(Waker::noop());
                    if sends[which].as_mut().poll(&mut cx).is_ready() {
                        drop(sends.swap_remove(which));
                    }
                }
                sleep(20 * MS).await;
            }
        })
        .await;
        assert_in_call_order(&kafka);
    }
}

fn assert_in_call_order(kafka: &MemoryKafka) {
    let mut total = 0;
    for partition in 0..4 {
        let numbers: Vec<usize> = values(kafka, partition).iter().map(|v| v.parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "partition {partition} is out of order");
        total += numbers.len();
    }
    assert_eq!(total, CALLS);
}

#[tokio::test(start_paused = true)]
async fn dropped_futures_deliver_and_give_their_room_back() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 2, bytes: 100 });
    let control = transport.control();
    kafka.script().always().delay(MS);
    for n in 0..20 {
        drop(transport.call(to(0, n)));
    }
    assert_eq!(control.in_flight().parked, 18);
    watched(control.flush()).await.unwrap();
    assert_eq!(control.in_flight(), Default::default());
    let expected: Vec<_> = (0..20).map(|n: i32| n.to_string()).collect();
    assert_eq!(values(&kafka, 0), expected);
}

#[tokio::test(start_paused = true)]
async fn keys_keep_their_order_across_clones_of_one_task() {
    let kafka = MemoryKafka::new().with_topic("orders", 5);
    let transport = kafka.transport_with(Limits { records: 3, bytes: 1_000 });
    kafka.script().always().delay(2 * MS);
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    let mut random = Random::new(11);
    for _ in 0..500 {
        let key = random.below(9);
        let n = next.entry(key).or_default();
        let record = Record::new("orders").with_key(key.to_string()).with_value(n.to_string());
        *n += 1;
        // One clone per record: parked or not, the order is that of the calls.
        drop(transport.clone().call(record));
    }
    watched(transport.control().flush()).await.unwrap();
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for stored in kafka.records("orders") {
        let n = seen.entry(stored.key().unwrap().to_vec()).or_default();
        assert_eq!(stored.value().unwrap(), n.to_string().as_bytes());
        *n += 1;
    }
    assert_eq!(seen.values().sum::<usize>(), 500);
}
