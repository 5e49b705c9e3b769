//! Settings of a command: a file, the environment, the options.

mod file;
#[cfg(feature = "aws-msk-iam")]
mod iam;
mod options;

#[cfg(feature = "aws-msk-iam")]
use std::collections::BTreeMap;
use std::ffi::OsString;

#[cfg(feature = "aws-msk-iam")]
use kafka_tower::TokenSource;
use kafka_tower::{KafkaSinkConfig, KafkaSourceConfig};

use crate::args::Common;
use crate::exit::Failure;
use file::FromFile;
pub(crate) use file::Side;
use options::reads;

const SINK: &str = "KAFKA_";
const SOURCE: &str = "KAFKA_SOURCE_";

/// Where settings come from.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    common: &'a Common,
    file: FromFile,
    vars: Vec<(OsString, OsString)>,
}

impl<'a> Settings<'a> {
    /// Reads the file of `--config`, and the environment. `side` is that of a file without tables.
    pub(crate) fn read(common: &'a Common, side: Side) -> Result<Self, Failure> {
        let file = common.config.as_deref().map(|path| file::read(path, side)).transpose()?;
        Ok(Self { common, file: file.unwrap_or_default(), vars: std::env::vars_os().collect() })
    }

    /// The settings of a sink.
    pub(crate) fn sink(&self, topic: Option<&str>) -> Result<KafkaSinkConfig, Failure> {
        let mut config = self.file.sink.clone().unwrap_or_default().with_vars(SINK, self.vars.iter().cloned())?;
        for pair in &self.common.property {
            config = options::set_sink(config, pair)?;
        }
        self.common.brokers.iter().for_each(|brokers| brokers.clone_into(&mut config.brokers));
        topic.iter().for_each(|topic| (*topic).clone_into(&mut config.topic));
        #[cfg(feature = "aws-msk-iam")]
        self.tokens(&config.properties, &config.brokers, &mut config.token_provider)?;
        Ok(config)
    }

    /// The settings of a source. What connects is taken from those of the sink where the source has none of its own.
    pub(crate) fn source(&self, group: Option<&str>, topics: &[String]) -> Result<KafkaSourceConfig, Failure> {
        let of_sink = KafkaSinkConfig::default().with_vars_lenient(SINK, self.vars.iter().cloned())?;
        let mut config = self.file.source.clone().unwrap_or_default();
        if let Some(file) = &self.file.sink {
            connect_like(&mut config, file, false);
        }
        connect_like(&mut config, &of_sink, true);
        let mut config = config.with_vars(SOURCE, self.vars.iter().cloned())?;
        for pair in &self.common.property {
            config = options::set_source(config, pair)?;
        }
        self.common.brokers.iter().for_each(|brokers| brokers.clone_into(&mut config.brokers));
        group.iter().for_each(|group| (*group).clone_into(&mut config.group_id));
        if !topics.is_empty() {
            (config.topics, config.topic_pattern) = (topics.to_vec(), None);
            config.assign.clear();
        }
        let names_none = config.topics.is_empty() && config.topic_pattern.is_none() && config.assign.is_empty();
        if names_none {
            let sinks = [Some(&of_sink), self.file.sink.as_ref()].into_iter().flatten();
            config.topics =
                sinks.map(|sink| &sink.topic).find(|topic| !topic.is_empty()).into_iter().cloned().collect();
        }
        #[cfg(feature = "aws-msk-iam")]
        self.tokens(&config.properties, &config.brokers, &mut config.token_provider)?;
        Ok(config)
    }

    /// Tokens for Amazon MSK, if there is no other provider.
    #[cfg(feature = "aws-msk-iam")]
    fn tokens(
        &self,
        properties: &BTreeMap<String, String>,
        brokers: &str,
        source: &mut TokenSource,
    ) -> Result<(), Failure> {
        let by_token = ["sasl.mechanism", "sasl.mechanisms"]
            .iter()
            .any(|name| properties.get(*name).is_some_and(|mechanism| mechanism == "OAUTHBEARER"));
        if source.get().is_some() || !by_token {
            return Ok(());
        }
        if let Some(of_msk) = iam::provider(brokers, &self.vars)? {
            *source = of_msk;
        }
        Ok(())
    }
}

