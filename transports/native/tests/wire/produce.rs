//! `Produce`: appends batches to logs, or says why not, in the order in which Kafka looks for reasons.

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::batch::{self, Batch};
use super::cluster::{PORT, State};
use super::codes::{
    INVALID_PRODUCER_EPOCH, INVALID_RECORD, KAFKA_STORAGE_ERROR, MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND, NOT_LEADER_OR_FOLLOWER, OUT_OF_ORDER_SEQUENCE, REQUEST_TIMED_OUT,
    UNKNOWN_SERVER_ERROR, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
};
use super::faults::{Kind, Place};
use super::producers::Check;

/// The first version that names topics by their ids.
const BY_ID: i16 = 13;
/// The first version with leader hints.
const WITH_HINTS: i16 = 10;
/// The first version that says which records were refused.
const WITH_RECORD_ERRORS: i16 = 8;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Written(i64),
    Failed(i16),
    /// A code, although the batch is in the log at this offset.
    WrittenBut(i16, i64),
    /// These records have no key and need one.
    WithoutKeys(Vec<i32>),
    NotLeader,
}

/// Appends the batches of a request.
///
/// # Errors
///
/// What no client should send.
pub(crate) fn produce(
    state: &mut State,
    broker: i32,
    at: Place,
    version: i16,
    request: &ProduceRequest,
) -> Result<ProduceResponse, String> {
    if ![-1, 0, 1].contains(&request.acks) {
        return Err(format!("acks={}", request.acks));
    }
    let mut answer = ProduceResponse::default();
    for topic in &request.topic_data {
        let mut partitions = Vec::new();
        for data in &topic.partition_data {
            if partitions.iter().any(|known: &PartitionProduceResponse| known.index == data.index) {
                return Err(format!("two batches for partition {}", data.index));
            }
            let fate = append(state, broker, at, version, request.acks, topic, data)?;
            let (part, leader) = described(state, version, topic, data.index, &fate);
            partitions.push(part);
            if let Some(leader) =
                leader.filter(|leader| !answer.node_endpoints.iter().any(|known| known.node_id == *leader))
            {
                let end = NodeEndpoint::default().with_node_id(leader).with_port(i32::from(PORT));
                answer.node_endpoints.push(end.with_host(StrBytes::from_string(format!("broker-{}", *leader))));
            }
        }
        // Kafka answers in another order than it was asked.
        partitions.reverse();
        let part = TopicProduceResponse::default().with_partition_responses(partitions);
        answer.responses.push(if version >= BY_ID {
            part.with_topic_id(topic.topic_id)
        } else {
            part.with_name(topic.name.clone())
        });
    }
    answer.responses.reverse();
    Ok(answer)
}

fn append(
    state: &mut State,
    broker: i32,
    at: Place,
    version: i16,
    acks: i16,
    topic: &TopicProduceData,
    data: &PartitionProduceData,
) -> Result<Fate, String> {
    let by_id = version >= BY_ID;
    let unknown = if by_id { UNKNOWN_TOPIC_ID } else { UNKNOWN_TOPIC_OR_PARTITION };
    let Some(name) = find(state, by_id, topic) else { return Ok(Fate::Failed(unknown)) };
    // For each partition another place, so that one request can have several fates.
    let at = Place { frame: at.frame * 64 + u64::from(data.index.unsigned_abs() % 64), ..at };
    let (fault, after_append) = fault(state, at, acks, unknown);
    let read = batch::read(data.records.as_ref().ok_or("a partition without a batch")?);
    let what = read.as_ref().map_or_else(|code| format!("unreadable, {code}"), described_batch);
    let found = state.topics.get_mut(name).expect("it was found");
    let max_batch = found.config.max_batch;
    let needs_keys = found.config.is_compacted;
    let Some(partition) = found.partition(data.index) else { return Ok(Fate::Failed(UNKNOWN_TOPIC_OR_PARTITION)) };
    let append = || {
        if partition.leader != broker {
            return Fate::NotLeader;
        }
        let batch = match read {
            Ok(batch) => batch,
            Err(code) => return Fate::Failed(code),
        };
        if let Some(code) = fault.filter(|_| !after_append) {
            return Fate::Failed(code);
        }
        if batch.bytes > max_batch {
            return Fate::Failed(MESSAGE_TOO_LARGE);
        }
        let without: Vec<_> =
            (0..).zip(&batch.records).filter(|(_, (_, key))| key.is_none()).map(|(index, _)| index).collect();
        if needs_keys && !without.is_empty() {
            return Fate::WithoutKeys(without);
        }
        let offset = match partition.log.check(&batch) {
            Check::Duplicate(offset) => offset,
            Check::OutOfOrder => return Fate::Failed(OUT_OF_ORDER_SEQUENCE),
            Check::Fenced => return Fate::Failed(INVALID_PRODUCER_EPOCH),
            Check::Append => partition.log.append(&batch, acks == -1),
        };
        fault.map_or(Fate::Written(offset), |code| Fate::WrittenBut(code, offset))
    };
    let fate = append();
    state.event(Some((name, data.index)), || {
        format!("{name}[{}] at broker {broker}, {at}, v{version}, acks={acks}: {what} -> {fate:?}", data.index)
    });
    Ok(fate)
}

