//! Transactions that survive kills: each transfer is in every partition, whole and once.
//!
//! ```text
//! cargo run -p kafka-tower-testkit --features kafka --example serve -- --brokers 3 exactly-once
//! KAFKA_BROKERS=… cargo run --example exactly_once
//! ```
//!
//! The first command runs a cluster of three brokers and prints its address; `kill 2` and `start 2` on its standard
//! input kill a broker and start it again. The second writes transfers in transactions and reads them back with a
//! `read_committed` reader of librdkafka, which checks each record. Kill it with `kill -9` and start it again: it goes
//! on where the log ends. Ctrl-C ends it with a verdict.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod check;
mod reader;

use std::env;
use std::error::Error as StdError;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kafka_tower::{Error, ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, Recovery, SinkMessage};
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

use crate::check::PARTS;
use crate::reader::Reader;

/// Pause after an error, so that a broker that is away is not asked all the time.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    transfer: u64,
    part: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool, Box<dyn StdError>> {
    let brokers = env::var("KAFKA_BROKERS").map_err(|_| "set KAFKA_BROKERS to the address of a cluster")?;
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| "exactly-once".to_owned());
    let config = KafkaSinkConfig::exactly_once(&brokers, &topic, format!("{topic}-writer"));

    // Connecting ends what a killed writer left open, so that the log is final when it is read.
    let mut sink = KafkaSink::<Part>::new(config.clone()).await?;
    let partitions = sink.control().partition_count(&topic).unwrap_or_default();
    let mut reader = Reader::new(&brokers, &topic, partitions)?;
    block_in_place(|| reader.read_to_end())?;
    let mut transfer = reader.check.whole();
    println!("{topic}: {transfer} transfers in {partitions} partitions. Ctrl-C ends with a verdict.\n");

    let mut counts = Counts::default();
    let mut shown = Instant::now();
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        let end = tokio::select! {
            end = write(&sink, transfer, partitions) => end,
            _ = &mut stop => break,
        };
        match end {
            End::Committed => {
                counts.committed += 1;
                transfer += 1;
            }
            // No reader of committed records sees any of it, so the transfer is sent again.
            End::Aborted(error) => {
                counts.aborted += 1;
                println!("  aborted: {error:#}");
                tokio::time::sleep(PAUSE).await;
            }
            // A new sink waits until the old transaction is committed or aborted. Then the log says which.
            End::Unknown(error) => {
                counts.unknown += 1;
                println!("  unknown: {error:#}");
                drop(sink);
                sink = connected(&config).await?;
                block_in_place(|| reader.read_to_end())?;
                transfer = reader.check.whole();
                println!("  the log says: {transfer} transfers");
            }
            End::Fenced(error) => return Err(error.into()),
        }
        reader.read(Duration::ZERO)?;
        if shown.elapsed() >= Duration::from_secs(1) {
            shown = Instant::now();
            println!("{counts}   read back {} whole{}", reader.check.whole(), faults(&reader, false));
        }
    }
    // Aborts the transaction that Ctrl-C interrupted, or reports that its commit is not known.
    let closed = sink.close().await;
    block_in_place(|| reader.read_to_end())?;
    let (whole, mut good) = (reader.check.whole(), reader.check.lost + reader.check.doubled + reader.check.torn() == 0);
    println!("\n{counts}   read back {whole} whole{}", faults(&reader, true));
    if whole < transfer {
        println!("{} transfers whose commit returned Ok are not in the log", transfer - whole);
        good = false;
    }
    if let Err(error) = closed {
        println!("close: {error}");
    }
    println!("{}", if good { "Every transfer is whole, and there once." } else { "NOT exactly once." });
    Ok(good)
}

/// How the transaction of a transfer ended.
enum End {
    Committed,
    Aborted(Error),
    Unknown(Error),
    /// Another process uses the transactional id.
    Fenced(Error),
}

impl End {
    fn of(error: Error) -> Self {
        match (error.kind(), error.persistence(), error.recovery()) {
            // Its time was over, or another process has the id: the next begin says which.
            (ErrorKind::Fenced, Persistence::NotPersisted, _) => Self::Aborted(error),
            (_, Persistence::NotPersisted, recovery) if recovery != Recovery::Fatal => Self::Aborted(error),
            // A new sink also cures a producer that cannot go on.
            _ => Self::Unknown(error),
        }
    }
}

/// Writes a transfer into every partition in one transaction.
async fn write(sink: &KafkaSink<Part>, transfer: u64, partitions: u32) -> End {
    let tx = match sink.transaction().await {
        Ok(tx) => tx,
        Err(error) if error.kind() == ErrorKind::Fenced => return End::Fenced(error),
        Err(error) => return End::of(error),
    };
    let messages = (0..partitions).flat_map(|partition| {
        (0..PARTS).map(move |part| SinkMessage::new(Part { transfer, part }).with_partition(partition as i32))
    });
    let sent = tx.send_batch(messages).await;
    if let Some(error) = sent.and_then(|results| results.into_iter().collect::<Result<Vec<_>, _>>()).err() {
        // If the abort has no answer, it goes on, and the next transaction waits for it.
        return match tx.abort().await {
            Err(abort) if abort.recovery() == Recovery::Fatal => End::of(abort),
            _ => End::Aborted(error),
        };
    }
    let mut committed = tx.commit().await;
    // No answer yet: only the same call again says how it ended.
    while committed.as_ref().is_err_and(|error| error.recovery() == Recovery::Retry) {
        tokio::time::sleep(PAUSE).await;
        committed = sink.commit_transaction().await;
    }
    committed.map_or_else(End::of, |()| End::Committed)
}

/// Connects until a broker answers.
async fn connected(config: &KafkaSinkConfig) -> Result<KafkaSink<Part>, Error> {
    loop {
        match KafkaSink::new(config.clone()).await {
            Err(error) if matches!(error.recovery(), Recovery::Retry | Recovery::Wait) => {
                println!("  not connected: {error:#}");
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

#[derive(Default)]
struct Counts {
    committed: u64,
    aborted: u64,
    unknown: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "committed {:>6}   aborted {:>3}   unknown {:>3}", self.committed, self.aborted, self.unknown)
    }
}

/// The faults that the reader has found. A transfer is only known to be torn at the end of the log.
fn faults(reader: &Reader, at_end: bool) -> String {
    let (doubled, lost) = (reader.check.doubled, reader.check.lost);
    let torn = if at_end { format!("   torn {}", reader.check.torn()) } else { String::new() };
    format!("   doubled {doubled}   lost {lost}{torn}")
}
