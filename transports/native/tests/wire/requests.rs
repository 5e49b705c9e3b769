//! Executes requests. They are read and answered with kafka-protocol's codec, so that no bug of our own cancels itself.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    ProduceRequest, ProducerId, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::cluster::{State, Versions};
use super::codes::{COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, UNSUPPORTED_VERSION};
use super::faults::{Kind, Place};
use super::{metadata, produce};

const TRANSACTION_VERSION: &str = "transaction.version";

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Executed {
    /// The answer without its length; `None` if none is sent.
    pub(crate) answer: Option<Bytes>,
    /// The broker closes the connection, because it cannot say otherwise that a request without an answer has failed.
    pub(crate) closes: bool,
    /// Time for which the broker reads nothing more (KIP-219).
    pub(crate) throttle: Duration,
}

impl Versions {
    /// Kind of request, oldest and newest version.
    fn ranges(self) -> [(ApiKey, i16, i16); 4] {
        let (produce, metadata, versions, init) = match self {
            Self::Kafka43 => (13, 13, 4, 5),
            Self::Kafka39 => (11, 12, 4, 5),
            Self::Kafka25 => (8, 9, 3, 3),
        };
        [
            (ApiKey::Produce, 3, produce),
            (ApiKey::Metadata, 0, metadata),
            (ApiKey::ApiVersions, 0, versions),
            (ApiKey::InitProducerId, 0, init),
        ]
    }
}

/// Executes a request at a broker.
///
/// # Errors
///
/// What is wrong with the request. A broker then closes the connection.
pub(crate) fn execute(
    state: &mut State,
    broker: i32,
    at: Place,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Executed, String> {
    let (key, version) = (header.request_api_key, header.request_api_version);
    let ranges = state.versions.ranges();
    let known = ranges.into_iter().find(|(api, _, _)| *api as i16 == key);
    let Some((api, oldest, newest)) = known else { return Err(format!("a request of kind {key}")) };
    if !(oldest..=newest).contains(&version) {
        if api == ApiKey::ApiVersions {
            return Ok(answer(header, &api_versions(state.versions, UNSUPPORTED_VERSION, 0), 0, Duration::ZERO));
        }
        return Err(format!("{api:?} in version {version}, which the broker does not speak"));
    }
    let mut throttle = Duration::ZERO;
    if state.faults.happens(Kind::Throttle, at) {
        throttle = Duration::from_millis(1 + state.faults.choose(Kind::Throttle, at, 0, 3_000));
    }
    let throttle_ms = i32::try_from(throttle.as_millis()).expect("a short time");
    match api {
        ApiKey::ApiVersions => {
            let _: ApiVersionsRequest = decode(body, version)?;
            Ok(answer(header, &api_versions(state.versions, 0, version), version, Duration::ZERO))
        }
        ApiKey::InitProducerId => {
            let request = decode(body, version)?;
            let found = init_producer_id(state, at, &request)?.with_throttle_time_ms(throttle_ms);
            Ok(answer(header, &found, version, throttle))
        }
        ApiKey::Metadata => {
            let request: MetadataRequest = decode(body, version)?;
            let found = metadata::metadata(state, at, version, &request).with_throttle_time_ms(throttle_ms);
            Ok(answer(header, &found, version, throttle))
        }
        _ => {
            let request: ProduceRequest = decode(body, version)?;
            let found = produce::produce(state, broker, at, version, &request)?.with_throttle_time_ms(throttle_ms);
            if request.acks != 0 {
                return Ok(answer(header, &found, version, throttle));
            }
            let mut partitions = found.responses.iter().flat_map(|topic| &topic.partition_responses);
            let closes = partitions.any(|partition| partition.error_code != 0);
            Ok(Executed { answer: None, closes, throttle })
        }
    }
}

fn decode<R: Decodable>(mut body: Bytes, version: i16) -> Result<R, String> {
    let kind = std::any::type_name::<R>();
    let request = R::decode(&mut body, version).map_err(|error| format!("{kind} cannot be read: {error}"))?;
    if body.is_empty() { Ok(request) } else { Err(format!("{kind} has {} bytes too many", body.len())) }
}

fn answer<R: Encodable + HeaderVersion>(
    header: &RequestHeader,
    response: &R,
    version: i16,
    throttle: Duration,
) -> Executed {
    let mut bytes = BytesMut::new();
    let head = ResponseHeader::default().with_correlation_id(header.correlation_id);
    head.encode(&mut bytes, R::header_version(version)).expect("a valid header");
    response.encode(&mut bytes, version).expect("a valid answer");
    Executed { answer: Some(bytes.freeze()), closes: false, throttle }
}

fn api_versions(versions: Versions, code: i16, version: i16) -> ApiVersionsResponse {
    let range = |(api, oldest, newest)| {
        ApiVersion::default().with_api_key(api as i16).with_min_version(oldest).with_max_version(newest)
    };
    // With an unknown version the broker names the versions of this request only (KIP-511).
    let named = versions.ranges().into_iter().filter(|(api, _, _)| code == 0 || *api == ApiKey::ApiVersions);
    let answer = ApiVersionsResponse::default().with_error_code(code).with_api_keys(named.map(range).collect());
    if version < 3 || versions != Versions::Kafka43 {
        return answer;
    }
    let name = StrBytes::from_static_str(TRANSACTION_VERSION);
    let supported = SupportedFeatureKey::default().with_name(name.clone()).with_max_version(2);
    let finalized = FinalizedFeatureKey::default().with_name(name).with_max_version_level(2).with_min_version_level(2);
    let answer = answer.with_supported_features(vec![supported]).with_finalized_features_epoch(1);
    answer.with_finalized_features(vec![finalized])
}

fn init_producer_id(
    state: &mut State,
    at: Place,
    request: &InitProducerIdRequest,
) -> Result<InitProducerIdResponse, String> {
    if request.transactional_id.is_some() {
        return Err("a transactional id: there are no transactions here".to_owned());
    }
    let answer = InitProducerIdResponse::default();
    if state.faults.happens(Kind::NoProducerId, at) {
        let codes = [COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE];
        let nth = state.faults.choose(Kind::NoProducerId, at, 0, 2);
        return Ok(answer.with_error_code(codes[usize::from(nth == 0)]).with_producer_id(ProducerId(-1)));
    }
    // Without a transactional id, an id and an epoch in the request are not looked at.
    let id = state.next_producer;
    state.next_producer += 1;
    state.event(None, || format!("producer {id}"));
    Ok(answer.with_producer_id(ProducerId(id)).with_producer_epoch(0))
}
