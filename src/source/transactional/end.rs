//! One transaction: sends the outputs, adds the offsets, commits, and finds out how it ended.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::source::Span;
use kafka_tower_core::{Assignment, Error, Record, Result, SinkMessage, TopicOffset};
use tokio::time::{Instant, sleep};

use super::cut::Prefix;
use super::letters::{DeadLetters, Made};
use super::plan::{self, AfterBegin, AfterCommit, AfterUnknown};
use crate::sink::{KafkaSink, Transaction};
use crate::source::Shared;

/// Longest time of one question to the group.
const ASK: Duration = Duration::from_secs(5);

/// Part of `send_timeout_ms` that the offsets have at least, when the outputs took all of it.
const LAST: u32 = 10;

/// Number of times that the group is asked again before its answer is an error: 30 s.
const PATIENCE: u32 = 10;

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Outputs and offsets are there, and the source knows it.
    Committed,
    /// It was certainly aborted, or none was begun. `None`: a partition was given back, lost or read again; if that is true of
    /// all of its partitions, its end may be unknown, and does not matter.
    Aborted(Option<Error>),
    /// The sink cannot begin transactions any more. The last one was not committed, or the group's committed offsets say
    /// whether it was.
    Stopped(Error),
    /// Its end is unknown. It had only positions, which may be committed twice.
    Unknown(Error),
    /// Its end was unknown, and the committed offsets are not those before or after it.
    Moved(Error),
}

/// What a transaction sends.
pub(super) struct Outputs<U> {
    messages: Vec<SinkMessage<U>>,
    letters: Vec<Record>,
}

/// The records of a transaction. Without any, it only has positions.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) spans: Vec<Span>,
    /// Offset of the first record of each span.
    offsets: Vec<i64>,
    pub(super) records: usize,
}

impl Batch {
    /// Splits prefixes into their records and the outputs, in order.
    pub(super) fn of<U>(prefixes: Vec<Prefix<Made<U>>>) -> (Self, Outputs<U>) {
        let mut batch = Self::default();
        let mut outputs = Outputs { messages: Vec::new(), letters: Vec::new() };
        for Prefix { mut span, offset, results } in prefixes {
            batch.records += results.len();
            for made in results {
                match made {
                    Made::Outputs(messages) => outputs.messages.extend(messages),
                    Made::Letter(letter) => {
                        span.dead_letters += 1;
                        outputs.letters.push(*letter);
                    }
                }
            }
            batch.spans.push(span);
            batch.offsets.push(offset);
        }
        (batch, outputs)
    }
}

/// Runs a transaction.
pub(super) async fn run<U: Send + 'static>(
    shared: Arc<Shared>,
    sink: KafkaSink<U>,
    letters: Option<DeadLetters>,
    batch: Arc<Batch>,
    outputs: Outputs<U>,
) -> Ended {
    let transaction = match begin(&shared, &sink, &batch).await {
        Ok(transaction) => transaction,
        Err(ended) => return ended,
    };
    let begun = Instant::now();
    if let Err(error) = send(&transaction, letters, outputs).await {
        return aborted(transaction, Some(error)).await;
    }
    let within = transaction.within();
    let left = within.saturating_sub(begun.elapsed());
    if left.is_zero() {
        return aborted(transaction, Some(too_old())).await;
    }
    let Some((offsets, group)) = shared.offsets_after(&batch.spans) else {
        return aborted(transaction, None).await;
    };
    // Not the whole time again: the abort must come before the brokers' own.
    let left = left.max(within / LAST);
    if let Err(error) = transaction.send_offsets_within(offsets.clone(), group, left).await {
        return aborted(transaction, Some(error)).await;
    }
    // The epochs are not checked again: no other member handles these records before this transaction has ended. The group
    // accepted its offsets while this member was current. From then on, the next owner of the partitions asks for stable
    // offsets, and the coordinator answers `UNSTABLE_OFFSET_COMMIT` until the transaction's end is written: the
    // next reader begins behind a committed one, and at the old offset after an aborted one. An abort here would only
    // repeat work. Consumers ask for stable offsets if they read committed records only (KIP-447; librdkafka's
    // `rd_kafka_assignment.c`, Java's `ConsumerCoordinator`), which the configuration demands with this strategy. A member of the
    // same group that reads uncommitted records is not covered.
    match commit(&shared, &sink, transaction, &batch).await {
        Ok(()) => {
            shared.settle_spans(&batch.spans, &offsets);
            Ended::Committed
        }
        Err((AfterCommit::Unknown, error)) => unknown(&shared, &sink, &batch, &offsets, error).await,
        Err((AfterCommit::Aborted, error)) => Ended::Aborted(Some(error)),
        Err((AfterCommit::Again, error)) => {
            tracing::warn!(
                error = error.message(),
                "the source closes before the commit of a transaction has an answer"
            );
            Ended::Aborted(None)
        }
    }
}

