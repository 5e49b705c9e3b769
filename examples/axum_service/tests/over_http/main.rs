//! The example as its callers see it, over a real Kafka whose broker is frozen and killed: no status promises too much.
#![allow(clippy::unwrap_used)] // a test may fail

mod service;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kafka_tower_testkit::kafka::{Cluster, ReadRecord};
use tokio::time::{sleep, timeout};

use crate::service::{Answer, PATIENCE, Request, Service, Times, log};

async fn cluster() -> Option<Cluster> {
    let kafka = Cluster::start(1).await.unwrap()?;
    for topic in ["orders", "payments"] {
        kafka.create_topic(topic, 3, &[]).await.unwrap();
    }
    Some(kafka)
}

type Answers = BTreeMap<Request, Option<Answer>>;

/// Sends requests side by side.
async fn post(service: &Service, numbers: impl IntoIterator<Item = u64>, to: &mut Answers) {
    let requests = numbers.into_iter().map(Request).map(async |request| (request, service.post(request).await));
    to.extend(join_all(requests).await);
}

fn status(answer: &Option<Answer>) -> Option<u16> {
    answer.as_ref().map(|answer| answer.status)
}

/// What each answer promises about the log.
fn judge(answers: &Answers, log: &BTreeMap<Request, Vec<ReadRecord>>) {
    for (request, answer) in answers {
        let records = log.get(request).map_or(&[][..], Vec::as_slice);
        let promised = match status(answer) {
            Some(201) => 1..=1,
            Some(503) => 0..=0,
            Some(504) | None => 0..=1,
            Some(other) => panic!("{request:?}: {other}: {answer:?}"),
        };
        assert!(promised.contains(&records.len()), "{request:?} is there {} times: {answer:?}", records.len());
        for record in records {
            let value: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
            assert_eq!(value, request.body());
            let context = record.headers.iter().find(|(name, _)| name == "traceparent").unwrap().1.clone().unwrap();
            let context = String::from_utf8(context).unwrap();
            let parts: Vec<_> = context.split('-').collect();
            assert_eq!(parts[1], request.trace(), "the caller's trace");
            assert_ne!(parts[2], "b7ad6b7169203331", "the span of the send");
        }
        if let Some(answer) = answer.as_ref().filter(|answer| answer.status == 201) {
            let place = format!("{}[{}]@{}", request.topic(), records[0].partition, records[0].offset);
            assert_eq!(answer.body["at"], place);
        }
    }
}

fn assert_problem(answer: &Answer, persistence: &str) {
    assert_eq!(answer.content_type, "application/problem+json", "{answer:?}");
    assert_eq!(answer.body["persistence"], persistence, "{answer:?}");
    assert_eq!(answer.body["status"], answer.status, "{answer:?}");
    assert!(!answer.body.to_string().contains("127.0.0.1"), "no address of a broker: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_is_answered_in_time_and_truthfully() {
    let Some(kafka) = cluster().await else { return };
    let times = Times { send_timeout: Duration::from_secs(3), shutdown: Duration::from_secs(20) };
    let service = Service::start(&kafka, times).await;
    let mut answers = Answers::new();
    post(&service, 1..=40, &mut answers).await;
    assert!(answers.values().all(|answer| status(answer) == Some(201)), "{answers:?}");

    kafka.stop(1).unwrap();
    let asked = Instant::now();
    let mut frozen = Answers::new();
    post(&service, 41..=60, &mut frozen).await;
    // The sinks answer, and not the time-out layer above them, which knows nothing of the record.
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    for answer in frozen.values().flatten().filter(|answer| answer.status == 504) {
        assert_problem(answer, "possibly_persisted");
    }
    assert!(frozen.values().any(|answer| status(answer) == Some(504)), "{frozen:?}");
    answers.append(&mut frozen);

    // Both breakers are open by now, or a probe finds the broker as it is.
    let open = async {
        for number in (61..).step_by(2) {
            post(&service, [number], &mut answers).await;
            let Some(answer) = answers[&Request(number)].as_ref() else { continue };
            if answer.status == 503 && answer.retry_after.is_some() {
                assert_problem(answer, "not_persisted");
                return number;
            }
        }
        unreachable!("the range has no end")
    };
    let last = timeout(PATIENCE, open).await.expect("the breaker opens");

    kafka.cont(1).unwrap();
    let recovered = async {
        for number in last + 1.. {
            post(&service, [number], &mut answers).await;
            match answers[&Request(number)].as_ref() {
                Some(answer) if answer.status == 201 => return,
                answer => sleep(Duration::from_secs(answer.and_then(|answer| answer.retry_after).unwrap_or(1))).await,
            }
        }
    };
    timeout(2 * PATIENCE, recovered).await.expect("the service recovers");

    service.terminate();
    let (ended, text) = service.ended(PATIENCE).await;
    assert!(ended.success() && text.contains("nothing was lost"), "{ended}: {text}");
    judge(&answers, &log(&kafka).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_without_a_broker_keeps_its_deadline_and_reports_what_is_lost() {
    const UNDER_WAY: u64 = 30;
    let Some(kafka) = cluster().await else { return };
    // Sends alone would outlast the deadline by far.
    let times = Times { send_timeout: Duration::from_secs(300), shutdown: Duration::from_secs(10) };
    let service = Service::start(&kafka, times).await;
    let mut answers = Answers::new();
    post(&service, 1..=40, &mut answers).await;
    assert!(answers.values().all(|answer| status(answer) == Some(201)), "{answers:?}");

    kafka.kill(1).unwrap();
    let requests = (41..=40 + UNDER_WAY).map(Request);
    let posted: Vec<_> = requests.map(|request| (request, tokio::spawn(service.post(request)))).collect();
    service.has_in_flight(UNDER_WAY as usize).await;
    service.terminate();
    let (ended, text) = service.ended(PATIENCE).await;
    assert_eq!(ended.code(), Some(1), "{text}");
    for (request, answer) in posted {
        let answer = answer.await.unwrap();
        assert_ne!(status(&answer), Some(201), "{request:?}");
        answers.insert(request, answer);
    }
    let report = text.lines().find(|line| line.contains("shut down in")).unwrap();
    assert!(report.contains("ERROR"), "{report}");
    assert_eq!(lost(report), UNDER_WAY, "{report}");
    assert_eq!(text.matches("not delivered: ").count() as u64, UNDER_WAY, "each record is there to be kept: {text}");

    kafka.restart(1).await.unwrap();
    let service = Service::start(&kafka, times).await;
    post(&service, 101..=140, &mut answers).await;
    assert_eq!(answers.values().filter(|answer| status(answer) == Some(201)).count(), 80, "{answers:?}");
    service.terminate();
    let (ended, text) = service.ended(PATIENCE).await;
    assert!(ended.success() && text.contains("nothing was lost"), "{ended}: {text}");
    judge(&answers, &log(&kafka).await);
}

/// The number of records in a report: "30 records not written, 2 records may have been written (first error: …)".
fn lost(report: &str) -> u64 {
    let counts = report.split(" (first error").next().unwrap();
    let words: Vec<_> = counts.split_whitespace().collect();
    let counts = words.windows(2).filter(|pair| pair[1] == "record" || pair[1] == "records");
    counts.map(|pair| pair[0].parse::<u64>().unwrap()).sum()
}
