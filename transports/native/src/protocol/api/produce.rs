//! `Produce`: appends record batches, one for each partition that the request names.

use super::metadata::{Broker, TopicRef};
use crate::protocol::reader::{Element, Reader};
use crate::protocol::uuid::Uuid;
use crate::protocol::writer::{Frame, Writer};
use crate::protocol::{DecodeError, TooLong, api::Api, header};

/// Appends record batches.
///
/// The batches lie elsewhere: the frame has a gap for each, in the order in which the request lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceRequest<'a> {
    /// The transactional id; `None` for a producer without transactions.
    pub transactional_id: Option<&'a str>,
    /// Which replicas answer for the append: 0 none, 1 the leader, -1 all in sync.
    pub acks: i16,
    /// How long the broker waits for those replicas.
    pub timeout_ms: i32,
    /// The topics: all by id in version 13, all by name in older ones.
    pub topics: &'a [TopicBatches<'a>],
}

/// The batches of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicBatches<'a> {
    /// The topic.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: &'a [PartitionBatch],
}

/// The batch of one partition. Kafka accepts one batch for each partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionBatch {
    /// Number of the partition.
    pub index: i32,
    /// Number of bytes of the batch.
    pub len: usize,
}

/// The first version that names topics by their ids (KIP-516).
pub const FIRST_WITH_IDS: i16 = 13;

impl ProduceRequest<'_> {
    /// Writes the request around its batches.
    ///
    /// # Errors
    ///
    /// If a field, or the request, is too long.
    pub fn encode(&self, version: i16, correlation_id: i32, client_id: Option<&str>) -> Result<Frame, TooLong> {
        let mut writer = Writer::request(Api::Produce, version, correlation_id, client_id);
        writer.nullable_string(self.transactional_id);
        writer.i16(self.acks);
        writer.i32(self.timeout_ms);
        writer.array(self.topics, |writer, topic| {
            match topic.topic {
                TopicRef::Id(id) if version >= FIRST_WITH_IDS => writer.uuid(id),
                TopicRef::Name(name) if version < FIRST_WITH_IDS => writer.string(name),
                // The broker then knows no such topic: nothing is appended.
                TopicRef::Name(_) => writer.uuid(Uuid::ZERO),
                TopicRef::Id(_) => writer.string(""),
            }
            writer.array(topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                writer.gap(partition.len);
                writer.no_tagged_fields();
            });
            writer.no_tagged_fields();
        });
        writer.no_tagged_fields();
        writer.finish()
    }
}

/// The answer. Topics and partitions may come in another order than in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceResponse<'a> {
    /// What became of the batches.
    pub topics: Vec<TopicResponse<'a>>,
    /// Time for which the client should send nothing (KIP-219).
    pub throttle_time_ms: i32,
    /// End points of the leaders that the partitions name (KIP-951). From version 10 on.
    pub node_endpoints: Vec<Broker<'a>>,
}

/// What became of the batches of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicResponse<'a> {
    /// The topic: by id in version 13, by name in older ones.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: Vec<PartitionResponse<'a>>,
}

/// What became of the batch of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionResponse<'a> {
    /// Number of the partition.
    pub index: i32,
    /// Kafka's error code.
    pub error_code: i16,
    /// Offset of the batch's first record; -1 if it has none.
    pub base_offset: i64,
    /// The time that the broker gave the records; -1 if the topic keeps the producer's times.
    pub log_append_time_ms: i64,
    /// The first offset in the log.
    pub log_start_offset: i64,
    /// Which records the broker refused, and why (KIP-467). From version 8 on.
    pub record_errors: Vec<RecordError<'a>>,
    /// Why the broker refused the batch. From version 8 on.
    pub error_message: Option<&'a str>,
    /// The partition's leader, if it is not the broker that was asked (KIP-951). From version 10 on.
    pub current_leader: Option<LeaderHint>,
}

/// A record that the broker refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError<'a> {
    /// Index of the record in its batch.
    pub batch_index: i32,
    /// Why.
    pub message: Option<&'a str>,
}

/// A leader, as a broker that does not lead the partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderHint {
    /// Number of the broker; -1 if it is not known.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: i32,
}

impl<'a> ProduceResponse<'a> {
    /// Reads the answer. `frame` is what follows its length.
    ///
    /// # Errors
    ///
    /// If it is not the answer of this request.
    pub fn decode(version: i16, correlation_id: i32, frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = header::read_response(Api::Produce, version, correlation_id, frame)?;
        let mut answer = Self { topics: reader.array()?, throttle_time_ms: reader.i32()?, node_endpoints: Vec::new() };
        reader.tagged_fields(|tag, reader| {
            let known = tag == 0 && version >= 10;
            if known {
                answer.node_endpoints = reader.array()?;
            }
            Ok(known)
        })?;
        Ok(answer)
    }
}

impl<'a> Element<'a> for TopicResponse<'a> {
    // 4 by itself, with a name of one letter. But no topic is without partitions, and those need less than they may.
    const MIN_LEN: usize = 6;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let by_id = reader.version() >= FIRST_WITH_IDS;
        let topic = if by_id { TopicRef::Id(reader.uuid()?) } else { TopicRef::Name(reader.string()?) };
        let topic = Self { topic, partitions: reader.array()? };
        reader.skip_tagged_fields()?;
        Ok(topic)
    }
}

impl<'a> Element<'a> for PartitionResponse<'a> {
    const MIN_LEN: usize = 30;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let version = reader.version();
        let mut partition = Self {
            index: reader.i32()?,
            error_code: reader.i16()?,
            base_offset: reader.i64()?,
            log_append_time_ms: reader.i64()?,
            log_start_offset: reader.i64()?,
            record_errors: if version >= 8 { reader.array()? } else { Vec::new() },
            error_message: if version >= 8 { reader.nullable_string()? } else { None },
            current_leader: None,
        };
        reader.tagged_fields(|tag, reader| {
            let known = tag == 0 && version >= 10;
            if known {
                partition.current_leader = Some(LeaderHint { leader_id: reader.i32()?, leader_epoch: reader.i32()? });
                reader.skip_tagged_fields()?;
            }
            Ok(known)
        })?;
        Ok(partition)
    }
}

impl<'a> Element<'a> for RecordError<'a> {
    const MIN_LEN: usize = 6;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let error = Self { batch_index: reader.i32()?, message: reader.nullable_string()? };
        reader.skip_tagged_fields()?;
        Ok(error)
    }
}
