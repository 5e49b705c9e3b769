//! `InitProducerId`: the producer id and epoch that idempotent and transactional producers stamp their batches with.

use crate::protocol::writer::{Frame, Writer};
use crate::protocol::{DecodeError, TooLong, api::Api, header};

/// Asks for a producer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitProducerIdRequest<'a> {
    /// The transactional id; `None` for a producer without transactions.
    pub transactional_id: Option<&'a str>,
    /// Time after which the coordinator aborts an open transaction.
    pub transaction_timeout_ms: i32,
    /// The id whose epoch is to be raised, with `producer_epoch` (KIP-360); -1 for a new one. From version 3 on.
    pub producer_id: i64,
    /// The epoch that belongs to `producer_id`, or -1.
    pub producer_epoch: i16,
}

impl InitProducerIdRequest<'_> {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// If a field is too long.
    pub fn encode(&self, version: i16, correlation_id: i32, client_id: Option<&str>) -> Result<Frame, TooLong> {
        let mut writer = Writer::request(Api::InitProducerId, version, correlation_id, client_id);
        writer.nullable_string(self.transactional_id);
        writer.i32(self.transaction_timeout_ms);
        if version >= 3 {
            writer.i64(self.producer_id);
            writer.i16(self.producer_epoch);
        }
        writer.no_tagged_fields();
        writer.finish()
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitProducerIdResponse {
    /// Time for which the client should send nothing (KIP-219).
    pub throttle_time_ms: i32,
    /// Kafka's error code.
    pub error_code: i16,
    /// The producer id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
}

impl InitProducerIdResponse {
    /// Reads the answer. `frame` is what follows its length.
    ///
    /// # Errors
    ///
    /// If it is not the answer of this request.
    pub fn decode(version: i16, correlation_id: i32, frame: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = header::read_response(Api::InitProducerId, version, correlation_id, frame)?;
        let answer = Self {
            throttle_time_ms: reader.i32()?,
            error_code: reader.i16()?,
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
        };
        reader.skip_tagged_fields()?;
        Ok(answer)
    }
}
