use super::*;
use crate::config::built::Built;
use crate::{CommitStrategy, KafkaSinkConfig, KafkaSourceConfig};

/// What the file changes: fields as `Debug` shows them, properties with their values.
fn sink(text: &str) -> (KafkaSinkConfig, Vec<String>) {
    let (config, ignored) = apply::<KafkaSinkConfig>(text).unwrap_or_else(|error| panic!("{error:#}"));
    let config = KafkaSinkConfig { topic: "orders".to_owned(), ..config };
    assert_eq!(config.all_conflicts(Built::WHOLE), []);
    (config, ignored)
}

fn properties(config: &KafkaSinkConfig) -> Vec<(&str, &str)> {
    config.properties.iter().map(|(name, value)| (&**name, &**value)).collect()
}

fn faults(text: &str) -> Vec<String> {
    let error = apply::<KafkaSinkConfig>(text).unwrap_err();
    kafka_tower_test_texts::assert_consistent(&error);
    let faults = error.message().strip_prefix("the properties cannot be used: ").unwrap();
    faults.split("; ").map(str::to_owned).collect()
}

#[test]
fn confluent_cloud() {
    let (config, ignored) = sink(
        "# Required connection configs for Kafka producer, consumer, and admin\n\
         bootstrap.servers=pkc-1.us-east-1.aws.confluent.cloud:9092\n\
         security.protocol=SASL_SSL\n\
         sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username='KEY' password='a/b+c=';\n\
         sasl.mechanism=PLAIN\n\
         client.dns.lookup=use_all_dns_ips\n\
         session.timeout.ms=45000\n\
         acks=all\n\
         client.id=ccloud-java-client-1\n\
         schema.registry.url=https://psrc-1.confluent.cloud\n\
         basic.auth.credentials.source=USER_INFO\n\
         basic.auth.user.info=SR:secret\n",
    );
    assert_eq!(
        (&*config.brokers, &*config.client_id),
        ("pkc-1.us-east-1.aws.confluent.cloud:9092", "ccloud-java-client-1")
    );
    assert_eq!(
        properties(&config),
        [
            ("client.dns.lookup", "use_all_dns_ips"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.password", "a/b+c="),
            ("sasl.username", "KEY"),
            ("security.protocol", "SASL_SSL"),
        ]
    );
    assert_eq!(
        ignored,
        [
            "basic.auth.credentials.source, basic.auth.user.info, schema.registry.url, which is for a schema registry",
            "session.timeout.ms, which is for consumers",
        ]
    );
}

/// As AWS documents it for Java, and as others do without the credentials: what is left for the program is the provider of tokens.
#[test]
fn tokens() {
    let msk = "bootstrap.servers=b-1.a.b.c2.kafka.us-east-1.amazonaws.com:9098\nsecurity.protocol=SASL_SSL\n\
               sasl.mechanism=AWS_MSK_IAM\n\
               sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required awsProfileName=\"dev\" awsDebugCreds=true;\n\
               sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler\n";
    let msk_by_oauth = "bootstrap.servers=b-1.a.b.c2.kafka.us-east-1.amazonaws.com:9098\nsecurity.protocol=SASL_SSL\n\
                        sasl.mechanism=OAUTHBEARER\n\
                        sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;\n\
                        sasl.login.callback.handler.class=software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler\n";
    let oauth = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n\
                 sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
                 sasl.oauthbearer.token.endpoint.url=https://login.example.com/token\n\
                 sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='a';";
    let of_msk = "a provider of tokens replaces (`with_token_provider`): `tokens::MskIamProvider` of the crate feature \
                  `aws-msk-iam`, with the AWS credentials that the program has";
    let of_other = "a provider of tokens replaces (`with_token_provider`)";
    for (text, names, why, provider) in [
        (msk, "sasl.client.callback.handler.class, sasl.jaas.config (awsProfileName)", of_msk, "MskIamProvider"),
        (msk_by_oauth, "sasl.login.callback.handler.class, sasl.jaas.config", of_msk, "MskIamProvider"),
        (
            oauth,
            "sasl.login.callback.handler.class, sasl.oauthbearer.token.endpoint.url, sasl.jaas.config",
            of_other,
            "OidcProvider",
        ),
    ] {
        let (config, ignored) = apply::<KafkaSinkConfig>(text).unwrap();
        assert_eq!(properties(&config), [("sasl.mechanism", "OAUTHBEARER"), ("security.protocol", "SASL_SSL")]);
        assert_eq!(ignored, [format!("{names}, which {why}")]);
        let config = KafkaSinkConfig { topic: "orders".into(), ..config };
        let conflicts = config.all_conflicts(Built::WHOLE);
        let conflicts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        let expected =
            "`properties` has \"sasl.mechanism\" with OAUTHBEARER, and there is no provider of tokens: set one";
        assert!(conflicts.len() == 1 && conflicts[0].starts_with(expected), "{conflicts:?}");
        assert!(conflicts[0].contains(provider), "{conflicts:?}");
        let config = config.with_token_provider(|| async { Err::<crate::OauthToken, _>("down") });
        assert_eq!(config.all_conflicts(Built::WHOLE), []);
        // In a file that has faults, the provider is not one.
        assert_eq!(faults(&format!("{text}\nacks=2")).len(), 1 + usize::from(!Built::HERE.tls) * 2);
    }
    assert_eq!(
        faults("sasl.mechanism=PLAIN\nsasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;"),
        [
            "line 2: sasl.jaas.config gets tokens, which only the mechanism OAUTHBEARER uses: remove it, or set sasl.mechanism to OAUTHBEARER"
        ]
    );
}

/// Client credentials: with the feature they are all that a provider needs.
#[test]
fn client_credentials() {
    let java = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n\
                sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
                sasl.oauthbearer.token.endpoint.url=https://login.example.com/token\n\
                sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='a' \
                clientSecret='hunter2' scope='kafka' extension_logicalCluster='lkc-1';";
    let librdkafka = "security.protocol=SASL_SSL\nsasl.mechanisms=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n\
                      sasl.oauthbearer.client.id=a\nsasl.oauthbearer.client.secret=hunter2\n\
                      sasl.oauthbearer.token.endpoint.url=https://login.example.com/token\n";
    for text in [java, librdkafka] {
        let (config, ignored) = apply::<KafkaSinkConfig>(text).unwrap();
        assert_eq!(config.token_provider.get().is_some(), cfg!(feature = "oidc"));
        assert!(config.properties.keys().all(|name| !name.starts_with("sasl.oauthbearer.")), "{config:?}");
        let why = if cfg!(feature = "oidc") {
            "the provider of tokens replaces that is made of them"
        } else {
            "the crate feature `oidc` makes a provider of tokens of; without it, set one (`with_token_provider`)"
        };
        assert!(ignored.len() == 1 && ignored[0].ends_with(&format!(", which {why}")), "{ignored:?}");
        assert!(!format!("{config:?} {ignored:?}").contains("hunter2"));
        let config = apply::<KafkaSourceConfig>(text).unwrap().0;
        assert_eq!(config.token_provider.get().is_some(), cfg!(feature = "oidc"));
    }
    let of =
        |url| format!("sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.client.id=a\nsasl.oauthbearer.client.secret={url}");
    let wrong = of("<hunter2>\nsasl.oauthbearer.token.endpoint.url=https://a");
    assert!(faults(&wrong)[0].starts_with("line 3: sasl.oauthbearer.client.secret has a placeholder"));
    #[cfg(feature = "oidc")]
    assert!(faults(&of("hunter2\nsasl.oauthbearer.token.endpoint.url=login.example.com/token"))[0].starts_with(
        "line 4: sasl.oauthbearer.token.endpoint.url: the provider of tokens cannot be used: its endpoint is not a URL"
    ));
}

#[test]
fn event_hubs() {
    let (config, _) = sink(
        "bootstrap.servers=ns.servicebus.windows.net:9093\nsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nrequest.timeout.ms=60000\n\
         metadata.max.age.ms=180000\nconnections.max.idle.ms=180000\n\
         sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"$ConnectionString\" \
         password=\"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=abc=\";",
    );
    assert_eq!(config.properties["sasl.username"], "$ConnectionString");
    let password = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=abc=";
    assert_eq!(config.properties["sasl.password"], password);
}

#[test]
fn msk_with_scram() {
    let (config, _) = sink(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n   username=\"alice\" \\\n   password=\"x\";\n\
         ssl.truststore.type=PEM\nssl.truststore.location=/etc/ca.pem",
    );
    assert_eq!(
        properties(&config),
        [
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.password", "x"),
            ("sasl.username", "alice"),
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", "/etc/ca.pem"),
        ]
    );
}

/// With client certificates. A truststore of Java has to be converted.
#[test]
fn aiven() {
    let text = "bootstrap.servers=a.aivencloud.com:12835\nsecurity.protocol=SSL\nssl.protocol=TLS\n\
                ssl.keystore.type=PKCS12\nssl.keystore.location=client.keystore.p12\nssl.keystore.password=secret\nssl.key.password=secret\n\
                ssl.truststore.location=client.truststore.jks\nssl.truststore.password=secret\n";
    assert_eq!(
        // Without TLS in this build there are more.
        faults(text)[..3],
        [
            "line 3: \"ssl.protocol\", which is a name of the Java client: remove it, because librdkafka has no counterpart",
            "line 8: ssl.truststore.location is a Java truststore, which librdkafka cannot read: convert it with `keytool -exportcert \
             -rfc`, and set ssl.truststore.type to PEM",
            "without it, the system's certificates are trusted",
        ]
    );
    let text = "security.protocol=SSL\nssl.keystore.type=PKCS12\nssl.keystore.location=client.keystore.p12\n\
                ssl.keystore.password=secret\nssl.key.password=secret\nssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n";
    let (config, ignored) = sink(text);
    assert_eq!(
        properties(&config),
        [
            ("security.protocol", "SSL"),
            ("ssl.ca.location", "ca.pem"),
            ("ssl.keystore.location", "client.keystore.p12"),
            ("ssl.keystore.password", "secret"),
        ]
    );
    assert!(ignored.is_empty());
    let pem = "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=client.pem\nssl.key.password=secret";
    assert_eq!(
        properties(&sink(pem).0),
        [
            ("security.protocol", "SSL"),
            ("ssl.certificate.location", "client.pem"),
            ("ssl.key.location", "client.pem"),
            ("ssl.key.password", "secret"),
        ]
    );
}

#[test]
fn a_producer_of_java() {
    let (config, ignored) = sink(
        "bootstrap.servers=a:1,b:2\nacks=-1\nlinger.ms=5\nbuffer.memory=65536\ndelivery.timeout.ms=60000\nmax.block.ms=5000\n\
         max.in.flight.requests.per.connection=3\ncompression.type=gzip\ncompression.gzip.level=6\ncompression.lz4.level=3\n\
         transactional.id=billing\nmax.request.size=2000000\nreceive.buffer.bytes=-1\nretries=2147483647\nbatch.size=32768\n\
         key.serializer=org.apache.kafka.common.serialization.StringSerializer\n",
    );
    let expected = KafkaSinkConfig {
        brokers: "a:1,b:2".into(),
        acks: "-1".into(),
        topic: "orders".into(),
        linger_ms: 5,
        buffer_memory: 65536,
        send_timeout_ms: 60_000,
        max_in_flight_requests: 3,
        compression_type: "gzip".into(),
        enable_transactions: true,
        transactional_id: Some("billing".into()),
        ..KafkaSinkConfig::default()
    }
    .with_property("batch.size", "32768")
    .with_property("compression.level", "6")
    .with_property("message.max.bytes", "2000000")
    .with_property("retries", "2147483647")
    .with_property("socket.receive.buffer.bytes", "0");
    assert_eq!((&config, &config.properties), (&expected, &expected.properties));
    assert_eq!(
        ignored,
        [
            "max.block.ms, which is a part of the time of a send",
            "key.serializer, which is chosen in code",
            "compression.lz4.level, which is for another compression",
        ]
    );
}

#[test]
fn a_consumer() {
    let (config, ignored) = apply::<KafkaSourceConfig>(
        "compression.type=gzip\ncompression.gzip.level=6\ngroup.id=billing\nenable.auto.commit=true\nauto.commit.interval.ms=700\nmax.poll.records=5\nfetch.max.wait.ms=20\nlinger.ms=5\n\
         max.poll.interval.ms=600000\npartition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor",
    )
    .unwrap();
    assert_eq!((config.commit, config.commit_interval_ms), (CommitStrategy::Automatic, 700));
    assert_eq!((config.rebalance_timeout_ms, config.fetch_max_wait_ms), (600_000, 20));
    assert_eq!(
        ignored,
        [
            "compression.gzip.level, compression.type, linger.ms, which is for producers",
            "max.poll.records, which other limits bound"
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_in_one_error_without_secrets() {
    let text = "acks=2\n\
                sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username='hunter2';\n\
                sasl.mechanism=KERBEROS\n\
                linger.ms=1\n\
                linger.ms=2\n\
                ssl.key.password=${file:/run/secrets:hunter2}\n\
                bootstrap.servers={{ BROKERS }}\n\
                x=\\u12\n\
                hunter2=sasl.password\n\
                ssl.keystore.location=a.jks";
    assert_eq!(
        faults(text),
        [
            "line 1: acks is \"2\": use one of 0, 1, all, -1",
            "line 2: sasl.jaas.config has no password: add it",
            "line 3: sasl.mechanism: unknown value \"KERBEROS\": use one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI",
            "line 5: linger.ms has another value in line 4: remove one of them",
            "line 6: ssl.key.password has a `${…}`, which only Java's `config.providers` replace: write the value itself",
            "line 7: bootstrap.servers has a placeholder in place of a value: write the value itself",
            "line 8 has `\\u` without four hexadecimal digits that are a character: write `\\\\` for a backslash",
            "line 9: \"sasl.password\" as the value of a property: swap its name and its value",
            "line 10: ssl.keystore.location has no ssl.keystore.type that librdkafka can read: set it to PKCS12 or PEM",
            "convert another one with `keytool -importkeystore -deststoretype PKCS12`",
        ]
    );
    for jaas in [
        "org.apache.kafka.common.security.plain.PlainLoginModule required username='hunter2' password='<hunter2>';",
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientSecret='hunter2';",
        "software.amazon.msk.auth.iam.IAMLoginModule required hunter2='x';",
        "com.example.Hunter required hunter2='hunter2';",
        "hunter2",
    ] {
        let wrong = apply::<KafkaSinkConfig>(&format!("sasl.jaas.config={jaas}")).unwrap_err();
        kafka_tower_test_texts::assert_consistent(&wrong);
        assert!(!format!("{wrong:#} {wrong:?}").contains("hunter2"), "{wrong:#}");
    }
}

/// A value over several lines without backslashes: each line but the first looks like a name.
#[test]
fn lines_that_are_no_settings_are_not_shown() {
    let pem = "ssl.keystore.key=-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIBAQC7=\nhunter2\nhunter.2\n-----END PRIVATE KEY-----";
    let wrong = apply::<KafkaSinkConfig>(pem).unwrap_err();
    let text = format!("{wrong:#} {wrong:?}");
    assert!(!text.contains("MIIE") && !text.contains("AQEF") && !text.contains("hunter"), "{text}");
    for line in 2..=6 {
        assert!(
            text.contains(&format!("line {line}: this is not a setting: end each line of a longer value")),
            "{text}"
        );
    }
}

#[test]
fn one_setting_under_two_names_has_one_value() {
    for (text, fault) in [
        ("acks=all\nrequest.required.acks=0", "line 2: request.required.acks sets the same as line 1 to another value"),
        (
            "buffer.memory=65536\nqueue.buffering.max.kbytes=1",
            "line 2: queue.buffering.max.kbytes sets the same as line 1",
        ),
        ("max.request.size=5000\nmessage.max.bytes=6000", "line 2: message.max.bytes sets the same as line 1"),
        (
            "sasl.jaas.config=a.PlainLoginModule required username=a password=b;\nsasl.username=c",
            "line 2: sasl.username sets the same as line 1",
        ),
    ] {
        let found = faults(text);
        assert!(found.iter().any(|found| found.starts_with(fault)), "{found:?}");
    }
    assert!(
        apply::<KafkaSinkConfig>("buffer.memory=1048576\nqueue.buffering.max.kbytes=1024").is_ok(),
        "the same value"
    );
}
