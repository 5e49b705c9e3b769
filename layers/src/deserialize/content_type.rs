//! Whether a record's content type is one that a deserializer reads. No clock, no lock, no async.

use kafka_tower_core::{Error, ErrorKind, RecordRef, Result};

use crate::serialize::CONTENT_TYPE;

/// Compares the header `content-type` of a record with the [types](super::MessageDeserializer::content_types) that a
/// deserializer reads. A record without that header is accepted, and so is any record if `types` is empty.
///
/// Parameters and case are ignored, and `application/json` also reads `application/vnd.order+json`.
///
/// # Errors
///
/// [`ErrorKind::Serialization`] if it is another type.
///
/// ```
/// use kafka_tower_core::RecordRef;
/// use kafka_tower_layers::deserialize::check_content_type;
///
/// let headers = [("content-type", Some(&b"application/json; charset=utf-8"[..]))];
/// let record = RecordRef::new(0).with_headers(&headers);
/// assert!(check_content_type(&["application/json"], &record).is_ok());
/// assert!(check_content_type(&["application/x-postcard"], &record).is_err());
/// ```
pub fn check_content_type(types: &[&str], record: &RecordRef<'_>) -> Result<()> {
    let stated = record.headers.iter().rev().find(|(name, _)| *name == CONTENT_TYPE).and_then(|(_, value)| *value);
    let Some(stated) = stated else { return Ok(()) };
    let stated = stated.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if types.is_empty() || types.iter().any(|read| is(stated, read.as_bytes())) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Serialization, format!("the header `{CONTENT_TYPE}` is not {}", types.join(" or ")))
        .without_record()
        .with_help(
            "read the topic with the format that it was written with, or ignore the header: `lenient_content_type`",
        ))
}

/// Whether a stated type is the one that is read, or a type of its own with that syntax (`+json`).
fn is(stated: &[u8], read: &[u8]) -> bool {
    let suffix = || {
        let syntax = &read[read.iter().position(|byte| *byte == b'/')? + 1..];
        let plus = stated.iter().rposition(|byte| *byte == b'+')?;
        Some(stated[plus + 1..].eq_ignore_ascii_case(syntax))
    };
    stated.eq_ignore_ascii_case(read) || suffix() == Some(true)
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    const JSON: &[&str] = &["application/json", "text/json"];

    fn check(types: &[&str], headers: &[(&str, Option<&[u8]>)]) -> Result<()> {
        check_content_type(types, &RecordRef::new(0).with_headers(headers))
    }

    #[test]
    fn only_another_type_is_refused() {
        for stated in ["application/json", "Application/JSON", "text/json ; charset=utf-8", "application/vnd.a+b+json"]
        {
            check(JSON, &[(CONTENT_TYPE, Some(stated.as_bytes()))]).unwrap();
        }
        for stated in ["", "json", "application/jsonl", "application/x-postcard", "application/a+jsonb", "+", ";"] {
            let error = check(JSON, &[(CONTENT_TYPE, Some(stated.as_bytes()))]).unwrap_err();
            assert_consistent(&error);
            assert_eq!(error.message(), "the header `content-type` is not application/json or text/json");
            check(&[], &[(CONTENT_TYPE, Some(stated.as_bytes()))]).unwrap();
        }
        check(JSON, &[(CONTENT_TYPE, Some(b"\xff\xfe"))]).unwrap_err();
        check(&["odd"], &[(CONTENT_TYPE, Some(b"x+odd"))]).unwrap_err();
    }

    #[test]
    fn the_last_header_counts_and_null_states_nothing() {
        let (json, csv) = ((CONTENT_TYPE, Some(&b"application/json"[..])), (CONTENT_TYPE, Some(&b"text/csv"[..])));
        check(JSON, &[]).unwrap();
        check(JSON, &[("Content-Type", Some(b"text/csv")), (CONTENT_TYPE, None)]).unwrap();
        check(JSON, &[csv, json, ("x", None)]).unwrap();
        check(JSON, &[json, csv]).unwrap_err();
    }
}
