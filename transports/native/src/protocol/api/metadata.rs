//! `Metadata`: the brokers of a cluster, and the leaders of its topics' partitions.

use crate::protocol::i32_array::I32Array;
use crate::protocol::reader::{Element, Reader};
use crate::protocol::uuid::Uuid;
use crate::protocol::writer::{Frame, Writer};
use crate::protocol::{DecodeError, TooLong, api::Api, header};

/// Asks for the cluster and some topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataRequest<'a> {
    /// The topics; `None` asks for all.
    pub topics: Option<&'a [TopicRef<'a>]>,
    /// Whether brokers may create topics that do not exist, if their configuration allows it.
    pub allow_auto_topic_creation: bool,
}

/// Names a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicRef<'a> {
    /// By its name.
    Name(&'a str),
    /// By its id: in `Metadata` from version 12 on, in `Produce` from 13 on.
    Id(Uuid),
}

impl MetadataRequest<'_> {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// If a field is too long.
    pub fn encode(&self, version: i16, correlation_id: i32, client_id: Option<&str>) -> Result<Frame, TooLong> {
        let mut writer = Writer::request(Api::Metadata, version, correlation_id, client_id);
        writer.nullable_array(self.topics, |writer, topic| {
            let (id, name) = match *topic {
                TopicRef::Name(name) => (Uuid::ZERO, Some(name)),
                TopicRef::Id(id) => (id, None),
            };
            if version >= 10 {
                writer.uuid(id);
                // Before version 12 a name is needed; an id alone is then an unknown topic, and no broken request.
                writer.nullable_string(if version >= 12 { name } else { name.or(Some("")) });
            } else {
                writer.string(name.unwrap_or_default());
            }
            writer.no_tagged_fields();
        });
        writer.bool(self.allow_auto_topic_creation);
        // Not asked for: the authorized operations of the cluster (8 to 10) and of topics (from 8 on).
        if (8..=10).contains(&version) {
            writer.bool(false);
        }
        if version >= 8 {
            writer.bool(false);
        }
        writer.no_tagged_fields();
        writer.finish()
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataResponse<'a> {
    /// Time for which the client should send nothing (KIP-219).
    pub throttle_time_ms: i32,
    /// The brokers that are alive.
    pub brokers: Vec<Broker<'a>>,
    /// The id of the cluster.
    pub cluster_id: Option<&'a str>,
    /// Number of the controller, or of a broker that passes requests on to it; -1 if there is none.
    pub controller_id: i32,
    /// The topics that were asked for.
    pub topics: Vec<Topic<'a>>,
    /// Error of the whole request, such as `REBOOTSTRAP_REQUIRED` (KIP-1102). From version 13 on, else 0.
    pub error_code: i16,
}

/// A broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broker<'a> {
    /// Its number.
    pub node_id: i32,
    /// Its advertised host.
    pub host: &'a str,
    /// Its advertised port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<&'a str>,
}

/// A topic, or why it cannot be described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic<'a> {
    /// Kafka's error code.
    pub error_code: i16,
    /// Its name. `None` if it was asked for by id and is unknown.
    pub name: Option<&'a str>,
    /// Its id. From version 10 on, else zero.
    pub id: Uuid,
    /// Whether it is one of Kafka's own, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// Its partitions, in any order.
    pub partitions: Vec<Partition<'a>>,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition<'a> {
    /// Kafka's error code.
    pub error_code: i16,
    /// Its number.
    pub index: i32,
    /// Number of the broker that leads it; -1 if there is none.
    pub leader_id: i32,
    /// Epoch of the leader: metadata with a lower one are older (KIP-320).
    pub leader_epoch: i32,
    /// The brokers that have a copy.
    pub replicas: I32Array<'a>,
    /// Those that have all of it.
    pub in_sync: I32Array<'a>,
    /// Those that are not there.
    pub offline: I32Array<'a>,
}

impl<'a> MetadataResponse<'a> {
    /// Reads the answer. `frame` is what follows its length.
    ///
    /// # Errors
    ///
    /// If it is not the answer of this request.
    pub fn decode(version: i16, correlation_id: i32, frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = header::read_response(Api::Metadata, version, correlation_id, frame)?;
        let mut answer = Self {
            throttle_time_ms: reader.i32()?,
            brokers: reader.array()?,
            cluster_id: reader.nullable_string()?,
            controller_id: reader.i32()?,
            topics: reader.array()?,
            error_code: 0,
        };
        if (8..=10).contains(&version) {
            let _authorized_operations = reader.i32()?;
        }
        if version >= 13 {
            answer.error_code = reader.i16()?;
        }
        reader.skip_tagged_fields()?;
        Ok(answer)
    }
}

impl<'a> Element<'a> for Broker<'a> {
    const MIN_LEN: usize = 11;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let broker = Self {
            node_id: reader.i32()?,
            host: reader.string()?,
            port: reader.i32()?,
            rack: reader.nullable_string()?,
        };
        reader.skip_tagged_fields()?;
        Ok(broker)
    }
}

impl<'a> Element<'a> for Topic<'a> {
    const MIN_LEN: usize = 9;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let version = reader.version();
        let topic = Self {
            error_code: reader.i16()?,
            name: if version >= 12 { reader.nullable_string()? } else { Some(reader.string()?) },
            id: if version >= 10 { reader.uuid()? } else { Uuid::ZERO },
            is_internal: reader.bool()?,
            partitions: reader.array()?,
        };
        if version >= 8 {
            let _authorized_operations = reader.i32()?;
        }
        reader.skip_tagged_fields()?;
        Ok(topic)
    }
}

impl<'a> Element<'a> for Partition<'a> {
    const MIN_LEN: usize = 18;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let partition = Self {
            error_code: reader.i16()?,
            index: reader.i32()?,
            leader_id: reader.i32()?,
            leader_epoch: reader.i32()?,
            replicas: reader.i32_array()?,
            in_sync: reader.i32_array()?,
            offline: reader.i32_array()?,
        };
        reader.skip_tagged_fields()?;
        Ok(partition)
    }
}
