use super::*;
use crate::{GroupProtocol, KafkaSinkConfig, KafkaSourceConfig, StartFrom};

const SECRET: &str = "hunter2";

fn read(vars: &[(&str, &str)]) -> Result<KafkaSinkConfig> {
    let files = |path: &Path| match path.to_str() {
        Some("/run/secrets/x") => Ok(format!("{SECRET}\n")),
        Some("/windows") => Ok("a:9092\r\n".to_owned()),
        Some("/two lines") => Ok("a\nb\n\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    overlay(KafkaSinkConfig::default(), "KAFKA_", vars, files, Unknown::Refuse)
}

fn fault(vars: &[(&str, &str)]) -> String {
    let error = read(vars).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    kafka_tower_test_texts::assert_consistent(&error);
    error.message().strip_prefix("the environment cannot be used: ").unwrap_or_default().to_owned()
}

#[test]
fn an_empty_prefix_is_rejected() {
    let vars = std::iter::empty();
    let read = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let error = overlay(KafkaSinkConfig::default(), "", vars, read, Unknown::Refuse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    kafka_tower_test_texts::assert_consistent(&error);
}

#[test]
fn all_fields() {
    let config = read(&[
        ("KAFKA_BROKERS", "a:1,b:2"),
        ("KAFKA_TOPIC", "orders"),
        ("KAFKA_CLIENT_ID", "me"),
        ("KAFKA_BATCH_SIZE", "7"),
        ("KAFKA_SEND_TIMEOUT_MS", "8"),
        ("KAFKA_CONNECT_TIMEOUT_MS", "16"),
        ("KAFKA_DELIVERY_BOUND_MS", "17"),
        ("KAFKA_ENABLE_IDEMPOTENCE", "False"),
        ("KAFKA_ENABLE_TRANSACTIONS", "true"),
        ("KAFKA_TRANSACTIONAL_ID", "id"),
        ("KAFKA_COMPRESSION_TYPE", "lz4"),
        ("KAFKA_ACKS", "1"),
        ("KAFKA_MAX_RETRIES", "9"),
        ("KAFKA_BASE_BACKOFF_MS", "10"),
        ("KAFKA_MAX_IN_FLIGHT_REQUESTS", "11"),
        ("KAFKA_LINGER_MS", "12"),
        ("KAFKA_BUFFER_MEMORY", "13"),
        ("KAFKA_ENABLE_CIRCUIT_BREAKER", "0"),
        ("KAFKA_CIRCUIT_BREAKER_THRESHOLD", "14"),
        ("KAFKA_CIRCUIT_BREAKER_TIMEOUT_SECS", "15"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_PASSWORD", " p "),
        ("PATH", "/bin"),
        ("kafka_topic", "other"),
    ]);
    let expected = KafkaSinkConfig {
        brokers: "a:1,b:2".into(),
        topic: "orders".into(),
        client_id: "me".into(),
        batch_size: 7,
        send_timeout_ms: 8,
        connect_timeout_ms: 16,
        delivery_bound_ms: 17,
        enable_idempotence: false,
        enable_transactions: true,
        transactional_id: Some("id".into()),
        compression_type: "lz4".into(),
        acks: "1".into(),
        max_retries: 9,
        base_backoff_ms: 10,
        max_in_flight_requests: 11,
        linger_ms: 12,
        buffer_memory: 13,
        enable_circuit_breaker: false,
        circuit_breaker_threshold: 14,
        circuit_breaker_timeout_secs: 15,
        ..Default::default()
    }
    .with_property("security.protocol", "SASL_SSL")
    .with_property("sasl.password", " p ");
    assert_eq!(config.unwrap(), expected);
}

#[test]
fn without_our_variables_all_is_default() {
    for vars in
        [&[][..], &[("KAFKA_BROKERS", "")], &[("KAFKA_HEAP_OPTS", "-Xmx1G"), ("KAFKA_PORT", "tcp://10.0.0.1:9092")]]
    {
        assert_eq!(read(vars).unwrap(), KafkaSinkConfig::default());
    }
}

#[test]
fn another_name_of_the_brokers() {
    assert_eq!(read(&[("KAFKA_BOOTSTRAP_SERVERS", "a:1")]).unwrap().brokers, "a:1");
    assert!(read(&[("KAFKA_BOOTSTRAP_SERVERS", "a:1"), ("KAFKA_BROKERS", "a:1")]).is_ok());
    assert_eq!(
        fault(&[("KAFKA_BOOTSTRAP_SERVERS", "a:1"), ("KAFKA_BROKERS", "b:1")]),
        "KAFKA_BOOTSTRAP_SERVERS and KAFKA_BROKERS set the same setting: remove one of them"
    );
}

#[test]
fn two_names_of_one_property() {
    assert_eq!(
        fault(&[("KAFKA_SASL_MECHANISM", "PLAIN"), ("KAFKA_SASL_MECHANISMS", "GSSAPI")]),
        "KAFKA_SASL_MECHANISM and KAFKA_SASL_MECHANISMS set the same setting: remove one of them"
    );
    let base = KafkaSinkConfig::default().with_property("sasl.mechanisms", "PLAIN").with_property("retries", "1");
    let config = base.with_vars("MY_", [("MY_SASL_MECHANISM", "SCRAM-SHA-512")]).unwrap();
    let names: Vec<_> = config.properties.into_iter().collect();
    let expected = [("retries", "1"), ("sasl.mechanism", "SCRAM-SHA-512")];
    assert_eq!(names, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn files() {
    let config = read(&[
        ("KAFKA_SASL_PASSWORD_FILE", "/run/secrets/x"),
        ("KAFKA_BROKERS_FILE", "/windows"),
        ("KAFKA_SSL_KEY_PASSWORD_FILE", "/two lines"),
    ]);
    let config = config.unwrap();
    assert_eq!((config.brokers.as_str(), config.properties["sasl.password"].as_str()), ("a:9092", SECRET));
    assert_eq!(config.properties["ssl.key.password"], "a\nb\n", "one line break is the file's");
    assert_eq!(
        fault(&[("KAFKA_SASL_PASSWORD_FILE", SECRET)]),
        "KAFKA_SASL_PASSWORD_FILE: its file cannot be read (entity not found): correct the path, or the \
         file's permissions"
    );
    assert_eq!(
        fault(&[("KAFKA_SASL_PASSWORD_FILE", "/run/secrets/x"), ("KAFKA_SASL_PASSWORD", "other")]),
        "KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE set the same setting: remove one of them"
    );
    assert_eq!(
        fault(&[("KAFKA_BATCH_SIZE_FILE", "/run/secrets/x")]),
        "KAFKA_BATCH_SIZE_FILE: the content of its file is not a valid value: write digits, without a unit"
    );
}

#[test]
fn all_faults_at_once_by_name() {
    assert_eq!(
        fault(&[
            ("KAFKA_SECURITY_PROTOCOL", "tls"),
            ("KAFKA_LINGER_MS", "5ms"),
            ("KAFKA_SASL_PASWORD", SECRET),
            ("KAFKA_ENABLE_IDEMPOTENCE", "maybe"),
            ("KAFKA_TOPIC", "good"),
            ("KAFKA_QUEUE_BUFFERING_MAX_KBYTES", "1"),
        ]),
        "KAFKA_ENABLE_IDEMPOTENCE: \"maybe\" is neither true nor false: write true or false; KAFKA_LINGER_MS: \
         expected a whole number in range, got \"5ms\": write digits, without a unit; \
         KAFKA_QUEUE_BUFFERING_MAX_KBYTES sets the same as KAFKA_BUFFER_MEMORY: set KAFKA_BUFFER_MEMORY instead; \
         KAFKA_SASL_PASWORD is an unknown setting: did you mean KAFKA_SASL_PASSWORD?; KAFKA_SECURITY_PROTOCOL: \
         unknown value \"tls\": use one of plaintext, ssl, sasl_plaintext, sasl_ssl"
    );
}

/// The error includes what only `validate` checks, and settings that do not fit together, unless they were named
/// already.
#[test]
fn the_values_of_choices_are_among_the_faults() {
    let vars = [
        ("KAFKA_LINGER_MS", "5ms"),
        ("KAFKA_ACKS", "2"),
        ("KAFKA_COMPRESSION_TYPE", "brotli"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka://a,b:x"),
        ("KAFKA_RECONNECT_BACKOFF_MS", "20000"),
        ("KAFKA_SEND_TIMEOUT_MS", "0"),
    ];
    assert_eq!(
        fault(&vars),
        "KAFKA_ACKS is \"2\": use one of 0, 1, all, -1; KAFKA_BOOTSTRAP_SERVERS has \"b:x\", which needs a port \
         from 1 to 65535 after its colon: write host:port, separated by commas; KAFKA_BOOTSTRAP_SERVERS has \
         \"kafka://a\", which is a URL: write host:port, separated by commas; KAFKA_COMPRESSION_TYPE is \"brotli\": \
         use one of none, gzip, snappy, lz4, zstd; KAFKA_LINGER_MS: expected a whole number in range, got \"5ms\": \
         write digits, without a unit; KAFKA_RECONNECT_BACKOFF_MS (20000) is above KAFKA_RECONNECT_BACKOFF_MAX_MS \
         (10000): raise the second; KAFKA_SEND_TIMEOUT_MS is 0: set it to the milliseconds that a send may take"
    );
    assert!(fault(&vars[1..2]).starts_with("KAFKA_ACKS is \"2\": use one of"), "also alone");
}

#[test]
fn missing_settings_are_left_to_validate() {
    let vars = [
        ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        ("KAFKA_SASL_USERNAME", "u"),
    ];
    let config = read(&vars).unwrap();
    let text = config.validate().unwrap_err().to_string();
    assert!(text.contains("no KAFKA_SASL_PASSWORD, which PLAIN needs: set it"), "{text}");
    assert!(text.contains("KAFKA_TOPIC is empty"), "{text}");
    let config = KafkaSinkConfig { topic: "t".into(), ..config.with_property("sasl.password", "p") };
    assert_eq!(config.conflicts(), []);
}

#[test]
fn a_fault_and_the_setting_it_lacks_are_reported_once() {
    let text = fault(&[
        ("KAFKA_TOPIC", "t"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        ("KAFKA_SASL_JAAS_CONFIG", "org.apache.kafka.common.security.plain.PlainLoginModule required"),
        ("KAFKA_BUFFER_MEMORY", "1"),
        ("KAFKA_MAX_BLOCK_MS", "1"),
    ]);
    assert_eq!(
        text,
        "KAFKA_MAX_BLOCK_MS is a setting of the Java client: set KAFKA_SEND_TIMEOUT_MS; KAFKA_SASL_JAAS_CONFIG is a \
         setting of the Java client: use KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
    );
}

#[test]
fn a_value_from_a_file_is_never_shown() {
    for name in
        ["KAFKA_BROKERS_FILE", "KAFKA_ACKS_FILE", "KAFKA_TOPIC_FILE", "KAFKA_SSL_CA_PEM_FILE", "KAFKA_LINGER_MS_FILE"]
    {
        let text = fault(&[(name, "/two lines")]);
        assert!(text.contains(&format!("{name}: the content of its file is not a valid value: ")), "{text}");
        assert!(!text.contains("a\\n"), "{text}");
    }
}

#[test]
fn flags_have_common_spellings() {
    for (text, flag) in
        [("yes", true), ("On", true), ("1", true), ("TRUE", true), ("NO", false), ("off", false), ("0", false)]
    {
        let config = read(&[("KAFKA_ENABLE_CIRCUIT_BREAKER", text), ("KAFKA_SOCKET_KEEPALIVE_ENABLE", text)]).unwrap();
        assert_eq!(config.enable_circuit_breaker, flag, "{text}");
        assert_eq!(config.librdkafka_properties()["socket.keepalive.enable"], flag.to_string(), "{text}");
    }
}

#[test]
fn unknown_variables_can_be_ignored() {
    let vars = |names: &[(&'static str, &'static str)]| {
        let mut said = Vec::new();
        let vars = names.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect::<Vec<_>>();
        let mut say = |text: &str| said.push(text.to_owned());
        let nothing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let config =
            overlay(KafkaSinkConfig::default(), "KAFKA_", vars.into_iter(), nothing, Unknown::Ignore(&mut say));
        (config, said)
    };
    let (config, said) = vars(&[("KAFKA_TOPIC", "t"), ("KAFKA_BROKER_ID", "1"), ("KAFKA_SASL_JAAS_CONFIG", SECRET)]);
    assert_eq!(config.unwrap().topic, "t");
    assert_eq!(
        said,
        [
            "KAFKA_BROKER_ID is an unknown setting: correct or remove it, or use another prefix",
            "KAFKA_SASL_JAAS_CONFIG is a setting of the Java client: use KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
        ]
    );
    let (config, _) = vars(&[("KAFKA_BROKER_ID", "1"), ("KAFKA_ACKS", "2")]);
    assert!(config.unwrap_err().message().contains("KAFKA_ACKS is \"2\""), "a wrong value is an error all the same");
}

/// The same wrong settings give the same faults, from variables and from a file.
#[cfg(feature = "json")]
#[test]
fn a_file_and_variables_give_the_same_faults() {
    let fields =
        [("acks", "2"), ("linger_ms", "5ms"), ("enable_idempotence", "maybe"), ("topic", "a b"), ("batch_size", "0")];
    let properties = [
        ("ssl.ca.pem", "/ca.pem"),
        ("security.protocol", "tls"),
        ("socket.timeout.ms", "5"),
        ("reconnect.backoff.ms", "20000"),
    ];
    let all = fields.iter().chain(&properties);
    let image = |name: &str| format!("KAFKA_{}", name.to_ascii_uppercase().replace('.', "_"));
    let from_vars =
        KafkaSinkConfig::default().with_vars("KAFKA_", all.clone().map(|(name, value)| (image(name), *value)));
    let json = serde_json::json!({
        "acks": "2", "linger_ms": "5ms", "enable_idempotence": "maybe", "topic": "a b", "batch_size": 0,
        "properties": { "ssl.ca.pem": "/ca.pem", "security": { "protocol": "tls" }, "socket.timeout.ms": 5, "reconnect.backoff.ms": 20000 },
    });
    let from_file = serde_json::from_value::<KafkaSinkConfig>(json).unwrap_err().to_string();
    let from_vars = from_vars.unwrap_err().message().to_owned();
    for (name, _) in all {
        assert!(from_vars.contains(&image(name)), "{name}: {from_vars}");
        assert!(
            from_file.contains(&format!("`{name}`")) || from_file.contains(&format!("{name:?}")),
            "{name}: {from_file}"
        );
    }
    assert_eq!(from_vars.matches("; ").count(), from_file.matches("; ").count(), "{from_vars}\n{from_file}");
}

#[test]
fn other_prefixes() {
    let config = |prefix: &str, name: &str| KafkaSinkConfig::default().with_vars(prefix, [(name, "x")]);
    assert_eq!(config("ORDERS_", "ORDERS_TOPIC").unwrap().topic, "x");
    assert_eq!(config("ORDERS_", "KAFKA_TOPIC").unwrap().topic, "");
    let error = config("ORDERS_", "ORDERS_TOPICS").unwrap_err();
    assert!(error.message().ends_with("ORDERS_TOPICS is an unknown setting: did you mean ORDERS_TOPIC?"), "{error}");
    assert!(config("", "TOPIC").is_err());
}

#[cfg(unix)]
#[test]
fn values_that_are_not_utf_8() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = OsString::from_vec(b"\xff\xfehunter2".to_vec());
    let error = KafkaSinkConfig::default().with_vars("KAFKA_", [("KAFKA_SASL_PASSWORD", bytes.clone())]).unwrap_err();
    assert!(error.message().ends_with("KAFKA_SASL_PASSWORD: its value is not UTF-8: write it in UTF-8"), "{error}");
    assert!(!format!("{error:?}").contains(SECRET));
    assert!(KafkaSinkConfig::default().with_vars("KAFKA_", [(bytes, OsString::from("x"))]).is_ok());
}

#[test]
fn a_source_is_read_and_its_conflicts_name_the_variables() {
    let read = |vars: &[(&str, &str)]| KafkaSourceConfig::default().with_vars("KAFKA_SOURCE_", vars.iter().copied());
    let config = read(&[
        ("KAFKA_SOURCE_TOPICS", "orders, returns"),
        ("KAFKA_SOURCE_START", "Latest"),
        ("KAFKA_SOURCE_ON_OUT_OF_RANGE", "fail"),
        ("KAFKA_SOURCE_GROUP_PROTOCOL", "consumer"),
        ("KAFKA_SOURCE_SESSION_TIMEOUT_MS", "6000"),
        ("KAFKA_SOURCE_SASL_PASSWORD", SECRET),
        ("KAFKA_TOPIC", "of a sink"),
    ])
    .unwrap();
    assert_eq!((config.start.clone(), config.group_protocol), (StartFrom::Latest, GroupProtocol::Consumer));
    assert_eq!(config.on_out_of_range, Some(crate::OutOfRangePolicy::Fail));
    assert_eq!(config.topics, ["orders", "returns"]);
    let fixed = read(&[("KAFKA_SOURCE_GROUP_ID", "billing"), ("KAFKA_SOURCE_ASSIGN", "orders:0, orders:12")]).unwrap();
    assert_eq!(fixed.assign, [0, 12].map(|number| crate::TopicPartition::new("orders", number)));
    let wrong = read(&[("KAFKA_SOURCE_ASSIGN", "orders:x")]).unwrap_err();
    assert!(wrong.message().contains("\"orders:x\" is no partition: write the topic, a colon"), "{wrong}");
    assert_eq!(
        config.validate().unwrap_err().message(),
        "the configuration cannot work: KAFKA_SOURCE_GROUP_ID is empty: name the consumer group; \
         KAFKA_SOURCE_SESSION_TIMEOUT_MS has no effect while KAFKA_SOURCE_GROUP_PROTOCOL is `Consumer`: leave it out, \
         because it is a setting of the brokers, or set KAFKA_SOURCE_GROUP_PROTOCOL to `Classic`",
    );
    assert!(
        config.warnings()[0].starts_with("KAFKA_SOURCE_SASL_PASSWORD is set but unused"),
        "{:?}",
        config.warnings()
    );

    let error = read(&[
        ("KAFKA_SOURCE_ENABLE_AUTO_COMMIT", "true"),
        ("KAFKA_SOURCE_LINGER_MS", "5"),
        ("KAFKA_SOURCE_SASL_MECHANISM", SECRET),
        ("KAFKA_SOURCE_SASL_PASWORD", SECRET),
        ("KAFKA_SOURCE_TOPICS", "a b"),
    ])
    .unwrap_err();
    kafka_tower_test_texts::assert_consistent(&error);
    let text = error.message();
    for part in [
        "KAFKA_SOURCE_ENABLE_AUTO_COMMIT is set by the transport: remove it, and set KAFKA_SOURCE_COMMIT; ",
        "KAFKA_SOURCE_LINGER_MS is for producers: remove it; ",
        "KAFKA_SOURCE_SASL_PASWORD is an unknown setting: did you mean KAFKA_SOURCE_SASL_PASSWORD?; ",
        "KAFKA_SOURCE_TOPICS: \"a b\" is not a valid topic name",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    assert!(error.help().contains("KafkaSourceConfig::with_vars_lenient"), "{}", error.help());
}

const OIDC: [(&str, &str); 6] = [
    ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
    ("KAFKA_SASL_MECHANISM", "OAUTHBEARER"),
    ("KAFKA_SASL_OAUTHBEARER_METHOD", "oidc"),
    ("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "orders"),
    ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET_FILE", "/run/secrets/x"),
    ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "https://login.example.com/token"),
];

/// With the crate feature `oidc` they are all that a provider of tokens needs.
#[cfg(feature = "oidc")]
#[test]
fn client_credentials_become_a_provider_of_tokens() {
    let config = read(&OIDC).unwrap();
    assert!(config.token_provider.get().is_some());
    let names: Vec<_> = config.properties.keys().collect();
    assert_eq!(names, ["sasl.mechanism", "security.protocol"]);
    let config = KafkaSinkConfig { topic: "orders".into(), ..config };
    assert_eq!(config.all_conflicts(crate::config::built::Built::WHOLE), []);
    assert!(!format!("{config:?}").contains(SECRET));

    // In two steps, as a file and the secret of the environment.
    let (secret, others): (Vec<_>, Vec<_>) = OIDC.into_iter().partition(|(name, _)| name.ends_with("_FILE"));
    let config = read(&others).unwrap();
    assert!(config.token_provider.get().is_none());
    let text = config.validate().unwrap_err().to_string();
    let lacks = "KAFKA_SASL_OAUTHBEARER_CLIENT_ID, which is part of incomplete client credentials: \
                 KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET is missing: set KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET in the same \
                 file or environment";
    assert!(text.contains(lacks), "{text}");
    let files = |_: &Path| Ok(SECRET.to_owned());
    let secret = secret.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let config = overlay(config, "KAFKA_", secret, files, Unknown::Refuse).unwrap();
    assert!(config.token_provider.get().is_some());
}

#[cfg(feature = "oidc")]
#[test]
fn client_credentials_that_cannot_be_used_are_named_by_their_variables() {
    let with = |name, value| fault(&[&OIDC[..5], &[(name, value)]].concat());
    let endpoint = OIDC[5].0;
    assert_eq!(
        with(endpoint, "login.example.com/token"),
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL: the provider of tokens cannot be used: its endpoint is not a URL: \
         write the URL of a token endpoint, https://…"
    );
    let roots = |name, value| fault(&[&OIDC[..], &[(name, value)]].concat());
    let text = roots("KAFKA_HTTPS_CA_LOCATION", "/does/not/exist");
    let expected = "KAFKA_HTTPS_CA_LOCATION: the file of the token endpoint's certificates cannot be read (";
    assert!(text.starts_with(expected) && !text.contains("exist"), "{text}");
    let text = roots("KAFKA_HTTPS_CA_PEM", SECRET);
    assert!(text.starts_with("KAFKA_HTTPS_CA_PEM: the provider of tokens cannot be used: "), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[cfg(not(feature = "oidc"))]
#[test]
fn client_credentials_need_the_feature() {
    let text = fault(&OIDC);
    assert!(text.contains("`tokens::OidcProvider` (crate feature `oidc`)"), "{text}");
}
