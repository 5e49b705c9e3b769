//! `kafka-tower send`: sends lines, and accounts for each.

mod input;
mod journal;
mod line;
mod progress;
mod report;
mod summary;

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use kafka_tower::layers::serialize::BytesSerializer;
use kafka_tower::{Delivery, KafkaSink, KafkaSinkConfig, Persistence, Recovery, Result as Sent, Transaction};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::args::{Common, SendArgs};
use crate::exit::{End, Failure};
use crate::interrupt::Interrupt;
use crate::output::{document, result, say};
use crate::settings::{self, Settings, Side};
use input::Input;
use journal::{Journal, messages};
use line::Parser;
use progress::Progress;
use report::Report;
use summary::{Counts, Outcome, Summary, TransactionEnd};

pub(crate) async fn run(common: &Common, args: &SendArgs, interrupt: Interrupt) -> Result<End, Failure> {
    let parser = Parser::new(args).map_err(|problem| Failure::usage(problem, "see kafka-tower send --help"))?;
    let config = Settings::read(common, Side::Sink)?.sink(args.topic.as_deref())?;
    settings::needs_topic(&config)?;
    let config = of_send(config, args.transactional_id.as_deref());
    config.validate()?;
    let input = Input::open(args.file.as_deref(), args.max_line_bytes)?;
    let report = Report::new(args, common.json)?;
    let connected = KafkaSink::builder(config).serializer(Arc::new(BytesSerializer)).build();
    let sink = tokio::select! {
        sink = connected => sink?,
        () = interrupt.raised() => return Ok(interrupt.end().unwrap_or(End::Failed)),
    };
    let mut sending = Sending { sink, args, interrupt, report, counts: Counts::default(), started: Instant::now() };
    let (summary, input_failed) = sending.all(input, &parser).await?;
    let Sending { sink, report, .. } = sending;
    // Every line has its outcome, so nothing can be left.
    drop(sink.close_within(args.drain).await);

    let reported = report.finish();
    let printed = if common.json { document(&summary) } else { result(&summary.to_string()) };
    match reported.and(printed).and(input_failed) {
        // The reader of the output may be gone, but not the lines.
        Err(Failure::PipeClosed) | Ok(()) => Ok(summary.end()),
        Err(failure) => Err(failure),
    }
}

/// The settings of a sink that sends what a person waits for.
fn of_send(config: KafkaSinkConfig, transactional_id: Option<&str>) -> KafkaSinkConfig {
    KafkaSinkConfig {
        // A breaker would refuse all lines that follow an outage, as fast as they are read.
        enable_circuit_breaker: false,
        enable_transactions: transactional_id.is_some(),
        transactional_id: transactional_id.map(str::to_owned).or(config.transactional_id.clone()),
        ..config
    }
}

struct Sending<'a> {
    sink: KafkaSink<Bytes>,
    args: &'a SendArgs,
    interrupt: Interrupt,
    report: Report,
    counts: Counts,
    started: Instant,
}

