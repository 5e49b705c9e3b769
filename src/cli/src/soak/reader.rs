//! Reads back what was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kafka_tower::source::{SourceError, SourceRecovery};
use kafka_tower::{KafkaSource, TopicPartition};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ledger::Ledger;
use super::record::{Found, Records};
use crate::exit::Failure;
use crate::fixed::has_passed;
use crate::output::say;

/// Interval at which partitions without records are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The ends to which is read, once they are known.
type Ends = BTreeMap<TopicPartition, i64>;

/// A task that reads until it has reached the ends.
pub(super) struct Reader {
    ends: watch::Sender<Option<Ends>>,
    task: JoinHandle<Result<(), SourceError>>,
}

impl Reader {
    pub(super) fn start(mut source: KafkaSource<Bytes>, records: Records, ledger: Arc<Mutex<Ledger>>) -> Self {
        let (ends, known) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                if known.borrow().as_ref().is_some_and(|ends| is_at(&source, ends)) {
                    drop(source.close_within(Duration::ZERO).await);
                    return Ok(());
                }
                match timeout(LOOK, source.recv()).await {
                    Err(_) => {}
                    Ok(Ok(message)) => {
                        let found =
                            records.find(message.key().map(|key| &**key), message.value().map(|value| &**value));
                        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                        match found {
                            Found::Number(number) => ledger.read(number),
                            Found::Damaged => ledger.damaged(),
                            Found::Foreign => {}
                        }
                        message.ack();
                    }
                    Ok(Err(error)) if error.recovery() == SourceRecovery::Stop => return Err(error),
                    Ok(Err(error)) => say(&format!("reading: {}", Failure::from(error))),
                }
            }
        });
        Self { ends, task }
    }

    /// Reads up to these ends, within a time. Returns whether it reached them.
    pub(super) async fn finish(mut self, ends: Ends, within: Duration) -> bool {
        self.ends.send_replace(Some(ends));
        match timeout(within, &mut self.task).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(error))) => {
                say(&format!("reading: {}", Failure::from(error)));
                false
            }
            Ok(Err(_)) => false,
            Err(_) => {
                self.task.abort();
                false
            }
        }
    }
}

fn is_at(source: &KafkaSource<Bytes>, ends: &Ends) -> bool {
    let next = source.checkpoint();
    ends.iter().all(|(at, end)| has_passed(&next, at, *end))
}
