//! `Shutdown` over memory, under a paused clock: which part gets how much of the one deadline, and what is reported.
#![allow(clippy::unwrap_used)] // a test may fail

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;
use std::time::Duration;

use kafka_tower::memory::{CommitFault, MemoryKafka};
use kafka_tower::sink::SendFuture;
use kafka_tower::{
    ErrorKind, KafkaClient, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Persistence, Record, Shutdown,
    SourceMessage,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Service as _, service_fn};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

const DEADLINE: Duration = Duration::from_secs(25);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 1).with_topic("payments", 1)
}

/// Sends wait far longer than the shutdown takes.
fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { send_timeout_ms: 300_000, enable_circuit_breaker: false, ..Default::default() }
}

async fn client(kafka: &MemoryKafka) -> (KafkaClient, KafkaSink<u32>) {
    let client = KafkaClient::builder(config()).transport(kafka.transport()).build().await.unwrap();
    let orders = client.sink("orders").build().await.unwrap();
    (client, orders)
}

/// A shutdown that begins now.
fn now() -> Shutdown {
    Shutdown::when(std::future::ready(()), DEADLINE)
}

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the lines of a shutdown, each for its own thread.
struct Lines;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 += &format!(" {value:?}");
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("kafka_tower::shutdown") {
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            LINES.with_borrow_mut(|lines| lines.push(text.0));
        }
    }
}

impl Lines {
    fn start() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Self)).unwrap());
        LINES.take();
    }
}