/// The code of a fault, and whether it comes after the append.
fn fault(state: &mut State, at: Place, acks: i16, unknown: i16) -> (Option<i16>, bool) {
    let codes = [
        (Kind::NotLeader, NOT_LEADER_OR_FOLLOWER, None),
        (Kind::UnknownTopic, unknown, None),
        (Kind::TimedOut, REQUEST_TIMED_OUT, Some(true)),
        (Kind::NotEnoughReplicas, NOT_ENOUGH_REPLICAS, Some(false)),
        (Kind::NotEnoughReplicasAfterAppend, NOT_ENOUGH_REPLICAS_AFTER_APPEND, Some(true)),
        (Kind::StorageError, KAFKA_STORAGE_ERROR, None),
        (Kind::UnknownError, UNKNOWN_SERVER_ERROR, None),
    ];
    for (kind, code, after_append) in codes {
        // Only who waits for replicas can fail after the append.
        if acks != -1 && after_append == Some(true) {
            continue;
        }
        if state.faults.happens(kind, at) {
            // A topic id is looked up before anything else, so its code never follows an append.
            let either = acks == -1 && code != UNKNOWN_TOPIC_ID && state.faults.choose(kind, at, 0, 2) == 0;
            return (Some(code), after_append.unwrap_or(either));
        }
    }
    (None, false)
}

fn find(state: &State, by_id: bool, wanted: &TopicProduceData) -> Option<&'static str> {
    let mut topics = state.topics.values().filter(|topic| topic.missing_until <= Instant::now());
    let found =
        topics.find(|topic| if by_id { topic.id == wanted.topic_id } else { topic.name() == wanted.name.as_str() });
    found.map(super::cluster::Topic::name)
}

/// The answer for a partition, and its leader if the answer names one.
fn described(
    state: &State,
    version: i16,
    topic: &TopicProduceData,
    index: i32,
    fate: &Fate,
) -> (PartitionProduceResponse, Option<BrokerId>) {
    let answer = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
    let failed = |code| answer.clone().with_error_code(code).with_base_offset(-1).with_log_start_offset(-1);
    let answer = match fate {
        Fate::Written(offset) => answer.with_base_offset(*offset).with_log_start_offset(0),
        // The offset of the append is in the answer.
        Fate::WrittenBut(code, offset) => {
            answer.with_error_code(*code).with_base_offset(*offset).with_log_start_offset(0)
        }
        Fate::WithoutKeys(indexes) if version >= WITH_RECORD_ERRORS => {
            let text = "Compacted topic cannot accept message without key in topic partition";
            let error = |index: &i32| {
                let error = BatchIndexAndErrorMessage::default().with_batch_index(*index);
                error.with_batch_index_error_message(Some(StrBytes::from_static_str(text)))
            };
            let text = StrBytes::from_static_str("One or more records have been rejected");
            let answer = failed(INVALID_RECORD).with_error_message(Some(text));
            answer.with_record_errors(indexes.iter().map(error).collect())
        }
        Fate::WithoutKeys(_) => failed(INVALID_RECORD),
        Fate::NotLeader => failed(NOT_LEADER_OR_FOLLOWER),
        Fate::Failed(code) => failed(*code),
    };
    if answer.error_code != NOT_LEADER_OR_FOLLOWER || version < WITH_HINTS {
        return (answer, None);
    }
    let by_id = version >= BY_ID;
    let found = find(state, by_id, topic).and_then(|name| state.topics.get(name));
    let partition = found.and_then(|topic| topic.partitions.get(usize::try_from(index).ok()?));
    let Some(partition) = partition else { return (answer, None) };
    let hint = LeaderIdAndEpoch::default().with_leader_id(BrokerId(partition.leader));
    let answer = answer.with_current_leader(hint.with_leader_epoch(partition.epoch));
    // A broker that is down has no end point.
    let is_up = state.live().contains(&partition.leader);
    (answer, is_up.then_some(BrokerId(partition.leader)))
}

fn described_batch(batch: &Batch) -> String {
    let numbers: Vec<_> = batch.records.iter().map(|(number, _)| number.map_or(-1, |number| number as i64)).collect();
    match batch.stamp {
        Some(stamp) => format!("{} e{} s{} {numbers:?}", stamp.id, stamp.epoch, stamp.first),
        None => format!("{numbers:?}"),
    }
}
