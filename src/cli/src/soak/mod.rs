//! `kafka-tower soak`: sends numbered records, reads them back, and compares.

mod ledger;
mod pace;
mod reader;
mod record;
mod summary;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use kafka_tower::layers::serialize::BytesSerializer;
use kafka_tower::{KafkaSink, KafkaSinkConfig, KafkaSourceConfig, Persistence, SinkMessage, StartFrom, Timestamp};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::args::{Common, SoakArgs};
use crate::exit::{End, Failure};
use crate::fixed::{self, Logs};
use crate::interrupt::Interrupt;
use crate::output::{BARS, document, result};
use crate::settings::{self, Settings, Side};
use ledger::{Ledger, Said};
use pace::Pace;
use reader::Reader;
use record::Records;
use summary::{Run, Summary};

/// Time between two questions about the ends of the topic.
const AGAIN: Duration = Duration::from_millis(500);

pub(crate) async fn run(common: &Common, args: &SoakArgs, interrupt: Interrupt) -> Result<End, Failure> {
    let settings = Settings::read(common, Side::Sink)?;
    let config = settings.sink(args.topic.as_deref())?;
    settings::needs_topic(&config)?;
    let config = KafkaSinkConfig { enable_transactions: false, ..config };
    config.validate()?;
    let source = fixed::without_group(settings.source(None, std::slice::from_ref(&config.topic))?);
    // Nothing that was written before is read, and nothing that is written from now on is skipped.
    let source = KafkaSourceConfig { start: StartFrom::Earliest, ..source };

    let run = format!("{:x}-{:x}", Timestamp::now().as_millis(), std::process::id());
    let soak = Soak {
        records: Records::new(run, args.keys, args.size),
        ledger: Arc::new(Mutex::new(Ledger::new(args.keys))),
        pace: Pace::new(args.rate, args.count, args.duration),
        settle: args.settle,
    };
    let opened = async {
        let logs = fixed::logs(&source).await?;
        let begins = logs.into_iter().map(|(at, log)| (at, Some(log.end))).collect();
        let reader = fixed::read(source.clone(), begins).await?;
        let sink = KafkaSink::builder(config).serializer(Arc::new(BytesSerializer)).build().await?;
        Ok::<_, Failure>((reader, sink))
    };
    let (reader, sink) = tokio::select! {
        opened = opened => opened?,
        () = interrupt.raised() => return Ok(interrupt.end().unwrap_or(End::Failed)),
    };
    let reader = Reader::start(reader, soak.records.clone(), Arc::clone(&soak.ledger));

    let started = Instant::now();
    soak.send(&sink, &interrupt).await;
    let elapsed = started.elapsed();
    let (complete, metrics) = (soak.read_to_the_end(&source, reader).await, sink.metrics().await);
    let facts = Run {
        elapsed,
        p50_latency_us: metrics.p50_latency_us,
        p99_latency_us: metrics.p99_latency_us,
        last_error: metrics.last_error_msg.clone(),
    };
    let summary = Summary::new(soak.ledger().verdict(complete), complete, facts);
    if common.json {
        document(&summary)?;
    } else {
        result(&summary.to_string())?;
    }
    // A signal only makes it shorter: its verdict counts.
    Ok(if summary.passed { interrupt.end().unwrap_or(End::Good) } else { End::Failed })
}

struct Soak {
    records: Records,
    ledger: Arc<Mutex<Ledger>>,
    pace: Pace,
    settle: Duration,
}

impl Soak {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all records and takes their outcomes.
    async fn send(&self, sink: &KafkaSink<Bytes>, interrupt: &Interrupt) {
        let started = Instant::now();
        let messages = stream::unfold(0, |number| async move {
            let due = self.pace.due(number, started.elapsed())?;
            if due > started.elapsed() {
                sleep_until(started + due).await;
            }
            let number = self.ledger().send();
            let message = SinkMessage::new(Bytes::from(self.records.value(number))).with_key(self.records.key(number));
            Some((message, number + 1))
        });
        let bar = BARS.add(ProgressBar::new_spinner());
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg} {elapsed_precise}")
                .unwrap_or(ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(AGAIN);

        // The outcomes come in the order of the numbers.
        let mut outcomes = pin!(sink.send_stream(messages.take_until(interrupt.raised())).enumerate());
        let mut interrupted = pin!(async {
            interrupt.raised().await;
            sleep(self.settle).await;
        });
        let mut given_up = false;
        loop {
            let outcome = tokio::select! {
                outcome = outcomes.next() => outcome,
                () = &mut interrupted, if !given_up => {
                    given_up = true;
                    let sink = sink.clone();
                    tokio::spawn(async move { drop(sink.close_within(Duration::ZERO).await) });
                    continue;
                }
            };
            let Some((number, outcome)) = outcome else { break };
            let said = match outcome.map_or_else(|error| error.persistence(), |delivery| delivery.persistence) {
                Persistence::Persisted => Said::Delivered,
                Persistence::NotPersisted => Said::NotPersisted,
                Persistence::PossiblyPersisted => Said::PossiblyPersisted,
            };
            self.ledger().said(number as u64, said);
            if !bar.is_hidden() {
                let counts = self.ledger().counts();
                let failed = counts.not_persisted + counts.possibly_persisted;
                bar.set_message(format!(
                    "{} sent, {} delivered, {failed} failed, {} read",
                    counts.sent, counts.delivered, counts.read
                ));
            }
        }
        bar.finish_and_clear();
        // Records without an answer may still arrive: after the close none does.
        drop(sink.close_within(self.settle).await);
    }

    /// Reads up to the end that the topic has when nothing is sent any more.
    async fn read_to_the_end(&self, source: &KafkaSourceConfig, reader: Reader) -> bool {
        let deadline = Instant::now() + self.settle;
        let ends = async {
            loop {
                // A partition may have no leader for a time.
                match fixed::logs(source).await {
                    Ok(logs) => return logs,
                    Err(_) => sleep(AGAIN).await,
                }
            }
        };
        let ends = timeout(self.settle, ends).await.unwrap_or_else(|_| Logs::new());
        let known = !ends.is_empty();
        let ends: BTreeMap<_, _> = ends.into_iter().map(|(at, log)| (at, log.end)).collect();
        reader.finish(ends, deadline.saturating_duration_since(Instant::now())).await && known
    }
}
