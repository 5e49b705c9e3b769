//! A message as text, or for programs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kafka_tower::SourceMessage;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

/// A message for programs. Text is text; bytes that are no UTF-8 are an object with base64.
#[derive(Debug, Serialize)]
pub(crate) struct Message<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Text<'a>>,
    headers: Vec<Header<'a>>,
    value: Option<Text<'a>>,
}

#[derive(Debug, Serialize)]
struct Header<'a> {
    name: &'a str,
    value: Option<Text<'a>>,
}

#[derive(Debug)]
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

impl<'a> Message<'a> {
    pub(crate) fn of(message: &'a SourceMessage<Bytes>) -> Self {
        let bytes = |bytes: &'a Bytes| Text(bytes);
        let headers = message.headers().iter();
        Self {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().map(kafka_tower::Timestamp::as_millis),
            key: message.key().map(bytes),
            headers: headers
                .map(|header| Header { name: &header.key, value: header.value.as_ref().map(bytes) })
                .collect(),
            value: message.value().map(bytes),
        }
    }
}

/// The value as a line. On a terminal, control characters are written as escapes, so that a message cannot operate it.
pub(crate) fn line(value: &[u8], terminal: bool) -> Vec<u8> {
    let mut line = Vec::with_capacity(value.len() + 1);
    if terminal {
        for character in String::from_utf8_lossy(value).chars() {
            if character.is_control() && character != '\t' {
                line.extend(character.escape_default().map(|escaped| escaped as u8));
            } else {
                line.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    } else {
        line.extend(value);
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_or_base64() {
        let json = |bytes: &[u8]| serde_json::to_string(&Text(bytes)).unwrap();
        assert_eq!(json("é\"".as_bytes()), r#""é\"""#);
        assert_eq!(json(&[0xff, 0x00]), r#"{"base64":"/wA="}"#);
    }

    #[test]
    fn a_terminal_is_not_operated_by_a_message() {
        assert_eq!(line(b"a\tb\x1b[2Jc", true), b"a\tb\\u{1b}[2Jc\n");
        assert_eq!(line("é\u{9b}".as_bytes(), true), "é\\u{9b}\n".as_bytes());
        assert_eq!(line(b"a\x1b\xff", false), b"a\x1b\xff\n", "a program gets the bytes");
    }
}
