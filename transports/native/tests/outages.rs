//! Connections that break, answers that are lost or cannot be read, and restarts of the broker: one node behind a proxy.
#![allow(clippy::unwrap_used)] // a test may fail

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_tower_core::{Persistence, Record};
use kafka_tower_native::{NativeBuilder, NativeTransport};
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{Cluster, Listener, Proxy};
use support::{
    all_delivered, assert_dense, assert_once_in_order, builder, call, connect, in_time, log, numbered, outcomes, send,
};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The node is shared, and its proxy's rules are for one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

struct Node {
    kafka: &'static Cluster,
    topic: String,
    #[allow(dead_code)] // held
    turn: MutexGuard<'static, ()>,
}

impl Node {
    /// `None`: there is no Kafka, and a line has been printed.
    async fn new(topic: &str) -> Option<Self> {
        static NODE: OnceCell<Option<Cluster>> = OnceCell::const_new();
        let turn = TURN.lock().await;
        let start = || async { Cluster::builder().listener(Listener::Proxy).start().await.unwrap() };
        let kafka = NODE.get_or_init(start).await.as_ref()?;
        let topic = kafka.topic(topic, 1).await.unwrap();
        Some(Self { kafka, topic, turn })
    }

    fn proxy(&self) -> &Proxy {
        self.kafka.proxy().unwrap()
    }

    fn builder(&self) -> NativeBuilder {
        builder(&self.kafka.bootstrap_of(Listener::Proxy).unwrap(), &self.topic)
    }

    /// A client that has delivered record 0.
    async fn client(&self, builder: NativeBuilder) -> NativeTransport {
        let mut transport = connect(builder).await;
        all_delivered(vec![send(&mut transport, self.record(0)).await]);
        transport
    }

    fn record(&self, number: usize) -> Record {
        numbered(&self.topic, number)
    }

    async fn assert_once(&self, count: usize) {
        assert_once_in_order(self.kafka, &self.topic, count).await;
        assert_dense(&self.kafka.batches(&self.topic, 0).await.unwrap());
    }
}

/// After a test that failed: the next one uses the same proxy.
impl Drop for Node {
    fn drop(&mut self) {
        self.proxy().clear_rules();
    }
}

