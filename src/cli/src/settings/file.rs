//! Settings from a file: `client.properties`, TOML or JSON.

use std::fs;
use std::path::Path;

use kafka_tower::{KafkaSinkConfig, KafkaSourceConfig};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::Failure;

/// Which settings a file without sections has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sink,
    Source,
}

/// What a file says about each side.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FromFile {
    pub(super) sink: Option<KafkaSinkConfig>,
    pub(super) source: Option<KafkaSourceConfig>,
}

pub(super) fn read(path: &Path, side: Side) -> Result<FromFile, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::usage(
            format!("{shown} cannot be read: {error}"),
            "correct the path of --config, or the file's permissions",
        )
    })?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    parse(&text, extension, side).map_err(|failure| match failure {
        Failure::Usage { message, help } => Failure::usage(format!("{shown}: {message}"), help),
        Failure::Sink(error) => Failure::usage(format!("{shown}: {}", error.message()), error.help()),
        other => other,
    })
}

/// Parses by the extension of the file. No error shows a value that may be secret.
fn parse(text: &str, extension: &str, side: Side) -> Result<FromFile, Failure> {
    match extension {
        "toml" => tables(parse_toml(text)?, side),
        "json" => {
            // It shows the place, and no text.
            let value = serde_json::from_str(text).map_err(|error| unreadable("JSON", &error.to_string()))?;
            tables(value, side)
        }
        _ => Ok(FromFile {
            sink: Some(KafkaSinkConfig::from_properties(text)?),
            source: Some(KafkaSourceConfig::from_properties(text)?),
        }),
    }
}

fn parse_toml(text: &str) -> Result<Value, Failure> {
    toml::from_str(text).map_err(|error| {
        // Its `Display` shows the line, which may have a password.
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map(|line| format!(" at line {line}")).unwrap_or_default();
        unreadable("TOML", &format!("it cannot be parsed{place}"))
    })
}

fn unreadable(format: &str, problem: &str) -> Failure {
    Failure::usage(format!("the file is no {format}: {problem}"), "correct the file; its extension says its format")
}

/// Fields of one side, or the tables `sink` and `source`.
fn tables(value: Value, side: Side) -> Result<FromFile, Failure> {
    match value {
        Value::Object(mut all) if all.contains_key("sink") || all.contains_key("source") => {
            let (sink, source) = (all.remove("sink"), all.remove("source"));
            if let Some(other) = all.keys().next() {
                return Err(Failure::usage(
                    format!("`{other}` is beside the tables `sink` and `source`"),
                    "write each setting in one of the two tables",
                ));
            }
            let (sink, source) = (sink.map(settings).transpose()?, source.map(settings).transpose()?);
            Ok(FromFile { sink, source })
        }
        fields if side == Side::Sink => Ok(FromFile { sink: Some(settings(fields)?), source: None }),
        fields => Ok(FromFile { sink: None, source: Some(settings(fields)?) }),
    }
}

fn settings<C: DeserializeOwned>(value: Value) -> Result<C, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::usage(error.to_string(), "correct the settings of the file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(brokers: &str) -> KafkaSinkConfig {
        KafkaSinkConfig { brokers: brokers.into(), ..Default::default() }
    }

    #[test]
    fn the_extension_says_the_format() {
        let of = |text, extension| parse(text, extension, Side::Sink).unwrap().sink;
        assert_eq!(of("bootstrap.servers=a:1\n", "properties"), Some(sink("a:1")));
        assert_eq!(of("bootstrap.servers=a:1\n", ""), Some(sink("a:1")));
        assert_eq!(of("brokers = ['a:1']\n", "toml"), Some(sink("a:1")));
        assert_eq!(of(r#"{"brokers": "a:1"}"#, "json"), Some(sink("a:1")));
    }

    #[test]
    fn a_file_may_have_tables_for_both_sides() {
        let text =
            "[sink]\nbrokers = 'a:1'\n[source]\ngroup_id = 'billing'\n[source.properties]\nssl.ca.location = 'x'\n";
        let read = parse(text, "toml", Side::Source).unwrap();
        assert_eq!(read.sink, Some(sink("a:1")));
        let source = KafkaSourceConfig { group_id: "billing".into(), ..Default::default() };
        assert_eq!(read.source, Some(source.with_property("ssl.ca.location", "x")));
        let fields = parse("group_id = 'billing'", "toml", Side::Source).unwrap();
        assert!(fields.sink.is_none() && fields.source.is_some());
        assert!(
            parse("brokers = 'b'\n[sink]\n", "toml", Side::Sink)
                .unwrap_err()
                .to_string()
                .contains("`brokers` is beside")
        );
    }

    #[test]
    fn no_error_shows_a_secret() {
        for (text, extension) in [
            ("[properties]\n\"sasl.password\" = hunter2", "toml"),
            ("[properties]\n\"sasl.password\" = ['hunter2']", "toml"),
            ("{\"properties\": {\"sasl.password\": hunter2}}", "json"),
            ("sasl.pasword=hunter2", "properties"),
        ] {
            let failure = parse(text, extension, Side::Sink).unwrap_err();
            let shown = format!("{failure} {failure:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let failure = parse("brokers = 'a'\n\"sasl.password\" = hunter2", "toml", Side::Sink).unwrap_err();
        assert!(failure.to_string().contains("at line 2"), "{failure}");
    }
}