/// Runs a transaction that commits the positions of partitions, without records: those behind transaction markers, aborted
/// records and records that were skipped.
pub(super) async fn run_positions<U: Send + 'static>(shared: Arc<Shared>, sink: KafkaSink<U>) -> Ended {
    let transaction = match sink.transaction().await {
        Ok(transaction) => transaction,
        Err(error) if plan::after_begin(&error) == AfterBegin::Stop => return Ended::Stopped(error),
        Err(error) => return Ended::Aborted(Some(error)),
    };
    let Some((passed, group)) = shared.passed() else {
        return aborted(transaction, None).await;
    };
    let offset = |(assigned, offset): &(Assignment, i64)| TopicOffset {
        topic: Arc::clone(&assigned.at.topic),
        partition: assigned.at.partition,
        offset: *offset,
    };
    if let Err(error) = transaction.send_offsets(passed.iter().map(offset).collect(), group).await {
        return aborted(transaction, Some(error)).await;
    }
    match commit(&shared, &sink, transaction, &Batch::default()).await {
        Ok(()) => {
            shared.committed_positions(&passed);
            Ended::Committed
        }
        Err((AfterCommit::Aborted, error)) => Ended::Aborted(Some(error)),
        // The sink's next transaction begins when this one has ended.
        Err((AfterCommit::Unknown | AfterCommit::Again, error)) => Ended::Unknown(error),
    }
}

/// Begins a transaction, and tries again as long as that can succeed and a record waits for it.
async fn begin<U>(shared: &Shared, sink: &KafkaSink<U>, batch: &Batch) -> Result<Transaction<U>, Ended> {
    for failed in 0.. {
        match sink.transaction().await {
            Ok(transaction) => return Ok(transaction),
            Err(error) if plan::after_begin(&error) == AfterBegin::Stop => return Err(Ended::Stopped(error)),
            Err(error) => {
                tracing::warn!(error = error.message(), "a transaction was not begun, and is tried again");
                pause(shared, batch, failed).await?;
            }
        }
    }
    unreachable!("it is tried again as often as it takes")
}

async fn send<U>(transaction: &Transaction<U>, dead: Option<DeadLetters>, outputs: Outputs<U>) -> Result<()> {
    let Outputs { messages, letters } = outputs;
    let mut errors = Vec::new();
    if !messages.is_empty() {
        errors.extend(transaction.send_batch(messages).await?.into_iter().filter_map(Result::err));
    }
    if let (Some(dead), false, true) = (dead, letters.is_empty(), errors.is_empty()) {
        errors = dead.send(transaction, letters).await?;
    }
    plan::cause_of(errors).map_or(Ok(()), Err)
}

async fn aborted<U>(transaction: Transaction<U>, cause: Option<Error>) -> Ended {
    if let Err(error) = transaction.abort().await {
        tracing::warn!(error = error.message(), "a transaction is not aborted yet: the next one waits for it");
    }
    Ended::Aborted(cause)
}

