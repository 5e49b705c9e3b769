//! A client of single requests, with kafka-protocol's codec.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use uuid::Uuid;

use crate::batch::value;
use crate::cluster::framed;

/// How long an answer may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The bytes of a request, with their length.
pub(crate) fn bytes_of<R: Request>(request: &R, version: i16, correlation_id: i32) -> Bytes {
    let mut bytes = BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    let header = header.with_correlation_id(correlation_id).with_client_id(Some(StrBytes::from_static_str("tests")));
    encode_request_header_into_buffer(&mut bytes, &header).expect("a valid header");
    request.encode(&mut bytes, version).expect("a valid request");
    framed(&bytes)
}

/// Reads an answer. `None`: there was none, or not in time.
pub(crate) async fn read<R: Request>(
    stream: &mut DuplexStream,
    version: i16,
    correlation_id: i32,
) -> Option<R::Response> {
    let read = async {
        let len = usize::try_from(stream.read_i32().await.ok()?).expect("a length");
        let mut frame = vec![0; len];
        stream.read_exact(&mut frame).await.ok()?;
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, correlation_id);
        let answer = R::Response::decode(&mut frame, version).expect("an answer");
        assert!(frame.is_empty(), "{} bytes too many", frame.len());
        Some(answer)
    };
    timeout(TIMEOUT, read).await.ok()?
}

/// Sends a request and reads its answer.
pub(crate) async fn ask<R: Request>(stream: &mut DuplexStream, version: i16, request: &R) -> Option<R::Response> {
    let bytes = bytes_of(request, version, 7);
    timeout(TIMEOUT, stream.write_all(&bytes)).await.ok()?.ok()?;
    read::<R>(stream, version, 7).await
}

/// A batch: producer id, epoch, first sequence, and the records as numbers with their keys.
pub(crate) fn batch((id, epoch, first): (i64, i16, i32), numbers: &[u64], key: Option<&'static str>) -> Bytes {
    let records: Vec<_> = numbers.iter().map(|number| (key.map(Bytes::from), value(*number, 8))).collect();
    batch_of((id, epoch, first), &records)
}

/// A batch of keys and values.
pub(crate) fn batch_of((id, epoch, first): (i64, i16, i32), records: &[(Option<Bytes>, Bytes)]) -> Bytes {
    let record = |(offset, (key, value)): (i64, &(Option<Bytes>, Bytes))| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: id,
        producer_epoch: epoch,
        timestamp_type: TimestampType::Creation,
        offset,
        // The encoder wants them to grow with the offset, also across the end of the numbers.
        sequence: first.wrapping_add(i32::try_from(offset).expect("small")),
        timestamp: 1_700_000_000_000,
        key: key.clone(),
        value: Some(value.clone()),
        headers: Default::default(),
    };
    let records: Vec<_> = (0..).zip(records).map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("a valid batch");
    bytes.freeze()
}

/// A request for one partition. The topic is named by id from version 13 on.
pub(crate) fn produce(
    topic: (&'static str, Uuid),
    partition: i32,
    acks: i16,
    version: i16,
    batch: Bytes,
) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let data = TopicProduceData::default().with_partition_data(vec![data]);
    let name = TopicName(StrBytes::from_static_str(topic.0));
    let data = if version >= 13 { data.with_topic_id(topic.1) } else { data.with_name(name) };
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1_000).with_topic_data(vec![data])
}

/// Sends a batch to a partition, and returns what the answer says about it.
pub(crate) async fn send(
    stream: &mut DuplexStream,
    topic: (&'static str, Uuid),
    partition: i32,
    version: i16,
    batch: Bytes,
) -> Option<PartitionProduceResponse> {
    let answer = ask(stream, version, &produce(topic, partition, -1, version, batch)).await?;
    answer.responses.into_iter().next()?.partition_responses.into_iter().next()
}
