//! Headers of requests and answers.
//!
//! Requests have header 1, or 2 with tagged fields in flexible versions. Answers have header 0, or 1 in flexible versions; the
//! answer of `ApiVersions` always has header 0, because it has to be readable before versions are known (KIP-482, KIP-511).

use super::DecodeError;
use super::api::Api;
use super::reader::Reader;
use super::writer::Writer;

/// Writes the header of a request.
pub(crate) fn write_request(writer: &mut Writer, api: Api, correlation_id: i32, client_id: Option<&str>) {
    let version = writer.version();
    writer.i16(api.key());
    writer.i16(version);
    writer.i32(correlation_id);
    // Of all strings of a flexible version, this one alone is not compact.
    writer.nullable_string(client_id);
    if api.is_flexible(version) {
        writer.header_tagged_fields();
    }
}

/// Reads the header of an answer, and returns a reader of its body. `frame` is the answer without its length.
///
/// # Errors
///
/// [`DecodeError::WrongCorrelationId`] if it is not the answer of this request.
pub fn read_response(api: Api, version: i16, correlation_id: i32, frame: &[u8]) -> Result<Reader<'_>, DecodeError> {
    if !api.versions().contains(&version) {
        return Err(DecodeError::UnknownVersion(version));
    }
    let flexible = api.is_flexible(version);
    let mut reader = Reader::new(frame, version, flexible);
    let id = reader.i32()?;
    if id != correlation_id {
        return Err(DecodeError::WrongCorrelationId(id));
    }
    if api != Api::ApiVersions {
        reader.skip_tagged_fields()?;
    }
    Ok(reader)
}
