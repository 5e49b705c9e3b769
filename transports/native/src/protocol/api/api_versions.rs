//! `ApiVersions`: which versions of each request a broker speaks, and which features its cluster has finalized.

use crate::protocol::reader::{Element, Reader};
use crate::protocol::writer::{Frame, Writer};
use crate::protocol::{DecodeError, TooLong, api::Api, header};

/// Error code of a broker that does not speak the request's version. It answers in version 0.
pub const UNSUPPORTED_VERSION: i16 = 35;

/// The version to ask with first.
pub const FIRST_VERSION: i16 = 4;

/// Asks for the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiVersionsRequest<'a> {
    /// Name of the client's software, in versions from 3 on. Brokers accept letters, digits, `-` and `.` (KIP-511).
    pub client_software_name: &'a str,
    /// Version of the client's software; as the name.
    pub client_software_version: &'a str,
}

impl ApiVersionsRequest<'_> {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// If a field is too long.
    pub fn encode(&self, version: i16, correlation_id: i32, client_id: Option<&str>) -> Result<Frame, TooLong> {
        let mut writer = Writer::request(Api::ApiVersions, version, correlation_id, client_id);
        if version >= 3 {
            writer.string(self.client_software_name);
            writer.string(self.client_software_version);
        }
        writer.no_tagged_fields();
        writer.finish()
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiVersionsResponse<'a> {
    /// Kafka's error code. [`UNSUPPORTED_VERSION`]: see [`next_version`](Self::next_version).
    pub error_code: i16,
    /// The versions of each request.
    pub apis: Vec<ApiRange>,
    /// Time for which the client should send nothing (KIP-219).
    pub throttle_time_ms: i32,
    /// Grows when a finalized feature changes. -1: unknown. From version 3 on, as the features.
    pub finalized_features_epoch: i64,
    /// The features that the cluster has finalized.
    pub finalized_features: Vec<FinalizedFeature<'a>>,
}

/// The versions of one request that a broker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiRange {
    /// Number of the request.
    pub api_key: i16,
    /// The oldest version.
    pub min_version: i16,
    /// The newest version.
    pub max_version: i16,
}

/// A finalized feature, such as `transaction.version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalizedFeature<'a> {
    /// The name.
    pub name: &'a str,
    /// The level that the cluster works with.
    pub max_version_level: i16,
    /// The lowest level that is accepted.
    pub min_version_level: i16,
}

impl<'a> ApiVersionsResponse<'a> {
    /// Reads the answer. `frame` is what follows its length.
    ///
    /// # Errors
    ///
    /// If it is not the answer of this request.
    pub fn decode(version: i16, correlation_id: i32, frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = header::read_response(Api::ApiVersions, version, correlation_id, frame)?;
        // A broker that does not speak the version answers in version 0, in which the error comes first as in all others.
        if version > 0 && reader.clone().i16() == Ok(UNSUPPORTED_VERSION) {
            let mut oldest = header::read_response(Api::ApiVersions, 0, correlation_id, frame)?;
            let answer = Self::read(&mut oldest).or_else(|_| Self::read(&mut reader));
            // What follows the code is only a hint: librdkafka's mock cluster writes it in a form of its own.
            return Ok(answer.unwrap_or_else(|_| Self::refused(UNSUPPORTED_VERSION)));
        }
        Self::read(&mut reader)
    }

    fn refused(error_code: i16) -> Self {
        let (apis, finalized_features) = (Vec::new(), Vec::new());
        Self { error_code, apis, throttle_time_ms: 0, finalized_features_epoch: -1, finalized_features }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let error_code = reader.i16()?;
        let apis = reader.array()?;
        let throttle_time_ms = if reader.version() >= 1 { reader.i32()? } else { 0 };
        let mut answer =
            Self { error_code, apis, throttle_time_ms, finalized_features_epoch: -1, finalized_features: Vec::new() };
        reader.tagged_fields(|tag, reader| {
            match tag {
                1 => answer.finalized_features_epoch = reader.i64()?,
                2 => answer.finalized_features = reader.array()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(answer)
    }

    /// The version to ask with again, after this answer to a request of version `asked`. `None` if no other version helps.
    ///
    /// Brokers from 2.4 on say which versions of this request they speak (KIP-511); older ones say nothing, and speak 0.
    #[must_use]
    pub fn next_version(&self, asked: i16) -> Option<i16> {
        let own = self.apis.iter().find(|range| range.api_key == Api::ApiVersions.key());
        let next = if asked > 3 && own.is_some_and(|range| range.contains(3)) { 3 } else { 0 };
        (self.error_code == UNSUPPORTED_VERSION && next < asked).then_some(next)
    }

    /// The level of a finalized feature. 0 if the cluster has not finalized it.
    #[must_use]
    pub fn feature(&self, name: &str) -> i16 {
        self.finalized_features.iter().find(|feature| feature.name == name).map_or(0, |found| found.max_version_level)
    }
}

impl ApiRange {
    /// Whether the broker speaks this version.
    #[must_use]
    pub fn contains(&self, version: i16) -> bool {
        (self.min_version..=self.max_version).contains(&version)
    }
}

impl<'a> Element<'a> for ApiRange {
    const MIN_LEN: usize = 6;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let range = Self { api_key: reader.i16()?, min_version: reader.i16()?, max_version: reader.i16()? };
        reader.skip_tagged_fields()?;
        Ok(range)
    }
}

impl<'a> Element<'a> for FinalizedFeature<'a> {
    const MIN_LEN: usize = 6;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let feature =
            Self { name: reader.string()?, max_version_level: reader.i16()?, min_version_level: reader.i16()? };
        reader.skip_tagged_fields()?;
        Ok(feature)
    }
}
