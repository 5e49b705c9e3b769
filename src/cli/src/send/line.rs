//! A line as a message.

use bytes::Bytes;
use kafka_tower::{Headers, SinkMessage};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::args::{Format, SendArgs};

/// How lines become messages.
#[derive(Clone, Debug)]
pub(crate) struct Parser {
    format: Format,
    key: Key,
    headers: Headers,
    tombstones: bool,
}

/// Where the key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    None,
    Fixed(Bytes),
    /// What is before it.
    Separator(Vec<u8>),
    /// The value of this field, by the names of its parents and its own.
    Field(Vec<String>),
}

impl Parser {
    /// Refuses what does not fit together.
    pub(crate) fn new(args: &SendArgs) -> Result<Self, &'static str> {
        let key = match (&args.key, &args.key_separator, &args.key_field) {
            (Some(key), ..) => Key::Fixed(Bytes::copy_from_slice(key.as_bytes())),
            (_, Some(separator), _) => Key::Separator(separator.replace("\\t", "\t").into_bytes()),
            (_, _, Some(field)) => Key::Field(field.split('.').map(str::to_owned).collect()),
            (None, None, None) => Key::None,
        };
        let by_key = if matches!(key, Key::Field(_)) { Format::Json } else { Format::Lines };
        let format = args.format.unwrap_or(by_key);
        match &key {
            Key::Field(_) if format == Format::Lines => return Err("--key-field needs documents: --format json"),
            Key::Separator(separator) if separator.is_empty() => return Err("--key-separator is empty"),
            _ => {}
        }
        let mut headers = Headers::new();
        args.header.iter().for_each(|pair| headers.push(pair.name.clone(), pair.value.clone()));
        Ok(Self { format, key, headers, tombstones: args.tombstones })
    }

    /// The message of a line; none for a blank line between documents.
    ///
    /// # Errors
    ///
    /// Why the line is no message, without its content.
    pub(crate) fn parse(&self, line: &Bytes) -> Result<Option<SinkMessage<Bytes>>, String> {
        let (key, value) = match &self.key {
            Key::Separator(separator) => match find(line, separator) {
                Some(at) => (Some(line.slice(..at)), line.slice(at + separator.len()..)),
                None => (None, line.clone()),
            },
            Key::Fixed(key) => (Some(key.clone()), line.clone()),
            Key::None | Key::Field(_) => (None, line.clone()),
        };
        if self.is_tombstone(&value) {
            return match key {
                Some(key) => Ok(Some(SinkMessage::tombstone(key).with_headers(self.headers.clone()))),
                None => Err("a tombstone needs a key, from --key or --key-separator".to_owned()),
            };
        }
        let mut message = SinkMessage::new(value.clone()).with_headers(self.headers.clone());
        if self.format == Format::Json {
            if value.trim_ascii().is_empty() {
                return Ok(None);
            }
            match &self.key {
                Key::Field(path) => {
                    let document: Value = serde_json::from_slice(&value).map_err(|error| no_json(&error))?;
                    message = message.with_key(key_of(&document, path)?);
                }
                _ => drop(serde_json::from_slice::<IgnoredAny>(&value).map_err(|error| no_json(&error))?),
            }
        }
        if let Some(key) = key {
            message = message.with_key(key);
        }
        Ok(Some(message))
    }

    fn is_tombstone(&self, value: &[u8]) -> bool {
        self.tombstones
            && match self.format {
                Format::Lines => value.is_empty(),
                Format::Json => value.trim_ascii() == b"null",
            }
    }
}

fn no_json(error: &serde_json::Error) -> String {
    format!("the line is no JSON document: {error}")
}

fn find(line: &[u8], separator: &[u8]) -> Option<usize> {
    line.windows(separator.len()).position(|part| part == separator)
}