impl Sending<'_> {
    /// Sends all lines. The second result is that of reading them.
    async fn all(&mut self, input: Input, parser: &Parser) -> Result<(Summary, Result<(), Failure>), Failure> {
        let Input { mut lines, read, size } = input;
        let journal = Rc::new(RefCell::new(Journal::default()));
        let (stop, mut stopped) = watch::channel(false);
        let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let transaction = self.begin().await?;
        let progress = Progress::start(size, read);
        let messages = messages(&mut lines, parser, Rc::clone(&journal)).take_until(until);
        match &transaction {
            Some(transaction) => self.outcomes(transaction.send_stream(messages), &journal, &stop, &progress).await,
            None => self.outcomes(self.sink.clone().send_stream(messages), &journal, &stop, &progress).await,
        }
        let is_whole = !*stop.borrow();
        let transaction = match transaction {
            Some(transaction) => Some(self.end(transaction, is_whole, &journal).await),
            None => None,
        };
        progress.finish();

        let failed = journal.borrow_mut().failed.take();
        let stopped = failed.is_some() || *stop.borrow() && !(lines.is_closed() && lines.is_empty());
        let input = failed.map_or(Ok(()), |broken| Err(broken.failure()));
        Ok((Summary::new(self.counts, transaction, stopped, self.interrupt.end(), self.started.elapsed()), input))
    }

    /// Takes the outcomes of all lines. After Ctrl-C, or if failures end it, reads no more lines.
    async fn outcomes(
        &mut self,
        outcomes: impl Stream<Item = Sent<Delivery>>,
        journal: &RefCell<Journal>,
        stop: &watch::Sender<bool>,
        progress: &Progress,
    ) {
        let mut outcomes = pin!(outcomes);
        let interrupt = self.interrupt.clone();
        let mut interrupted = pin!(interrupt.raised());
        let mut drained: Option<Instant> = None;
        let mut given_up = false;
        loop {
            let outcome = tokio::select! {
                biased;
                () = &mut interrupted, if drained.is_none() => {
                    stop.send_replace(true);
                    drained = Some(Instant::now() + self.args.drain);
                    continue;
                }
                () = sleep_until(drained.unwrap_or_else(Instant::now)), if drained.is_some() && !given_up => {
                    given_up = true;
                    let sink = self.sink.clone();
                    // It ends all sends, and each says how.
                    tokio::spawn(async move { drop(sink.close_within(Duration::ZERO).await) });
                    continue;
                }
                outcome = outcomes.next() => outcome,
            };
            let ended = outcome.is_none();
            let refused = std::mem::take(&mut journal.borrow_mut().refused);
            for (line, error) in refused {
                let outcome = self.report.failed(line.number, &line.text, &error);
                self.counts.add(outcome, 0);
            }
            if let Some(outcome) = outcome {
                let sent = journal.borrow_mut().sent.pop_front();
                self.account(outcome, sent);
            }
            (self.counts.lines, self.counts.blank) = (journal.borrow().lines, journal.borrow().blank);
            progress.show(&self.counts);
            if ended {
                return;
            }
            let is_too_much = self.args.max_failed.is_some_and(|most| self.counts.failed() >= most);
            if is_too_much || self.report.is_broken() {
                stop.send_replace(true);
            }
        }
    }

    fn account(&mut self, outcome: Sent<Delivery>, sent: Option<journal::Sent>) {
        // The stream yields one outcome for each message, in their order.
        let Some(journal::Sent { line, bytes }) = sent else { return };
        let outcome = match outcome {
            Ok(delivery) if delivery.persistence == Persistence::Persisted => Outcome::Delivered,
            Ok(_) => Outcome::Unacknowledged,
            Err(error) => self.report.failed(line.number, &line.text, &error),
        };
        self.counts.add(outcome, bytes);
    }

    async fn begin(&self) -> Result<Option<Transaction<Bytes>>, Failure> {
        match self.args.transactional_id {
            Some(_) => Ok(Some(self.sink.transaction().await?)),
            None => Ok(None),
        }
    }

    /// Commits if all lines were written, and aborts otherwise.
    async fn end(&self, transaction: Transaction<Bytes>, is_whole: bool, journal: &RefCell<Journal>) -> TransactionEnd {
        let is_whole = is_whole && self.counts.failed() == 0 && journal.borrow().failed.is_none();
        if !is_whole {
            // An abort without an answer goes on; without a commit nothing becomes visible in any case.
            if let Err(error) = transaction.abort().await {
                say(&format!("the abort had no answer: {error:#}"));
            }
            return TransactionEnd::Aborted;
        }
        let mut committed = transaction.commit().await;
        while committed.as_ref().is_err_and(|error| error.recovery() == Recovery::Retry)
            && self.interrupt.end().is_none()
        {
            committed = self.sink.commit_transaction().await;
        }
        match committed {
            Ok(()) => TransactionEnd::Committed,
            Err(error) => {
                say(&format!("the transaction was not committed: {error:#}"));
                let is_known = error.persistence() == Persistence::NotPersisted && error.recovery() != Recovery::Retry;
                if is_known { TransactionEnd::Aborted } else { TransactionEnd::Unknown }
            }
        }
    }
}