/// Takes over what a sink needs to connect: all of it, or only where the source has nothing of its own.
fn connect_like(source: &mut KafkaSourceConfig, sink: &KafkaSinkConfig, all: bool) {
    let (untouched, of_sink) = (KafkaSourceConfig::default(), KafkaSinkConfig::default());
    // Tokens for other brokers are not theirs to see.
    let of_its_brokers = all || [&untouched.brokers, &sink.brokers].contains(&&source.brokers);
    if sink.brokers != of_sink.brokers && (all || source.brokers == untouched.brokers) {
        sink.brokers.clone_into(&mut source.brokers);
    }
    if sink.client_id != of_sink.client_id && (all || source.client_id == untouched.client_id) {
        sink.client_id.clone_into(&mut source.client_id);
    }
    if sink.connect_timeout_ms != of_sink.connect_timeout_ms
        && (all || source.connect_timeout_ms == untouched.connect_timeout_ms)
    {
        source.connect_timeout_ms = sink.connect_timeout_ms;
    }
    if sink.token_provider.get().is_some() && of_its_brokers && (all || source.token_provider.get().is_none()) {
        source.token_provider = sink.token_provider.clone();
    }
    for (name, value) in sink.properties.iter().filter(|(name, _)| reads(name)) {
        if all || !source.properties.contains_key(name) {
            source.properties.insert(name.clone(), value.clone());
        }
    }
}

