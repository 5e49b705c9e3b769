//! What a dead broker does to the log of an application. A binary of its own: it counts what a global subscriber gets.
#![allow(clippy::unwrap_used)] // a test may fail

use std::fmt;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kafka_tower_core::ErrorKind;
use kafka_tower_rdkafka::{ClientError, ClientEvents, RdkafkaTransport};
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
    /// How many failures there were when it was said.
    failures: u64,
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

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Line>>>, Arc<AtomicU64>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line =
            Line { target: metadata.target().to_owned(), level: metadata.level().to_string(), ..Line::default() };
        event.record(&mut line);
        line.failures = self.1.load(Ordering::Relaxed);
        self.0.lock().unwrap().push(line);
    }
}

/// Counts the failures, as librdkafka tells them.
struct Failures(Arc<AtomicU64>);

impl ClientEvents for Failures {
    fn error(&self, error: &ClientError<'_>) {
        if error.name != Some("_ALL_BROKERS_DOWN") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A broker whose connections fail in two ways by turns: librdkafka holds back only what is the same as the last time.
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
async fn a_dead_broker_is_a_line_in_ten_seconds_with_a_count() {
    let log = Capture::default();
    tracing_subscriber::registry().with(log.clone()).init();
    let count = Arc::clone(&log.1);
    let refusing = 1;
    let broken = broken_broker();
    let error = RdkafkaTransport::builder()
        .property("bootstrap.servers", format!("127.0.0.1:{refusing},127.0.0.1:{broken}"))
        .property("reconnect.backoff.ms", "10")
        .property("reconnect.backoff.max.ms", "20")
        // A part of it is the probe's; the rest is longer than the 10 s by so much as a busy machine may be late.
        .connect_timeout(Duration::from_secs(16))
        .events(Failures(Arc::clone(&count)))
        .topic("t")
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    // The client is gone, and has said what it held back.
    let lines = log.0.lock().unwrap().clone();
    let failures = count.load(Ordering::Relaxed);
    assert!(failures > 100, "the control: librdkafka itself told {failures} failures");
    let loud: Vec<_> = lines.iter().filter(|line| !matches!(line.level.as_str(), "DEBUG" | "TRACE")).collect();
    let all = loud.iter().map(|line| format!("{line:?}\n")).collect::<String>();

    let ours: Vec<_> = loud.iter().filter(|line| line.message.starts_with("kafka client: ")).collect();
    assert!(ours.iter().all(|line| line.level == "WARN" && line.code < 0 && !line.name.is_empty()), "{all}");
    assert_eq!(ours.iter().map(|line| 1 + line.repeats).sum::<u64>(), failures, "said or counted:\n{all}");
    // librdkafka tells this one twice in 30 s. What was held back is said when its time is over, not when another comes.
    let refused: Vec<_> = ours.iter().filter(|line| line.message.contains("refused")).collect();
    assert!((2..=3).contains(&refused.len()) && refused[1].failures < failures, "{all}");
    // Said at once, after 10 s, and at the end what had come since.
    let broken: Vec<_> = ours.iter().filter(|line| line.message.contains(&format!(":{broken}/"))).collect();
    assert!((2..=3).contains(&broken.len()), "{all}");
    assert!(broken[0].repeats == 0 && broken[1].repeats > 20, "{all}");
    // Or some more: a machine may be busy.
    assert!(broken[1].message.contains(&format!(", and {} like it in 1", broken[1].repeats)), "{all}");
    // librdkafka's own lines are held back too: two kinds, of which one is called so or so.
    let librdkafka: Vec<_> = loud.iter().filter(|line| line.target == "librdkafka").collect();
    assert!(librdkafka.len() <= 9, "{all}");
    assert!(librdkafka.iter().all(|line| !line.facility.is_empty()), "{all}");
    assert!(librdkafka.iter().map(|line| line.repeats).sum::<u64>() > 20, "{all}");
}
