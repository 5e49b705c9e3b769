//! `kafka-tower tail`: reads topics.

mod end;
mod from;
mod render;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use kafka_tower::source::{SourceError, SourceRecovery};
use kafka_tower::{KafkaSource, KafkaSourceConfig, SourceMessage, StartFrom};
use tokio::time::timeout;

use crate::args::{Common, TailArgs};
use crate::exit::{End, Failure};
use crate::fixed;
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::output::style::BAD;
use crate::settings::{Settings, Side};
use end::{Limits, Span};
pub(crate) use from::From;
use render::{Message, line};

/// Interval at which the places of partitions without messages are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes of output that are written at once, if messages come fast.
const BUFFER: usize = 65_536;

/// Messages that are acknowledged at once.
const HELD: usize = 1_000;

pub(crate) async fn run(common: &Common, args: &TailArgs, interrupt: Interrupt) -> Result<End, Failure> {
    let config = Settings::read(common, Side::Source)?.source(args.group.as_deref(), &args.topic)?;
    let from = args.from.unwrap_or(From::Latest);
    let mut interrupted = pin!(interrupt.raised());
    let opened = tokio::select! {
        opened = open(config, args, from) => opened?,
        () = &mut interrupted => return Ok(interrupt.end().unwrap_or(End::Failed)),
    };
    let (source, limits) = opened;
    let mut tail = Tail {
        source,
        limits,
        is_member: args.group.is_some(),
        json: common.json,
        terminal: io::stdout().is_terminal(),
        output: BufWriter::with_capacity(BUFFER, io::stdout()),
        written: Vec::new(),
        failed: 0,
    };
    let ended = tokio::select! {
        ended = tail.read() => ended,
        () = &mut interrupted => tail.flush(),
    };
    // The close would wait for them. A member of a group gives them back; otherwise nothing is read again.
    let unwritten = std::mem::take(&mut tail.written);
    if !tail.is_member {
        unwritten.iter().for_each(acknowledge);
    }
    drop(unwritten);
    let report = tail.source.close_within(args.drain).await;
    match ended {
        Err(failure) => Err(failure),
        Ok(()) if !report.is_complete() => {
            say(&format!("{BAD}error:{BAD:#} the source was closed: {report}"));
            Ok(End::Failed)
        }
        Ok(()) => Ok(interrupt.end().unwrap_or(End::of(tail.failed == 0))),
    }
}

/// Opens the source, and finds the ends of the logs if they matter.
async fn open(config: KafkaSourceConfig, args: &TailArgs, from: From) -> Result<(KafkaSource<Bytes>, Limits), Failure> {
    let names_none = config.topics.is_empty() && config.topic_pattern.is_none() && config.assign.is_empty();
    if names_none {
        return Err(Failure::usage("there is no topic", "name it with --topic, or set KAFKA_SOURCE_TOPICS"));
    }
    let needs_logs = args.group.is_none() || args.until_end || matches!(from, From::Offset(_) | From::BeforeEnd(_));
    let config = if args.group.is_none() { fixed::without_group(config) } else { config };
    let logs = if needs_logs { fixed::logs(&config).await? } else { fixed::Logs::new() };
    let is_member = args.group.is_some();
    let spans = logs.iter().map(|(at, log)| {
        let begin = log.committed.filter(|_| is_member).or_else(|| from.offset(*log));
        (at.clone(), Span { begin, end: log.end })
    });
    let limits = Limits { count: args.count, until: args.until_end.then(|| spans.collect()) };
    let source = if args.group.is_some() {
        fixed::of_bytes(KafkaSourceConfig { start: from.start(&logs), ..config }).build().await?
    } else {
        let begins = logs.iter().map(|(at, log)| (at.clone(), from.offset(*log))).collect();
        fixed::read(looked_up(config, from), begins).await?
    };
    Ok((source, limits))
}

/// A time is looked up for partitions for which the group has committed nothing, so it needs a group that has committed nothing.
fn looked_up(config: KafkaSourceConfig, from: From) -> KafkaSourceConfig {
    match from {
        From::Time(time) => {
            let now = kafka_tower::Timestamp::now().as_millis();
            let group_id = format!("{}-{}-{now}", config.group_id, std::process::id());
            KafkaSourceConfig { group_id, start: StartFrom::Timestamp(time), ..config }
        }
        From::Latest => KafkaSourceConfig { start: StartFrom::Latest, ..config },
        _ => KafkaSourceConfig { start: StartFrom::Earliest, ..config },
    }
}

struct Tail<W: Write> {
    source: KafkaSource<Bytes>,
    limits: Limits,
    is_member: bool,
    json: bool,
    terminal: bool,
    output: BufWriter<W>,
    /// Messages whose lines may still be in the buffer.
    written: Vec<SourceMessage<Bytes>>,
    /// Errors that the source went on after.
    failed: u64,
}

impl<W: Write> Tail<W> {
    /// Prints messages until a limit is reached. A message is acknowledged when its line was written.
    async fn read(&mut self) -> Result<(), Failure> {
        let mut printed = 0;
        while !self.limits.is_full(printed) {
            let received = match self.source.recv().now_or_never() {
                Some(received) => received,
                None if self.has_ended()? => break,
                None => match timeout(LOOK, self.source.recv()).await {
                    Ok(received) => received,
                    Err(_) => continue,
                },
            };
            let message = match received {
                Ok(message) => message,
                Err(error) => {
                    self.told(error)?;
                    continue;
                }
            };
            let is_at_end = self.limits.is_at_end(message.at(), message.offset());
            if self.is_member || self.limits.includes(message.at(), message.offset()) {
                self.print(message)?;
                printed += 1;
            } else {
                acknowledge(&message);
            }
            // Others may write faster than this reads.
            if is_at_end && self.has_ended()? {
                break;
            }
            if self.written.len() >= HELD {
                self.flush()?;
            }
        }
        self.flush()
    }

    /// Whether all is read that was there at the beginning, and acknowledged.
    fn has_ended(&mut self) -> Result<bool, Failure> {
        self.flush()?;
        Ok(self.limits.is_reached(&self.source.assignment(), &self.source.checkpoint()))
    }

    fn print(&mut self, message: SourceMessage<Bytes>) -> Result<(), Failure> {
        let text = if self.json {
            let mut text =
                serde_json::to_vec(&Message::of(&message)).map_err(|error| Failure::of_output(&error.into()))?;
            text.push(b'\n');
            text
        } else {
            line(message.value().map(|value| &**value).unwrap_or_default(), self.terminal)
        };
        self.written.push(message);
        self.output.write_all(&text).map_err(|error| Failure::of_output(&error))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.output.flush().map_err(|error| Failure::of_output(&error))?;
        self.written.drain(..).for_each(|message| acknowledge(&message));
        Ok(())
    }

    /// Prints an error; the source goes on after most.
    fn told(&mut self, error: SourceError) -> Result<(), Failure> {
        if error.recovery() == SourceRecovery::Stop {
            return Err(error.into());
        }
        self.failed += 1;
        say(&format!("{BAD}error:{BAD:#} {}", Failure::from(error)));
        Ok(())
    }
}

/// A message that is read again, because its partition was given to another member, is printed again: no error here.
fn acknowledge(message: &SourceMessage<Bytes>) {
    message.ack();
}
