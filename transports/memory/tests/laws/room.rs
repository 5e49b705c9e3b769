//! Law 3: back-pressure is exact in records and bytes, and always wakes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt;
use futures_util::future::poll_immediate;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Control, ErrorKind, InFlight, Record};
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use tower::Service;

use crate::support::*;

const TASKS: usize = 64;
const SENDS: usize = 10_000;
const LIMITS: Limits = Limits { records: 10, bytes: 4_000 };

/// Maximum in flight, by the broker's own count and by the gate's, checked at each look.
#[derive(Default)]
struct Peak(Mutex<InFlight>);

impl Peak {
    fn look(&self, kafka: &MemoryKafka, control: &dyn Control) {
        let (broker, gate) = (kafka.unanswered(), control.in_flight());
        assert_eq!((broker.records, broker.bytes), (gate.records, gate.bytes), "the gate counts what is there");
        assert!(broker.records <= LIMITS.records && broker.bytes <= LIMITS.bytes, "{broker:?}");
        let mut peak = self.0.lock().unwrap();
        peak.records = peak.records.max(broker.records);
        peak.bytes = peak.bytes.max(broker.bytes);
    }
}

/// Whether it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_handle_whose_record_is_refused_leaves_its_room_to_the_next_one() {
    let kafka = MemoryKafka::new().with_topic("orders", 2);
    let mut transport = kafka.transport_with(Limits { records: 2, bytes: 100 });
    let (first_hold, _second_hold) = (kafka.script().on_partition("orders", 0).hold(), kafka.script().hold());
    let (_first, _second) = (transport.call(to(0, 1)), transport.call(to(1, 2)));
    let (mut one, mut other) = (transport.clone(), transport);
    let (woken, next) = (Arc::<Flag>::default(), Arc::<Flag>::default());
    assert!(one.poll_ready(&mut Context::from_waker(&Waker::from(Arc::clone(&woken)))).is_pending());
    assert!(other.poll_ready(&mut Context::from_waker(&Waker::from(Arc::clone(&next)))).is_pending());
    first_hold.release();
    assert!(woken.0.load(Ordering::SeqCst) && !next.0.load(Ordering::SeqCst), "one place is free");
    assert!(one.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let refused = one.call(to(-1, "no such partition")).now_or_never().expect("at once");
    assert_eq!(facts(refused).0, ErrorKind::InvalidRecord);
    assert!(next.0.load(Ordering::SeqCst), "the next handle is woken for the free place");
}

#[tokio::test(start_paused = true)]
async fn sixty_four_tasks_never_exceed_the_limits_and_always_finish() {
    let kafka = MemoryKafka::new().with_topic("orders", 3);
    let transport = kafka.transport_with(LIMITS);
    let (control, peak) = (transport.control(), Arc::new(Peak::default()));
    kafka.script().always().delay(3 * MS);
    let mut idle: Vec<_> = (0..100).map(|_| transport.clone()).collect();
    for handle in &mut idle {
        assert!(poll_immediate(poll_fn(|cx| handle.poll_ready(cx))).await.is_some());
    }
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let count = SENDS / TASKS + usize::from(task < SENDS % TASKS);
        let looker = (kafka.clone(), Arc::clone(&control), Arc::clone(&peak));
        tasks.push(tokio::spawn(sender(task, count, transport.clone(), looker)));
    }
    watched(async {
        for task in tasks {
            task.await.expect("a task");
        }
        control.flush().await.unwrap();
    })
    .await;
    assert_eq!(control.in_flight(), InFlight::default());
    assert_eq!(kafka.len("orders"), SENDS);
    let peak = peak.0.lock().unwrap();
    assert_eq!(peak.records, LIMITS.records, "the limit is used");
    assert!(peak.bytes > LIMITS.bytes * 9 / 10, "{peak:?}");
    assert_each_task_in_order(&kafka);
    drop(idle);
}

async fn sender(
    task: usize,
    count: usize,
    mut own: MemoryTransport,
    (kafka, control, peak): (MemoryKafka, Arc<dyn Control>, Arc<Peak>),
) {
    let mut kept = VecDeque::new();
    for seq in 0..count {
        if (seq * 7 + task) % 13 == 0 {
            // Waits for readiness, and gives up.
            let mut other = own.clone();
            let _ = poll_immediate(poll_fn(|cx| other.poll_ready(cx))).await;
        }
        let size = 1 + (seq * 37 + task * 11) % 1_000;
        let record = Record::new("orders").with_key(task.to_string()).with_value(format!("{seq:0size$}"));
        let send = send(&mut own, record).await;
        peak.look(&kafka, &*control);
        if seq % 3 != 0 {
            kept.push_back(send);
        }
        if kept.len() > 3 {
            let oldest = kept.pop_front().expect("one");
            oldest.await.expect("delivered");
            peak.look(&kafka, &*control);
        }
    }
    for send in kept {
        send.await.expect("delivered");
    }
}

fn assert_each_task_in_order(kafka: &MemoryKafka) {
    let mut next = [0; TASKS];
    for stored in kafka.records("orders") {
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<usize>().unwrap();
        let task = number(stored.key().unwrap());
        assert_eq!(number(stored.value().unwrap()), next[task], "task {task}");
        next[task] += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_transport_is_pending_and_a_report_wakes() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let hold = kafka.script().hold();
    let _first = send(&mut transport, to(0, 1)).await;
    let waiting = tokio::spawn({
        let mut other = transport.clone();
        async move { send(&mut other, to(0, 2)).await.await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(kafka.len("orders"), 1);
    hold.release();
    assert_eq!(watched(waiting).await.unwrap().unwrap().offset, Some(1));
}
