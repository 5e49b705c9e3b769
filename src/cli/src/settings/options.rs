//! Settings of the option `--property`.

use kafka_tower::{Error, KafkaSinkConfig, KafkaSourceConfig};

use crate::args::Pair;
use crate::exit::Failure;

/// Prefix of names in errors.
const PREFIX: &str = "--property ";

/// Whether a consumer has this property of librdkafka. Also for names that librdkafka does not know: the library says so.
pub(super) fn reads(name: &str) -> bool {
    // The library ignores a property of producers, whatever its value is.
    !matches!(KafkaSourceConfig::from_properties(&probe(name)), Ok(config) if config == KafkaSourceConfig::default())
}

/// Whether a producer has this property of librdkafka.
fn sends(name: &str) -> bool {
    !matches!(KafkaSinkConfig::from_properties(&probe(name)), Ok(config) if config == KafkaSinkConfig::default())
}

/// A line with a value that differs from every default.
fn probe(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain { format!("{name}=x") } else { "no.such.name=x".to_owned() }
}

/// Sets a property, or a field for a name without dots. A setting that only a source has is ignored.
pub(super) fn set_sink(config: KafkaSinkConfig, pair: &Pair) -> Result<KafkaSinkConfig, Failure> {
    let Pair { name, value } = pair;
    if name.contains('.') {
        return Ok(if sends(name) { config.with_property(name, value) } else { config });
    }
    match config.clone().with_vars(PREFIX, [variable(pair)]) {
        Err(_) if KafkaSourceConfig::default().with_vars(PREFIX, [variable(pair)]).is_ok() => Ok(config),
        set => set.map_err(|error| of_option(&error)),
    }
}

/// The same for a source.
pub(super) fn set_source(config: KafkaSourceConfig, pair: &Pair) -> Result<KafkaSourceConfig, Failure> {
    let Pair { name, value } = pair;
    if name.contains('.') {
        return Ok(if reads(name) { config.with_property(name, value) } else { config });
    }
    match config.clone().with_vars(PREFIX, [variable(pair)]) {
        Err(_) if KafkaSinkConfig::default().with_vars(PREFIX, [variable(pair)]).is_ok() => Ok(config),
        set => set.map_err(|error| of_option(&error)),
    }
}

fn variable(Pair { name, value }: &Pair) -> (String, String) {
    (format!("{PREFIX}{}", name.to_ascii_uppercase()), value.clone())
}

fn of_option(error: &Error) -> Failure {
    let message = error.message();
    let message = message.strip_prefix("the environment cannot be used: ").unwrap_or(message);
    Failure::usage(message, "name a field of the library without dots, or a property of librdkafka with them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> Pair {
        text.parse().unwrap()
    }

    #[test]
    fn a_property_goes_to_the_side_that_has_it() {
        for (name, sink, source) in [
            ("ssl.ca.location", true, true),
            ("security.protocol", true, true),
            ("partitioner.x", true, true),
            ("queue.buffering.max.ms", true, false),
            ("fetch.error.backoff.ms", false, true),
        ] {
            assert_eq!((sends(name), reads(name)), (sink, source), "{name}");
        }
    }

    #[test]
    fn fields_and_properties_are_set_by_their_names() {
        let sink = set_sink(KafkaSinkConfig::default(), &pair("linger_ms=5")).unwrap();
        let sink = set_sink(sink, &pair("socket.keepalive.enable=true")).unwrap();
        assert_eq!((sink.linger_ms, sink.properties.len()), (5, 1));
        let source = set_source(KafkaSourceConfig::default(), &pair("isolation=read_uncommitted")).unwrap();
        assert_eq!(source.isolation, kafka_tower::Isolation::ReadUncommitted);
        assert_eq!(
            set_source(KafkaSourceConfig::default(), &pair("linger_ms=5")).unwrap(),
            KafkaSourceConfig::default()
        );
        assert_eq!(
            set_sink(KafkaSinkConfig::default(), &pair("isolation=read_committed")).unwrap(),
            KafkaSinkConfig::default()
        );
    }

    #[test]
    fn errors_name_the_option_and_no_secret() {
        let failure = set_sink(KafkaSinkConfig::default(), &pair("lingr_ms=5")).unwrap_err().to_string();
        assert!(
            failure.starts_with("--property LINGR_MS is an unknown setting: did you mean --property LINGER_MS?"),
            "{failure}"
        );
        let sink = set_sink(KafkaSinkConfig::default(), &pair("sasl.pasword=hunter2")).unwrap();
        let failure = sink.validate().unwrap_err().to_string();
        assert!(failure.contains("sasl.pasword") && !failure.contains("hunter2"), "{failure}");
        let failure = set_sink(KafkaSinkConfig::default(), &pair("sasl_pasword=hunter2")).unwrap_err().to_string();
        assert!(!failure.contains("hunter2"), "{failure}");
    }
}