async fn commit<U>(
    shared: &Shared,
    sink: &KafkaSink<U>,
    transaction: Transaction<U>,
    batch: &Batch,
) -> Result<(), (AfterCommit, Error)> {
    let Err(mut error) = transaction.commit().await else { return Ok(()) };
    let mut is_first = true;
    for failed in 0.. {
        let after = plan::after_commit(&error);
        if after == AfterCommit::Aborted && !is_first {
            // The guard did not do it.
            if let Err(error) = sink.abort_transaction().await {
                tracing::warn!(error = error.message(), "a transaction is not aborted yet");
            }
        }
        if after != AfterCommit::Again {
            return Err((after, error));
        }
        tracing::warn!(error = error.message(), "the commit of a transaction had no answer, and is called again");
        // Also if its partitions have gone: before the answer, the sink begins no other transaction.
        if pause(shared, batch, failed).await.is_err() && shared.state().engine.is_closing() {
            return Err((AfterCommit::Again, error));
        }
        match sink.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(next) => error = next,
        }
        is_first = false;
    }
    unreachable!("it is called again as often as it takes")
}

/// Finds out how a transaction ended: its offsets are in the group if and only if its outputs are visible.
async fn unknown<U>(shared: &Shared, sink: &KafkaSink<U>, batch: &Batch, ends: &[TopicOffset], cause: Error) -> Ended {
    tracing::warn!(error = cause.message(), "it is unknown how a transaction ended: the group is asked");
    // The new transaction begins only when the old one has ended.
    match begin(shared, sink, batch).await {
        Ok(transaction) => drop(transaction.abort().await),
        Err(ended) => return ended,
    }
    let partitions: Vec<_> = batch.spans.iter().map(|span| span.at.clone()).collect();
    for failed in 0.. {
        match shared.consumer().committed(&partitions, ASK).await {
            Ok(committed) => {
                let spans = batch.spans.iter().zip(&batch.offsets).zip(ends).zip(committed);
                // Whoever has the others commits their offsets.
                let ours = spans.filter(|(((span, _), _), _)| shared.is_current(span));
                match plan::after_unknown(ours.map(|(((_, first), end), committed)| (*first, end.offset, committed))) {
                    AfterUnknown::Committed => {
                        shared.settle_spans(&batch.spans, ends);
                        return Ended::Committed;
                    }
                    AfterUnknown::Aborted => return Ended::Aborted(Some(cause)),
                    AfterUnknown::Lost => return Ended::Aborted(None),
                    AfterUnknown::Moved if failed >= PATIENCE => return Ended::Moved(cause),
                    // The source may not have learned yet that it has lost them.
                    AfterUnknown::Moved => {}
                }
            }
            Err(error) if plan::after_begin(&error) == AfterBegin::Stop => return Ended::Stopped(error),
            Err(error) => {
                tracing::warn!(error = error.message(), "the group did not say what is committed, and is asked again");
            }
        }
        if let Err(ended) = pause(shared, batch, failed).await {
            return ended;
        }
    }
    unreachable!("it is asked again as often as it takes")
}

/// Waits before the next try. Fails if no record of the batch is ours any more: then nothing has to be known.
async fn pause(shared: &Shared, batch: &Batch, failed: u32) -> Result<(), Ended> {
    sleep(plan::backoff(failed)).await;
    let ours = batch.spans.iter().any(|span| shared.is_current(span));
    if ours { Ok(()) } else { Err(Ended::Aborted(None)) }
}

fn too_old() -> Error {
    use kafka_tower_core::{ErrorKind, Persistence, Recovery};
    Error::new(ErrorKind::Timeout, "the outputs of a transaction were not sent within `send_timeout_ms`")
        .with_recovery(Recovery::AbortTransaction)
        .with_persistence(Persistence::NotPersisted)
        .with_help("lower `max_records`, or raise `send_timeout_ms` and `transaction.timeout.ms`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::too_old());
    }
}
