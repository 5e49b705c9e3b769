//! What a careful client does for one partition: one batch at a time, sent until its fate is known.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::careful::{Defect, Queued, Shared, any, failed, metadata, versions};
use super::peer::{TIMEOUT, batch_of, bytes_of, produce, read};
use crate::cluster::PORT;
use crate::codes::{
    INVALID_PRODUCER_EPOCH, INVALID_RECORD, MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS, NOT_LEADER_OR_FOLLOWER,
    OUT_OF_ORDER_SEQUENCE, UNKNOWN_TOPIC_ID,
};

const BACKOFF: Duration = Duration::from_millis(100);
const GIVES_UP: Duration = Duration::from_secs(300);
const MOST_RECORDS: usize = 3;

/// What became of an attempt.
enum Attempt {
    /// The request was not written wholly, or the time was over: then the doubt says whether it was.
    NotSent,
    /// There is no answer. With `acks=0` none is sent.
    Unanswered,
    Answered(i16, i64),
}

/// The records of a partition.
pub(super) struct Lane {
    shared: Arc<Shared>,
    topic: &'static str,
    partition: i32,
    stream: Option<(DuplexStream, Uuid)>,
    /// The producer id, and the next sequence number.
    id: Option<i64>,
    next: i32,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, topic: &'static str, partition: i32) -> Self {
        Self { shared, topic, partition, stream: None, id: None, next: 0 }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Queued>) {
        while let Some(first) = queue.recv().await {
            let mut records = vec![first];
            while records.len() < MOST_RECORDS {
                let Ok(next) = queue.try_recv() else { break };
                records.push(next);
            }
            if self.shared.defect == Defect::Overtakes {
                records.reverse();
            }
            let now = Instant::now().into_std();
            let (late, records): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|queued| queued.record.expires_at.is_some_and(|at| at <= now));
            self.fail(late, ErrorKind::Timeout, Persistence::NotPersisted);
            if !records.is_empty() {
                self.settle(records).await;
            }
        }
    }

    /// Sends a batch until its fate is known.
    async fn settle(&mut self, mut records: Vec<Queued>) {
        let (start, mut doubt) = (Instant::now(), false);
        let acks = self.shared.profile.acks;
        loop {
            let ends = *self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner);
            let left = ends.map_or(TIMEOUT, |ends| ends.saturating_duration_since(Instant::now())).min(TIMEOUT);
            if left.is_zero() || start.elapsed() > GIVES_UP {
                return self.give_up(records, doubt);
            }
            match timeout(left, self.attempt(&records, &mut doubt)).await.unwrap_or(Attempt::NotSent) {
                Attempt::NotSent => self.stream = None,
                Attempt::Unanswered if acks == 0 && self.stream.is_some() => {
                    return records.into_iter().for_each(|queued| {
                        self.answer(queued, Ok(self.delivery().with_persistence(Persistence::PossiblyPersisted)))
                    });
                }
                Attempt::Unanswered => {
                    self.stream = None;
                    match self.shared.defect {
                        Defect::DeniesDoubt if doubt => return self.give_up(records, false),
                        Defect::NewIdInDoubt => self.id = None,
                        _ => {}
                    }
                }
                Attempt::Answered(NOT_LEADER_OR_FOLLOWER, _) if self.shared.defect == Defect::BelievesNotLeader => {
                    self.next += i32::try_from(records.len()).expect("few");
                    return records.into_iter().for_each(|queued| self.answer(queued, Ok(self.delivery())));
                }
                Attempt::Answered(0, offset) => {
                    self.next += i32::try_from(records.len()).expect("few");
                    let wrong = i64::from(self.shared.defect == Defect::WrongOffset);
                    for (offset, queued) in (offset + wrong..).zip(records) {
                        self.answer(queued, Ok(self.delivery().with_offset(offset)));
                    }
                    return;
                }
                Attempt::Answered(NOT_ENOUGH_REPLICAS | UNKNOWN_TOPIC_ID, _) => self.stream = None,
                Attempt::Answered(OUT_OF_ORDER_SEQUENCE | INVALID_PRODUCER_EPOCH, _) if !doubt => self.id = None,
                Attempt::Answered(MESSAGE_TOO_LARGE | INVALID_RECORD, _) if !doubt => {
                    let Some(last) = records.pop() else { return };
                    if records.is_empty() {
                        return self.fail(vec![last], ErrorKind::InvalidRecord, Persistence::NotPersisted);
                    }
                    records.push(last);
                    for queued in records {
                        Box::pin(self.settle(vec![queued])).await;
                    }
                    return;
                }
                Attempt::Answered(
                    OUT_OF_ORDER_SEQUENCE | INVALID_PRODUCER_EPOCH | MESSAGE_TOO_LARGE | INVALID_RECORD,
                    _,
                ) => return self.give_up(records, doubt),
                Attempt::Answered(..) => {
                    doubt = true;
                    self.stream = None;
                }
            }
            // Without sequence numbers a second attempt may write it twice.
            if doubt && acks != -1 {
                return self.give_up(records, doubt);
            }
            sleep(BACKOFF).await;
        }
    }

    async fn attempt(&mut self, records: &[Queued], doubt: &mut bool) -> Attempt {
        let profile = self.shared.profile;
        if self.id.is_none() {
            let id = if profile.is_idempotent() { self.new_id().await } else { Some(-1) };
            let Some(id) = id else { return Attempt::NotSent };
            (self.id, self.next) = (Some(id), if id < 0 { -1 } else { 0 });
        }
        if self.stream.is_none() {
            self.stream = self.leader().await;
        }
        let Some((stream, topic)) = &mut self.stream else { return Attempt::NotSent };
        let stamp = self.id.map_or((-1, -1, -1), |id| (id, if id < 0 { -1 } else { 0 }, self.next));
        let pairs = records.iter().map(|queued| {
            let Record { key, value, .. } = &queued.record;
            (key.clone(), value.clone().unwrap_or_default())
        });
        let batch = batch_of(stamp, &pairs.collect::<Vec<_>>());
        let [version, ..] = versions(profile.versions);
        let request = produce((self.topic, *topic), self.partition, profile.acks, version, batch);
        if stream.write_all(&bytes_of(&request, version, 1)).await.is_err() {
            return Attempt::NotSent;
        }
        if profile.acks == 0 {
            return Attempt::Unanswered;
        }
        // From here on the future may be dropped, and the request executed all the same.
        let before = std::mem::replace(doubt, true);
        let Some(answer) = read::<ProduceRequest>(stream, version, 1).await else {
            return Attempt::Unanswered;
        };
        *doubt = before;
        let part = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        part.map_or(Attempt::Unanswered, |part| Attempt::Answered(part.error_code, part.base_offset))
    }

    async fn new_id(&self) -> Option<i64> {
        let [_, _, version] = versions(self.shared.profile.versions);
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1);
        let answer = any(&self.shared.cluster, &self.shared.profile, self.salt(), version, &request).await?;
        (answer.error_code == 0).then_some(*answer.producer_id)
    }

    /// A connection to the leader, and the topic's id.
    async fn leader(&self) -> Option<(DuplexStream, Uuid)> {
        let (cluster, profile) = (&self.shared.cluster, &self.shared.profile);
        let found = metadata(cluster, profile, self.topic, self.salt()).await?;
        let topic = found.topics.into_iter().next().filter(|topic| topic.error_code == 0)?;
        let partition = topic.partitions.iter().find(|partition| partition.partition_index == self.partition)?;
        let host = format!("broker-{}", *partition.leader_id);
        Some((timeout(TIMEOUT, cluster.connect(&host, PORT)).await.ok()?.ok()?, topic.topic_id))
    }

    fn salt(&self) -> u64 {
        self.shared.round.fetch_add(1, Ordering::Relaxed)
    }

    fn delivery(&self) -> Delivery {
        Delivery::new(self.topic, self.partition)
    }

    fn give_up(&mut self, records: Vec<Queued>, doubt: bool) {
        // Their sequence numbers may be in the log: no others may have them.
        self.id = None;
        let persistence = if doubt { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
        self.fail(records, ErrorKind::Timeout, persistence);
    }

    fn fail(&self, records: Vec<Queued>, kind: ErrorKind, persistence: Persistence) {
        records.into_iter().for_each(|queued| self.answer(queued, Err(failed(kind, persistence))));
    }

    fn answer(&self, queued: Queued, result: Result<Delivery, Error>) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        if self.shared.defect != Defect::Forgets || self.salt() % 50 != 0 {
            // Who has dropped the future does not want it.
            let _ = queued.answer.send(result);
        }
    }
}
