use super::*;

const SECRET: &str = "hunter2";

fn read(vars: &[(&str, &str)]) -> Result<KafkaSinkConfig> {
    let files = |path: &Path| match path.to_str() {
        Some("/run/secrets/x") => Ok(format!("{SECRET}\n")),
        Some("/windows") => Ok("a:9092\r\n".to_owned()),
        Some("/two lines") => Ok("a\nb\n\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    overlay(KafkaSinkConfig::default(), "KAFKA_", vars, files)
}

fn fault(vars: &[(&str, &str)]) -> String {
    let error = read(vars).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.message().strip_prefix("the environment cannot be used: ").unwrap_or_default().to_owned()
}

#[test]
fn all_fields() {
    let config = read(&[
        ("KAFKA_BROKERS", "a:1,b:2"),
        ("KAFKA_TOPIC", "orders"),
        ("KAFKA_CLIENT_ID", "me"),
        ("KAFKA_BATCH_SIZE", "7"),
        ("KAFKA_SEND_TIMEOUT_MS", "8"),
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
        properties: BTreeMap::new(),
    }
    .with_property("security.protocol", "SASL_SSL")
    .with_property("sasl.password", " p ");
    assert_eq!(config.unwrap(), expected);
}

#[test]
fn nothing_or_nothing_of_ours_is_the_default() {
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
        "KAFKA_BOOTSTRAP_SERVERS and KAFKA_BROKERS set the same: remove one of them"
    );
}

#[test]
fn two_names_of_one_property() {
    assert_eq!(
        fault(&[("KAFKA_SASL_MECHANISM", "PLAIN"), ("KAFKA_SASL_MECHANISMS", "GSSAPI")]),
        "KAFKA_SASL_MECHANISM and KAFKA_SASL_MECHANISMS set the same: remove one of them"
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
        "KAFKA_SASL_PASSWORD_FILE: its file cannot be read (entity not found): correct the path, or the rights to it"
    );
    assert_eq!(
        fault(&[("KAFKA_SASL_PASSWORD_FILE", "/run/secrets/x"), ("KAFKA_SASL_PASSWORD", "other")]),
        "KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE set the same: remove one of them"
    );
    assert_eq!(
        fault(&[("KAFKA_BATCH_SIZE_FILE", "/run/secrets/x")]),
        "KAFKA_BATCH_SIZE_FILE: what its file has is no value for it: write digits, without a unit"
    );
}

#[test]
fn all_faults_at_once_by_name() {
    assert_eq!(
        fault(&[
            ("KAFKA_SECURITY_PROTOCOL", "tls"),
            ("KAFKA_LINGER_MS", "5ms"),
            ("KAFKA_SASL_PASWORD", SECRET),
            ("KAFKA_ENABLE_IDEMPOTENCE", "yes"),
            ("KAFKA_TOPIC", "good"),
            ("KAFKA_QUEUE_BUFFERING_MAX_KBYTES", "1"),
        ]),
        "KAFKA_ENABLE_IDEMPOTENCE: \"yes\" is neither true nor false: write true or false; \
         KAFKA_LINGER_MS: \"5ms\" is no whole number, or out of range: write digits, without a unit; \
         KAFKA_QUEUE_BUFFERING_MAX_KBYTES sets what KAFKA_BUFFER_MEMORY does: set KAFKA_BUFFER_MEMORY in its place; \
         KAFKA_SASL_PASWORD is no setting: did you mean KAFKA_SASL_PASSWORD?; \
         KAFKA_SECURITY_PROTOCOL: \"tls\" is none of its values: use one of plaintext, ssl, sasl_plaintext, sasl_ssl"
    );
}

#[test]
fn other_prefixes() {
    let config = |prefix: &str, name: &str| KafkaSinkConfig::default().with_vars(prefix, [(name, "x")]);
    assert_eq!(config("ORDERS_", "ORDERS_TOPIC").unwrap().topic, "x");
    assert_eq!(config("ORDERS_", "KAFKA_TOPIC").unwrap().topic, "");
    let error = config("ORDERS_", "ORDERS_TOPICS").unwrap_err();
    assert!(error.message().ends_with("ORDERS_TOPICS is no setting: did you mean ORDERS_TOPIC?"), "{error}");
    assert!(config("", "TOPIC").is_err());
}

#[cfg(unix)]
#[test]
fn what_is_no_utf_8() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = OsString::from_vec(b"\xff\xfehunter2".to_vec());
    let error = KafkaSinkConfig::default().with_vars("KAFKA_", [("KAFKA_SASL_PASSWORD", bytes.clone())]).unwrap_err();
    assert!(error.message().ends_with("KAFKA_SASL_PASSWORD: its value is no UTF-8: write it in UTF-8"), "{error}");
    assert!(!format!("{error:?}").contains(SECRET));
    assert!(KafkaSinkConfig::default().with_vars("KAFKA_", [(bytes, OsString::from("x"))]).is_ok());
}
