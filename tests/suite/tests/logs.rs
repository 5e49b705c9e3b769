//! Tests what an application logs while a broker is down. It is its own binary because it counts the events of a global
//! subscriber.
#![allow(clippy::unwrap_used)] // a test may fail

use std::fmt;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kafka_tower_rdkafka::{ClientError, ClientEvents, RdkafkaTransport};
use tokio::sync::Notify;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Clone, Debug, Default)]
struct Line {
    target: String,
    level: String,
    message: String,
    facility: String,
    code: i64,
    name: String,
    repeats: u64,
    /// The number of failures at the time of the line.
    failures: u64,
}

impl Line {
    fn is_ours(&self) -> bool {
        self.message.starts_with("kafka client: ")
    }
}

impl tracing::field::Visit for Line {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if field.name() == "repeats" {
            self.repeats = value;
        }
    }

    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        if field.name() == "code" {
            self.code = value;
        }
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}").trim_matches('"').to_owned();
        match field.name() {
            "message" => self.message = text,
            "facility" => self.facility = text,
            "name" => self.name = text,
            _ => {}
        }
    }
}

/// The logged lines, and the number of failures that librdkafka reported.
#[derive(Clone, Default)]
struct Capture {
    lines: Arc<Mutex<Vec<Line>>>,
    failures: Arc<AtomicU64>,
    more: Arc<Notify>,
}

impl Capture {
    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns whether the count of suppressed lines for the refusing broker was logged, and failures have followed.
    fn is_enough(&self) -> bool {
        let lines = self.lines.lock().unwrap();
        let refused = lines.iter().filter(|line| line.is_ours() && line.message.contains("refused")).nth(1);
        refused.is_some_and(|refused| self.failures() > refused.failures + 20)
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line =
            Line { target: metadata.target().to_owned(), level: metadata.level().to_string(), ..Line::default() };
        event.record(&mut line);
        line.failures = self.failures();
        self.lines.lock().unwrap().push(line);
    }
}

impl ClientEvents for Capture {
    fn error(&self, error: &ClientError<'_>) {
        if error.name != Some("_ALL_BROKERS_DOWN") {
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.more.notify_one();
        }
    }
}

/// A broker whose connections fail in two ways by turns: librdkafka suppresses only a failure that equals the last one.
fn broken_broker() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (turn, stream) in listener.incoming().enumerate() {
            if let (Ok(mut stream), true) = (stream, turn % 2 == 0) {
                // A response of 2 GiB.
                let _ = stream.write_all(&[0x7f; 8]);
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        }
    });
    port
}

#[tokio::test]
async fn a_dead_broker_logs_one_line_with_a_count_every_ten_seconds() {
    let log = Capture::default();
    tracing_subscriber::registry().with(log.clone()).init();
    let refusing = 1;
    let broken = broken_broker();
    let transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", format!("127.0.0.1:{refusing},127.0.0.1:{broken}"))
        .property("reconnect.backoff.ms", "10")
        .property("reconnect.backoff.max.ms", "20")
        .events(log.clone())
        .connect_check(false)
        .topic("t")
        .connect()
        .await
        .unwrap();
    let enough = async {
        while !log.is_enough() {
            log.more.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), enough).await.expect("a line with a count after 10 s");
    assert!(transport.control().close(Duration::ZERO).await.unwrap().is_complete());
    // This drops the client, which then logs the count of what it still suppressed.
    drop(transport);
    let lines = log.lines.lock().unwrap().clone();
    let failures = log.failures();
    assert!(failures > 100, "negative control: librdkafka itself reported only {failures} failures");
    let loud: Vec<_> = lines.iter().filter(|line| !matches!(line.level.as_str(), "DEBUG" | "TRACE")).collect();
    let all = loud.iter().map(|line| format!("{line:?}\n")).collect::<String>();

    let ours: Vec<_> = loud.iter().filter(|line| line.is_ours()).collect();
    assert!(ours.iter().all(|line| line.level == "WARN" && line.code < 0 && !line.name.is_empty()), "{all}");
    assert_eq!(
        ours.iter().map(|line| 1 + line.repeats).sum::<u64>(),
        failures,
        "every failure is logged or counted:\n{all}"
    );
    // librdkafka reports this one twice in 30 s. The count of suppressed lines is logged when the interval ends, not
    // when the next failure arrives.
    let refused: Vec<_> = ours.iter().filter(|line| line.message.contains("refused")).collect();
    assert!((2..=3).contains(&refused.len()) && refused[1].failures < failures, "{all}");
    // Logged at once, after 10 s, and at the end for the rest.
    let broken: Vec<_> = ours.iter().filter(|line| line.message.contains(&format!(":{broken}/"))).collect();
    assert!((2..=3).contains(&broken.len()), "{all}");
    assert!(broken[0].repeats == 0 && broken[1].repeats > 20, "{all}");
    // Maybe some more seconds, because the machine may be busy.
    assert!(broken[1].message.contains(&format!(", and {} like it in 1", broken[1].repeats)), "{all}");
    // librdkafka's own log lines are limited too. There are two kinds, and one of them has two names.
    let librdkafka: Vec<_> = loud.iter().filter(|line| line.target == "librdkafka").collect();
    assert!(librdkafka.len() <= 9, "{all}");
    assert!(librdkafka.iter().all(|line| !line.facility.is_empty()), "{all}");
    assert!(librdkafka.iter().map(|line| line.repeats).sum::<u64>() > 20, "{all}");
}