fn key_of(document: &Value, path: &[String]) -> Result<String, String> {
    let name = || path.join(".");
    let value = path.iter().try_fold(document, |value, name| value.get(name));
    match value {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Bool(flag)) => Ok(flag.to_string()),
        // The text of a fraction has several forms, which would be several keys.
        Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        Some(_) => Err(format!("the field {} is no text, whole number or flag", name())),
        None => Err(format!("the document has no field {}", name())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn parser(options: &[&str]) -> Result<Parser, &'static str> {
        let args = ["kafka-tower", "send"].iter().chain(options);
        let Command::Send(args) = Args::parse_from(args).command else { unreachable!() };
        Parser::new(&args)
    }

    /// Key and value, or why there are none.
    fn parsed(options: &[&str], line: &str) -> Result<Option<(Option<String>, String)>, String> {
        let message = parser(options).unwrap().parse(&Bytes::copy_from_slice(line.as_bytes()))?;
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(message.map(|message| (message.key().map(text), text(message.value().unwrap()))))
    }

    fn message(key: Option<&str>, value: &str) -> Result<Option<(Option<String>, String)>, String> {
        Ok(Some((key.map(str::to_owned), value.to_owned())))
    }

    #[test]
    fn a_line_is_a_value() {
        assert_eq!(parsed(&[], " a "), message(None, " a "));
        assert_eq!(parsed(&[], ""), message(None, ""), "an empty message");
        assert_eq!(parsed(&["--key", "k"], "a"), message(Some("k"), "a"));
    }

    #[test]
    fn a_separator_ends_the_key() {
        let of = |line| parsed(&["-K", ":"], line);
        assert_eq!(of("k:a:b"), message(Some("k"), "a:b"));
        assert_eq!(of(":a"), message(Some(""), "a"));
        assert_eq!(of("a"), message(None, "a"));
        assert_eq!(parsed(&["-K", "\\t"], "k\ta"), message(Some("k"), "a"));
        assert_eq!(parsed(&["-K", "=>", "--format", "json"], "k=>{}"), message(Some("k"), "{}"));
        assert!(parser(&["-K", ""]).is_err());
    }

    #[test]
    fn a_document_is_sent_as_it_is() {
        let of = |line| parsed(&["--format", "json"], line);
        assert_eq!(of("{ \"a\" : 1e2 }"), message(None, "{ \"a\" : 1e2 }"));
        assert_eq!(of("  "), Ok(None));
        for line in ["{", "{} {}", "hunter2"] {
            let refused = of(line).unwrap_err();
            assert!(refused.starts_with("the line is no JSON document: ") && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_field_is_the_key() {
        let of = |line: &str| parsed(&["--key-field", "order.id"], line);
        let with = |id: &str| format!(r#"{{"order": {{"id": {id}}}}}"#);
        for (id, key) in
            [("\"a b\"", "a b"), ("-7", "-7"), ("18446744073709551615", "18446744073709551615"), ("true", "true")]
        {
            assert_eq!(of(&with(id)), message(Some(key), &with(id)));
        }
        for id in ["null", "1.0", "[1]", "18446744073709551616"] {
            assert_eq!(of(&with(id)), Err("the field order.id is no text, whole number or flag".to_owned()), "{id}");
        }
        assert_eq!(of(r#"{"order": 1}"#), Err("the document has no field order.id".to_owned()));
        assert!(parser(&["--key-field", "id", "--format", "lines"]).is_err());
    }

    #[test]
    fn a_line_without_a_value_is_a_tombstone_if_that_is_asked_for() {
        let of = |options: &[&str], line: &str| {
            let message = parser(options).unwrap().parse(&Bytes::copy_from_slice(line.as_bytes()))?.unwrap();
            Ok::<_, String>((message.is_tombstone(), String::from_utf8(message.key().unwrap().to_vec()).unwrap()))
        };
        let (gone, there) = (|key: &str| Ok((true, key.to_owned())), |key: &str| Ok((false, key.to_owned())));
        assert_eq!(of(&["-K", ":"], "k:"), there("k"), "an empty message");
        assert_eq!(of(&["-K", ":", "--tombstones"], "k:"), gone("k"));
        assert_eq!(of(&["-K", ":", "--tombstones"], "k:v"), there("k"));
        assert_eq!(of(&["--key", "k", "--tombstones"], ""), gone("k"));
        let json = ["-K", ":", "--format", "json"];
        assert_eq!(of(&json, "k: null "), there("k"), "a document");
        assert_eq!(of(&[&json[..], &["--tombstones"]].concat(), "k: null "), gone("k"));
        assert_eq!(of(&[&json[..], &["--tombstones"]].concat(), "k:\"null\""), there("k"));
        for options in [&["--tombstones"][..], &["--tombstones", "-K", ":"]] {
            assert_eq!(of(options, ""), Err("a tombstone needs a key, from --key or --key-separator".to_owned()));
        }
        assert!(of(&["--tombstones", "--key-field", "id"], "null").is_err(), "null has no fields");
        let message =
            parser(&["--tombstones", "--key", "k", "-H", "a=1"]).unwrap().parse(&Bytes::new()).unwrap().unwrap();
        assert_eq!(message.envelope().headers.len(), 1);
    }

    #[test]
    fn headers_are_those_of_the_command_line() {
        let parser = parser(&["-H", "a=1", "-H", "a=2", "-H", "b="]).unwrap();
        let message = parser.parse(&Bytes::new()).unwrap().unwrap();
        let headers: Vec<_> = message.envelope().headers.iter().map(|h| (&*h.key, h.value.clone().unwrap())).collect();
        assert_eq!(headers, [("a", Bytes::from("1")), ("a", Bytes::from("2")), ("b", Bytes::new())]);
    }
}