/// Polls a send until its record is in the log or held.
async fn sent(send: SendFuture<u32>) -> tokio::task::JoinHandle<kafka_tower::Result<kafka_tower::Delivery>> {
    let task = tokio::spawn(send);
    tokio::task::yield_now().await;
    task
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_within_the_time_is_no_loss() {
    Lines::start();
    let kafka = kafka();
    let (client, orders) = client(&kafka).await;
    let hold = kafka.script().always().hold();
    let send = sent(orders.send(1)).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = Shutdown::when(stopped, DEADLINE).client(&client);
    let server = shutdown.begun();
    let run = tokio::spawn(shutdown.run(async {
        server.await;
        "served"
    }));
    sleep(s(60)).await;
    let second = sent(orders.send(2)).await;
    assert!(!run.is_finished() && !second.is_finished(), "nothing is closed before the signal");
    stop.send(()).unwrap();
    // The server ended at once, so the sinks have all but the last second.
    sleep(s(23)).await;
    assert!(!run.is_finished());
    assert_eq!(orders.send(3).await.unwrap_err().kind(), ErrorKind::Closed);
    hold.release();
    let report = run.await.unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.server, report.sinks.len(), report.elapsed.as_secs()), (Some("served"), 1, 23));
    assert!(send.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert_eq!(LINES.take(), ["INFO shutting down", "INFO shut down in 23 s: nothing was lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_never_answers_and_a_handler_that_never_ends_keep_the_one_deadline() {
    Lines::start();
    let kafka = kafka();
    let (client, orders) = client(&kafka).await;
    let own = KafkaSink::<u32>::builder(KafkaSinkConfig { topic: "payments".into(), ..config() });
    let own = own.transport(kafka.transport()).build().await.unwrap();
    let _hold = kafka.script().always().hold();
    let sends = [sent(orders.send(1)).await, sent(orders.send(2)).await, sent(own.send(3)).await];
    let report = now().client(&client).sink(&own).run(std::future::pending::<()>()).await;
    assert_eq!(report.elapsed.as_secs(), 25);
    assert_eq!(report.server, None);
    assert_eq!(
        report.to_string(),
        "shut down in 25 s: the server was still running; 2 records may have been written (first error: the delivery to \
         orders was not confirmed: the transport was closed before the answer); 1 record may have been written (first error: \
         the delivery to payments was not confirmed: the transport was closed before the answer)"
    );
    assert_eq!(LINES.take()[1], format!("ERROR {report}"));
    let undelivered = report.into_undelivered();
    assert_eq!(undelivered.len(), 3);
    for (send, undelivered) in sends.into_iter().zip(undelivered) {
        assert_eq!(undelivered.error.persistence(), Persistence::PossiblyPersisted);
        assert_eq!(send.await.unwrap().unwrap_err().persistence(), Persistence::PossiblyPersisted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_send_ends_with_the_close_still_answers() {
    let kafka = kafka();
    let (client, orders) = client(&kafka).await;
    let _hold = kafka.script().always().hold();
    let send = orders.send(1);
    let answer_takes = Duration::from_millis(500);
    let server = async {
        let answer = send.await.unwrap_err();
        sleep(answer_takes).await;
        answer
    };
    let report = now().client(&client).run(server).await;
    assert_eq!(report.elapsed.as_millis() / 100, 245, "the sinks until 24 s, and the answer");
    assert_eq!(report.server.map(|error| error.persistence()), Some(Persistence::PossiblyPersisted));
}

#[tokio::test(start_paused = true)]
async fn handlers_go_on_while_the_sinks_are_closed() {
    let kafka = kafka();
    let (client, orders) = client(&kafka).await;
    let payments = client.sink::<u32>("payments").build().await.unwrap();
    let _never = kafka.script().on_topic("payments").always().hold();
    let later = kafka.script().on_topic("orders").always().hold();
    let start = Instant::now();
    let release = async {
        sleep(s(17)).await;
        later.release();
    };
    let order = async {
        orders.send(1).await.unwrap();
        start.elapsed().as_secs()
    };
    // All three are polled by the server only.
    let report = now().client(&client).run(async { tokio::join!(release, order, payments.send(2)).1 }).await;
    assert_eq!(report.server, Some(17));
}

#[tokio::test(start_paused = true)]
async fn the_sinks_are_open_until_the_servers_time_is_over() {
    let kafka = kafka();
    let (client, orders) = client(&kafka).await;
    let start = Instant::now();
    let server = async {
        let mut results = Vec::new();
        for at in [14, 16] {
            sleep_until(start + s(at)).await;
            results.push(orders.send(1).await.map_err(|error| error.kind()).map(|delivery| delivery.offset));
        }
        results
    };
    let report = now().client(&client).run(server).await;
    assert_eq!(report.server, Some(vec![Ok(Some(0)), Err(ErrorKind::Closed)]));
    assert_eq!(report.elapsed.as_secs(), 16);

    let (client, _orders) = self::client(&kafka).await;
    let report = now().closing(s(20)).client(&client).run(sleep(s(30))).await;
    assert!(!report.is_complete() && report.sinks[0].is_ok(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_by_itself_begins_the_shutdown() {
    let kafka = kafka();
    let (client, orders) = client(&kafka).await;
    let shutdown = Shutdown::when(std::future::pending::<()>(), DEADLINE).client(&client);
    let begun = tokio::spawn(shutdown.begun());
    let report = shutdown.run(async { Err::<(), _>("the port is taken") }).await;
    assert!(report.is_complete() && report.server == Some(Err("the port is taken")), "{report}");
    begun.await.unwrap();
    assert_eq!(orders.send(1).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn begun_ends_when_the_shutdown_is_dropped() {
    let shutdown = Shutdown::when(std::future::pending::<()>(), DEADLINE);
    let begun = tokio::spawn(shutdown.begun());
    sleep(s(1)).await;
    assert!(!begun.is_finished());
    drop(shutdown);
    begun.await.unwrap();
}

async fn source(kafka: &MemoryKafka) -> KafkaSource<u32> {
    let config = KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() };
    KafkaSource::builder(config).transport(kafka.clone()).build().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_source_is_closed_before_the_sinks_and_leaves_them_time() {
    Lines::start();
    let kafka = kafka();
    for value in ["1", "2"] {
        kafka.transport().call(Record::new("orders").with_value(value)).await.unwrap();
    }
    let (client, _orders) = client(&kafka).await;
    let payments = client.sink::<u32>("payments").build().await.unwrap();
    let mut source = source(&kafka).await;
    let (slow, never) = (source.recv().await.unwrap(), source.recv().await.unwrap());
    let control = source.control();
    let start = Instant::now();
    // The server needs no time; a handler of the source sends while the source drains.
    let handler = tokio::spawn(async move {
        sleep(s(8)).await;
        payments.send(1).await.unwrap();
        slow.ack();
    });
    let report = now().source(control).client(&client).run(std::future::ready(())).await;
    handler.await.unwrap();
    // Nothing but the message that was never settled is left.
    assert!(start.elapsed() <= s(20), "{report}");
    assert!(report.sinks[0].is_ok(), "{report}");
    assert_eq!((report.sources[0].settled, report.sources[0].unsettled.len()), (1, 1), "{report}");
    assert!(LINES.take()[1].starts_with("WARN shut down in "), "{report}");
    assert_eq!(kafka.len("payments"), 1);
    drop(never);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_an_answer_does_not_take_the_sinks_time() {
    let kafka = kafka();
    kafka.transport().call(Record::new("orders").with_value("1")).await.unwrap();
    let (client, _orders) = client(&kafka).await;
    let config = KafkaSourceConfig {
        group_id: "billing".into(),
        topics: vec!["orders".into()],
        commit_timeout_ms: 120_000,
        ..Default::default()
    };
    let mut source = KafkaSource::<u32>::builder(config).transport(kafka.clone()).build().await.unwrap();
    (0..10).for_each(|_| kafka.next_commit(CommitFault::Lose));
    source.recv().await.unwrap().ack();
    let report = now().source(source.control()).client(&client).run(std::future::ready(())).await;
    assert_eq!(report.elapsed.as_secs(), 20, "{report}");
    assert!(!report.sources[0].left && report.sinks[0].is_ok(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn serve_is_a_server_that_ends_with_the_shutdown() {
    let kafka = kafka();
    kafka.transport().call(Record::new("orders").with_value("7")).await.unwrap();
    let (client, _orders) = client(&kafka).await;
    let payments = client.sink::<u32>("payments").build().await.unwrap();
    let source = source(&kafka).await;
    let handler = move |message: SourceMessage<u32>| {
        let payments = payments.clone();
        async move {
            sleep(s(5)).await;
            payments.send(*message.value().unwrap()).await.map(drop)
        }
    };
    let shutdown = Shutdown::when(sleep(s(1)), DEADLINE).source(source.control()).client(&client);
    let serve = source.serve(service_fn(handler)).until(shutdown.begun());
    let report = shutdown.run(serve).await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.server.unwrap().unwrap().settled, 1);
    assert_eq!((report.sources[0].settled, kafka.len("payments")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_at_once_whatever_is_waited_for() {
    // Into the times of the server, of the sources, and of the sinks.
    for at in [3, 17, 22] {
        Lines::start();
        let kafka = kafka();
        kafka.transport().call(Record::new("payments").with_value("1")).await.unwrap();
        let (client, orders) = client(&kafka).await;
        let config = KafkaSourceConfig { topics: vec!["payments".into()], group_id: "g".into(), ..Default::default() };
        let mut source = KafkaSource::<u32>::builder(config).transport(kafka.clone()).build().await.unwrap();
        let never = source.recv().await.unwrap();
        let _hold = kafka.script().on_topic("orders").always().hold();
        let send = sent(orders.send(1)).await;
        let shutdown = now().at_once_when(sleep(s(at))).source(source.control()).client(&client);
        let report = shutdown.run(std::future::pending::<()>()).await;
        assert_eq!((report.elapsed.as_secs(), report.at_once, report.server), (at, true, None));
        assert_eq!(
            report.to_string(),
            format!(
                "shut down in {at} s, at a second signal: the server was still running; a source was closed early: 0 \
                 acknowledged, 0 skipped; payments[0]: 1 message not settled; 1 record may have been written (first error: the \
                 delivery to orders was not confirmed: the transport was closed before the answer)"
            )
        );
        assert_eq!(
            LINES.take()[1..],
            ["WARN a second signal: shutting down at once".to_owned(), format!("ERROR {report}")]
        );
        assert_eq!(report.into_undelivered().len(), 1);
        assert_eq!(send.await.unwrap().unwrap_err().persistence(), Persistence::PossiblyPersisted);
        drop(never);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_commit_keeps_a_shutdown_at_once_for_a_second() {
    let kafka = kafka();
    kafka.transport().call(Record::new("orders").with_value("1")).await.unwrap();
    let mut source = source(&kafka).await;
    (0..100).for_each(|_| kafka.next_commit(CommitFault::Lose));
    source.recv().await.unwrap().ack();
    let shutdown = now().at_once_when(sleep(s(2))).source(source.control());
    let report = shutdown.run(std::future::ready(())).await;
    assert_eq!((report.elapsed.as_secs(), report.sources[0].left), (3, false), "{report}");
}

/// The signals that a process gets, sent by a program.
#[cfg(unix)]
#[tokio::test]
async fn the_second_signal_of_a_process_ends_its_shutdown() {
    let kill = || std::process::Command::new("kill").arg(std::process::id().to_string()).status().unwrap();
    let shutdown = Shutdown::on_signal(s(3_600)).unwrap();
    let begun = shutdown.begun();
    let run = tokio::spawn(shutdown.run(std::future::pending::<()>()));
    assert!(kill().success());
    begun.await;
    assert!(!run.is_finished(), "its time is not over");
    assert!(kill().success());
    let report = run.await.unwrap();
    assert!(report.at_once && report.server.is_none(), "{report}");
}