/// Refuses settings without a topic to send to.
pub(crate) fn needs_topic(config: &KafkaSinkConfig) -> Result<(), Failure> {
    match config.topic.is_empty() {
        true => Err(Failure::usage("there is no topic", "name it with --topic, or set KAFKA_TOPIC")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka_tower::{BoxError, OauthToken};

    use super::*;

    fn settings<'a>(common: &'a Common, file: FromFile, vars: &[(&str, &str)]) -> Settings<'a> {
        Settings { common, file, vars: vars.iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }

    fn common(properties: &[&str]) -> Common {
        Common { property: properties.iter().map(|pair| pair.parse().unwrap()).collect(), ..Default::default() }
    }

    #[test]
    fn options_come_before_the_environment_and_that_before_the_file() {
        let file = || FromFile {
            sink: Some(KafkaSinkConfig { brokers: "file:1".into(), linger_ms: 1, batch_size: 1, ..Default::default() }),
            source: None,
        };
        let options = common(&["linger_ms=3"]);
        let sink =
            settings(&options, file(), &[("KAFKA_LINGER_MS", "2"), ("KAFKA_BATCH_SIZE", "2")]).sink(Some("t")).unwrap();
        assert_eq!(
            (sink.brokers.as_str(), sink.linger_ms, sink.batch_size, sink.topic.as_str()),
            ("file:1", 3, 2, "t")
        );
        let options = Common { brokers: Some("option:1".into()), ..Default::default() };
        let all = settings(&options, file(), &[("KAFKA_BROKERS", "env:1")]);
        assert_eq!(
            (all.sink(None).unwrap().brokers, all.source(None, &[]).unwrap().brokers),
            ("option:1".into(), "option:1".into())
        );
    }

    #[test]
    fn a_source_connects_as_the_sink_does_unless_it_has_settings_of_its_own() {
        let options = common(&[]);
        let vars = [
            ("KAFKA_BROKERS", "a:1"),
            ("KAFKA_TOPIC", "orders"),
            ("KAFKA_SASL_USERNAME", "ada"),
            ("KAFKA_LINGER_MS", "5"),
            ("KAFKA_PARTITIONER", "random"),
            ("KAFKA_SOURCE_SASL_PASSWORD", "hunter2"),
        ];
        let source = settings(&options, FromFile::default(), &vars).source(Some("g"), &[]).unwrap();
        assert_eq!(
            (source.brokers.as_str(), source.group_id.as_str(), source.topics.as_slice()),
            ("a:1", "g", &["orders".to_owned()][..])
        );
        let names: Vec<_> = source.properties.keys().collect();
        assert_eq!(names, ["sasl.password", "sasl.username"], "nothing that only a producer has");

        let file = || FromFile {
            sink: Some(KafkaSinkConfig { brokers: "sink:1".into(), ..Default::default() }),
            source: Some(KafkaSourceConfig { brokers: "source:1".into(), ..Default::default() }),
        };
        let brokers = |vars: &[(&str, &str)]| settings(&options, file(), vars).source(None, &[]).unwrap().brokers;
        assert_eq!(brokers(&[]), "source:1");
        assert_eq!(brokers(&[("KAFKA_BROKERS", "env:1")]), "env:1");
        assert_eq!(brokers(&[("KAFKA_BROKERS", "env:1"), ("KAFKA_SOURCE_BROKERS", "own:1")]), "own:1");
    }

    #[cfg(feature = "oidc")]
    #[test]
    fn a_source_gets_its_tokens_as_the_sink_does() {
        let options = common(&[]);
        let vars = [
            ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
            ("KAFKA_SASL_MECHANISM", "OAUTHBEARER"),
            ("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "a"),
            ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "hunter2"),
            ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "https://login.example.com/token"),
        ];
        let all = settings(&options, FromFile::default(), &vars);
        let (sink, source) = (all.sink(Some("t")).unwrap(), all.source(Some("g"), &[]).unwrap());
        assert!(sink.token_provider.get().is_some() && source.token_provider.get().is_some());
    }

    #[test]
    fn tokens_of_the_sink_are_for_its_brokers_only() {
        let token = || async { Ok::<_, BoxError>(OauthToken::new("t", Duration::from_secs(300))) };
        let sink = KafkaSinkConfig { brokers: "own:1".into(), ..Default::default() }.with_token_provider(token);
        for (brokers, gets) in [("own:1", true), (&*KafkaSourceConfig::default().brokers, true), ("msk:1", false)] {
            let mut source = KafkaSourceConfig { brokers: brokers.into(), ..Default::default() };
            connect_like(&mut source, &sink, false);
            assert_eq!(source.token_provider.get().is_some(), gets, "{brokers}");
        }
    }

    #[cfg(feature = "aws-msk-iam")]
    #[test]
    fn brokers_of_amazon_msk_get_tokens_of_the_environments_credentials() {
        let options = common(&["sasl.mechanism=OAUTHBEARER"]);
        let brokers = ("KAFKA_BROKERS", "b-1.orders.abc123.c2.kafka.us-east-1.amazonaws.com:9098");
        let vars = [brokers, ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        let all = settings(&options, FromFile::default(), &vars);
        let (sink, source) = (all.sink(Some("t")).unwrap(), all.source(Some("g"), &[]).unwrap());
        assert!(sink.token_provider.get().is_some() && source.token_provider.get().is_some());
        let all = settings(&options, FromFile::default(), &vars[..1]);
        assert!(all.sink(Some("t")).unwrap_err().to_string().contains("no AWS credentials"));
    }

    #[test]
    fn topics_of_the_command_line_replace_those_of_the_settings() {
        let options = common(&[]);
        let all = settings(&options, FromFile::default(), &[("KAFKA_SOURCE_TOPIC_PATTERN", "orders-.*")]);
        assert!(all.source(None, &[]).unwrap().topics.is_empty());
        let source = all.source(None, &["a".into()]).unwrap();
        assert_eq!((source.topics, source.topic_pattern), (vec!["a".to_owned()], None));
    }
}