const FAULTS: [Action; 3] = [Action::CutBefore, Action::DropAnswer, Action::SpoilAnswer];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_idempotence_faults_neither_lose_nor_repeat_records() {
    for fault in FAULTS {
        let Some(node) = Node::new("idempotent").await else { return };
        let mut transport = node.client(node.builder().batch_records(7)).await;
        let mut next = 1;
        // In the middle of a stream of batches, so that others are in flight.
        for _ in 0..5 {
            node.proxy().next(ApiKey::PRODUCE, fault);
            let mut sends = Vec::new();
            for _ in 0..100 {
                sends.push(call(&mut transport, node.record(next)).await);
                next += 1;
            }
            let outcomes = outcomes(sends).await;
            assert!(outcomes.iter().all(Result::is_ok), "{fault:?}: {:?}", outcomes.iter().find(|o| o.is_err()));
        }
        node.assert_once(next).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_idempotence_records_without_an_answer_are_in_doubt() {
    for fault in FAULTS {
        let Some(node) = Node::new("plain").await else { return };
        let mut transport = node.client(node.builder().idempotent(false)).await;
        node.proxy().next(ApiKey::PRODUCE, fault);
        let error = send(&mut transport, node.record(1)).await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{fault:?}: {error:#}");
        all_delivered(vec![send(&mut transport, node.record(2)).await]);
        let log = log(node.kafka, &node.topic).await.remove(&0).unwrap();
        let expected: &[usize] = if fault == Action::CutBefore { &[0, 2] } else { &[0, 1, 2] };
        assert_eq!(log, expected, "{fault:?}: it was not sent again");
    }
}

/// The broker gets requests after their client has sent them again on another connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_request_is_not_written_twice() {
    let Some(node) = Node::new("late").await else { return };
    let mut transport = node.client(node.builder()).await;
    node.proxy().next(ApiKey::PRODUCE, Action::HoldAndCut);
    let mut sends = Vec::new();
    for n in 1..20 {
        sends.push(call(&mut transport, node.record(n)).await);
    }
    node.proxy().wait_for_held(1).await.unwrap();
    all_delivered(outcomes(sends).await);
    node.proxy().release().await.unwrap();
    all_delivered(vec![send(&mut transport, node.record(20)).await]);
    node.assert_once(21).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_request_keeps_the_order() {
    let Some(node) = Node::new("held").await else { return };
    let mut transport = node.client(node.builder().batch_records(5)).await;
    node.proxy().next(ApiKey::PRODUCE, Action::Hold);
    let mut sends = Vec::new();
    for n in 1..100 {
        sends.push(call(&mut transport, node.record(n)).await);
    }
    node.proxy().wait_for_held(1).await.unwrap();
    assert!(transport.control().in_flight().records >= 99);
    node.proxy().release().await.unwrap();
    all_delivered(outcomes(sends).await);
    node.assert_once(100).await;
}

/// The time-out of a request ends its connection; the broker may have carried it out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_times_out_is_sent_again() {
    let Some(node) = Node::new("time-out").await else { return };
    let mut transport = node.client(node.builder().request_timeout(Duration::from_secs(1))).await;
    node.proxy().next(ApiKey::PRODUCE, Action::Hold);
    let mut sends = Vec::new();
    for n in 1..20 {
        sends.push(call(&mut transport, node.record(n)).await);
    }
    node.proxy().wait_for_held(1).await.unwrap();
    all_delivered(outcomes(sends).await);
    node.assert_once(20).await;
}

/// A code that the proxy puts into the answer, though the broker has written the batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_pass_do_not_repeat_records() {
    // LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    for code in [5, 6, 7, 20] {
        let Some(node) = Node::new("refused").await else { return };
        let mut transport = node.client(node.builder().batch_records(10)).await;
        node.proxy().next_n(ApiKey::PRODUCE, 3, Action::FailProduce(code));
        let mut sends = Vec::new();
        for n in 1..100 {
            sends.push(call(&mut transport, node.record(n)).await);
        }
        let outcomes = outcomes(sends).await;
        assert!(outcomes.iter().all(Result::is_ok), "{code}: {:?}", outcomes.iter().find(|o| o.is_err()));
        node.assert_once(100).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_id_that_cannot_be_had_for_a_while_delays_connecting() {
    let Some(node) = Node::new("id").await else { return };
    // A broker that has just started refuses ids with 14 and 15. The proxy cuts, which the client takes as well.
    node.proxy().next_n(ApiKey::INIT_PRODUCER_ID, 3, Action::CutBefore);
    let before = node.proxy().requests(ApiKey::INIT_PRODUCER_ID);
    node.client(node.builder()).await;
    assert!(node.proxy().requests(ApiKey::INIT_PRODUCER_ID) >= before + 4);
    node.assert_once(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_about_one_topic_that_cannot_be_read_do_not_lose_records_of_others() {
    let Some(node) = Node::new("spoiled").await else { return };
    let other = node.kafka.topic("other", 1).await.unwrap();
    let mut transport = node.client(node.builder().idempotent(false)).await;
    all_delivered(vec![send(&mut transport, numbered(&other, 0)).await]);
    node.proxy().next_n(ApiKey::METADATA, 2, Action::SpoilAnswer);
    for n in 1..10 {
        // One of the two is in each request, so that only this topic is in the spoiled one.
        node.proxy().next(ApiKey::PRODUCE, Action::SpoilAnswer);
        let error = send(&mut transport, node.record(n)).await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
        all_delivered(vec![send(&mut transport, numbered(&other, n)).await]);
    }
    assert_once_in_order(node.kafka, &other, 10).await;
    assert_once_in_order(node.kafka, &node.topic, 10).await;
}

/// Sends while the broker is away. `idempotent`: every record is delivered once; otherwise some are in doubt.
async fn across_a_restart(kill: bool, idempotent: bool) {
    let Some(node) = Node::new("restart").await else { return };
    let mut transport = node.client(node.builder().idempotent(idempotent)).await;
    let restart = async {
        if kill {
            node.kafka.kill(1).unwrap();
        } else {
            node.kafka.terminate(1).await.unwrap();
        }
        node.kafka.restart(1).await.unwrap();
    };
    let mut restart = std::pin::pin!(restart);
    let (mut sends, mut after) = (Vec::new(), 0);
    let mut is_back = false;
    // A few records before, many meanwhile, and some after it.
    while after < 50 {
        let future = call(&mut transport, node.record(sends.len() + 1)).await;
        sends.push(future);
        if is_back {
            after += 1;
        } else {
            tokio::select! {
                () = &mut restart => is_back = true,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    }
    let count = sends.len();
    let outcomes = outcomes(sends).await;
    in_time(transport.control().flush()).await.unwrap();
    if idempotent {
        assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.iter().find(|o| o.is_err()));
        return node.assert_once(count + 1).await;
    }
    let log = log(node.kafka, &node.topic).await.remove(&0).unwrap();
    let once: BTreeSet<_> = log.iter().copied().collect();
    assert_eq!(once.len(), log.len(), "nothing is written twice: {log:?}");
    for (n, outcome) in (1..).zip(&outcomes) {
        match outcome {
            Ok(_) => assert!(once.contains(&n), "record {n} was lost"),
            Err(error) if error.persistence() == Persistence::NotPersisted => assert!(!once.contains(&n), "{error:#}"),
            Err(error) => assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_neither_loses_nor_repeats_records() {
    across_a_restart(false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_neither_loses_nor_repeats_records() {
    across_a_restart(true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_without_idempotence_leaves_truthful_outcomes() {
    across_a_restart(true, false).await;
}
