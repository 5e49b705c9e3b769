//! What a source logs: a message that holds its partition up, and a bounded number of lines about a flood.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Once;
use std::time::Duration;

use kafka_tower::source::DecodePolicy;
use kafka_tower::{CommitStrategy, KafkaSource, KafkaSourceConfig};
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::support::{GROUP, LONG, append, append_text, config, kafka, next, source};

thread_local! {
    /// The lines of this thread, with their fields, if its test wants them.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// One for all threads: with one for each, `tracing` may take a line for one that nobody wants while tests run side by side.
struct Lines;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = if field.name() == "message" { String::new() } else { format!("{}=", field.name()) };
        self.0.push_str(&format!(" {name}{value:?}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.push(text.0.clone())));
    }
}

impl Lines {
    /// The lines with this text since the last call.
    fn with(&self, part: &str) -> Vec<String> {
        let (found, others) = LINES.take().unwrap_or_default().into_iter().partition(|line| line.contains(part));
        LINES.set(Some(others));
        found
    }

    fn start() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Self)).unwrap());
        LINES.set(Some(Vec::new()));
        Self
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_holds_its_partition_up_is_named_once_and_its_end_too() {
    const AFTER: Duration = Duration::from_secs(60);
    let lines = Lines::start();
    let kafka = kafka(2);
    append(&kafka, 0, 0..3).await;
    append(&kafka, 1, 0..3).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let mut held = None;
    for _ in 0..6 {
        let message = next(&mut source).await;
        if (message.partition(), message.offset()) == (1, 1) {
            held = Some(message)
        } else {
            assert_eq!(message.ack(), kafka_tower::source::Acked::Counted)
        }
    }
    let held = held.unwrap();
    sleep(AFTER - Duration::from_secs(1)).await;
    assert_eq!(lines.with("has not been settled"), [""; 0]);
    sleep(AFTER / 4 + Duration::from_secs(2)).await;
    let stalled = lines.with("has not been settled");
    let [line] = &stalled[..] else { panic!("{stalled:?}") };
    assert!(line.starts_with("WARN") && line.contains("partition=orders[1]") && line.contains("offset=1"), "{line}");
    assert!(line.contains("for 60 s"), "{line}");
    sleep(10 * AFTER).await;
    assert_eq!(lines.with("has not been settled"), [""; 0], "once");
    held.ack();
    sleep(AFTER / 4).await;
    let goes_on = lines.with("goes on");
    assert!(matches!(&goes_on[..], [line] if line.starts_with("INFO") && line.contains("orders[1]")), "{goes_on:?}");
    sleep(10 * AFTER).await;
    assert_eq!(lines.with("has not been settled"), [""; 0], "nothing is in the application's hands");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_read_or_given_back_is_not_stalled() {
    let lines = Lines::start();
    let kafka = kafka(1);
    append(&kafka, 0, 0..200).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    // Something is always unsettled, and each message takes long.
    let mut last = next(&mut source).await;
    for _ in 0..50 {
        let message = next(&mut source).await;
        sleep(Duration::from_secs(40)).await;
        std::mem::replace(&mut last, message).ack();
    }
    kafka.start_rebalance(GROUP);
    assert!(timeout(Duration::from_secs(1), source.recv()).await.is_ok());
    assert_eq!(lines.with("settled for"), [""; 0]);
    let off = KafkaSourceConfig { group_id: "off".into(), stall_warning_ms: 0, ..config(CommitStrategy::Automatic) };
    let mut source = crate::support::source(&kafka, off).await;
    let _held = next(&mut source).await;
    sleep(100 * LONG).await;
    assert_eq!(lines.with("settled for"), [""; 0], "it is switched off");
}

/// 10 000 records that cannot be decoded, in 100 s.
#[tokio::test(start_paused = true)]
async fn a_flood_of_skipped_records_is_a_few_lines_with_counts() {
    const RECORDS: usize = 10_000;
    let lines = Lines::start();
    let kafka = kafka(1);
    let config = config(CommitStrategy::Automatic);
    let builder = KafkaSource::<u32>::builder(config).on_decode_error(DecodePolicy::skip());
    let mut source = builder.transport(kafka.clone()).build().await.unwrap();
    let control = source.control();
    let appends = async {
        for _ in 0..RECORDS / 100 {
            for _ in 0..100 {
                append_text(&kafka, 0, "poison").await;
            }
            sleep(Duration::from_secs(1)).await;
        }
        sleep(Duration::from_secs(30)).await;
        let late = lines.with("was skipped");
        assert_eq!(counted(&late), RECORDS, "all are counted without another line: {late:?}");
        assert!(late.len() <= 12, "{late:?}");
        append_text(&kafka, 0, "poison").await;
        append_text(&kafka, 0, "poison").await;
        sleep(Duration::from_secs(1)).await;
        control.close().await
    };
    let (received, report) = tokio::join!(source.recv(), appends);
    assert!(received.is_err(), "it was closed");
    assert_eq!(report.skipped, RECORDS as u64 + 2);
    let last = lines.with("was skipped");
    assert_eq!(counted(&last), 2, "the close logs the rest: {last:?}");
}

/// How many messages the lines stand for.
fn counted(lines: &[String]) -> usize {
    let repeats = |line: &String| {
        let (_, count) = line.split_once("repeats=")?;
        count.split(' ').next()?.parse::<usize>().ok()
    };
    lines.iter().map(|line| 1 + repeats(line).unwrap_or(0)).sum()
}
