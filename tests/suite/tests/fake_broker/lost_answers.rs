//! Runs librdkafka against a broker that loses far more answers than a real one, and can switch de-duplication off. The checker of the memory transport judges the result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kafka_tower_core::Record;
use kafka_tower_memory::sim::{Guarantee, History, Verdict, Violation};
use kafka_tower_rdkafka::RdkafkaTransport;
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, FakeBroker};
use tower::{Service, ServiceExt};

const TOPIC: &str = "fake";
const RECORDS: u32 = 10_000;
const KEYS: u32 = 7;
const IN_FLIGHT: &str = "5";
const WITHIN: Duration = Duration::from_secs(120);

/// Random number for a request (splitmix64): depends only on the seed and the request's number.
fn draw(seed: u64, request: u64) -> u64 {
    let x = (seed ^ request.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The result of a run.
struct Run {
    violations: Vec<Violation>,
    delivered: usize,
    written: usize,
    /// The number of produce requests; `unanswered` of them were applied without an answer.
    requests: usize,
    unanswered: usize,
}

/// Whether batches have sequence numbers, which keep records from being written twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// The client numbers its batches, and the broker checks the numbers.
    Kept,
    /// The broker does not check the numbers.
    Ignored,
    /// The client does not number its batches.
    Absent,
}

/// Sends all records at once in batches of two. The broker closes the connection in place of every tenth answer, and
/// refuses every fiftieth request.
async fn run(seed: u64, numbers: Numbers) -> Run {
    println!("seed {seed}, sequence numbers: {numbers:?}");
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, 1);
    broker.set_idempotence(numbers != Numbers::Ignored);
    let unanswered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&unanswered);
    broker.on(ApiKey::Produce, move |request| {
        match draw(seed, request.api_call_index) % 50 {
            0..5 => {
                count.fetch_add(1, Ordering::Relaxed);
                Control::ApplyThen(Box::new(Control::Disconnect))
            }
            // The requests behind it are already in flight.
            5 => Control::Error(ErrorCode::NotEnoughReplicas),
            _ => Control::Pass,
        }
    });
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", broker.bootstrap_servers())
        .property("enable.idempotence", (numbers != Numbers::Absent).to_string())
        .property("max.in.flight.requests.per.connection", IN_FLIGHT)
        .property("batch.num.messages", "2")
        .property("retry.backoff.ms", "1")
        .property("reconnect.backoff.ms", "1")
        .property("reconnect.backoff.max.ms", "5")
        .topic(TOPIC)
        .connect()
        .await
        .unwrap();
    let control = transport.control();
    let (mut history, mut delivered) = (History::new(), 0);
    let mut answers = FuturesUnordered::new();
    for number in 0..RECORDS {
        let key = number % KEYS;
        let record = Record::new(TOPIC).with_key(key.to_string()).with_value(number.to_string());
        let answer = transport.ready().await.unwrap().call(record);
        history.called(number, Some(key));
        answers.push(async move { (number, answer.await) });
    }
    let all = async {
        while let Some((number, outcome)) = answers.next().await {
            delivered += usize::from(outcome.is_ok());
            history.answered(number, outcome);
        }
    };
    tokio::time::timeout(WITHIN, all).await.expect("every record is answered");
    assert!(control.close(WITHIN).await.unwrap().is_complete());

    let written = broker.all_records(TOPIC).unwrap();
    for record in &written {
        let number = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap();
        history.read(number, record.partition, record.offset);
    }
    Run {
        violations: history.judge(Guarantee::AtMostOnce),
        delivered,
        written: written.len(),
        requests: broker.request_count(ApiKey::Produce),
        unanswered: unanswered.load(Ordering::Relaxed),
    }
}

fn count(violations: &[Violation]) -> BTreeMap<Verdict, usize> {
    violations.iter().fold(BTreeMap::new(), |mut counts, violation| {
        *counts.entry(violation.verdict).or_default() += 1;
        counts
    })
}

impl Run {
    /// Asserts that enough answers were lost; otherwise the run proves nothing.
    fn assert_is_hard(&self) {
        let Self { requests, unanswered, .. } = self;
        assert!(*unanswered * 20 > *requests, "{unanswered} of {requests} requests were left without an answer");
        assert!(*requests > RECORDS as usize / 3, "{requests} requests: the batches were too large");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_lose_duplicate_and_reorder_nothing() {
    let run = run(1, Numbers::Kept).await;
    run.assert_is_hard();
    assert_eq!(run.violations, [], "{:?}", count(&run.violations));
    assert_eq!((run.delivered, run.written), (RECORDS as usize, RECORDS as usize));
}

/// Negative control: the broker writes every batch that it receives, also again. Records may be lost, too, because the
/// client relies on the broker to refuse batches behind a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_de_duplication_the_checker_finds_duplicates() {
    let run = run(1, Numbers::Ignored).await;
    run.assert_is_hard();
    let found = count(&run.violations);
    println!("{} written, found {found:?}", run.written);
    assert!(found.contains_key(&Verdict::Duplicate), "{found:?}");
}

/// Negative control: the client has five requests in flight and does not number them. A request behind a lost one
/// overtakes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_idempotence_the_checker_finds_reordered_records_too() {
    let run = run(1, Numbers::Absent).await;
    run.assert_is_hard();
    let found = count(&run.violations);
    println!("{} written, found {found:?}", run.written);
    assert!(found.contains_key(&Verdict::Duplicate) && found.contains_key(&Verdict::Reordered), "{found:?}");
    assert!(!found.contains_key(&Verdict::LostAcknowledged), "{found:?}");
}
