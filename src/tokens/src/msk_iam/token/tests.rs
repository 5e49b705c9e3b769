use std::collections::BTreeMap;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2026-11-30T10:20:30Z.
const NOW: Duration = Duration::from_secs(1_796_034_030);

fn keys(id: &str, secret: &str, session: Option<&str>) -> Credentials {
    Credentials::new(id, secret, session.map(str::to_owned), None, "test")
}

fn url(token: &OauthToken) -> String {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token.value()).unwrap()).unwrap()
}

/// The parameters by name, as they stand in the URL.
fn query(url: &str) -> BTreeMap<&str, &str> {
    url.split_once('?').unwrap().1.split('&').map(|param| param.split_once('=').unwrap()).collect()
}

/// Of AWS's test suite of Signature Version 4 (presigned URLs).
#[test]
fn the_signatures_of_the_suite_of_aws() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let session = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let ordered = "Param-3=Value3&Param=Value2&%E1%88%B4=Value1";
    for (case, query_before, session, signature) in [
        ("get-vanilla", "", None, "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        (
            "get-vanilla-with-session-token",
            "",
            Some(session),
            "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c",
        ),
        (
            "get-vanilla-query-order-encoded",
            ordered,
            None,
            "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787",
        ),
    ] {
        let credentials = keys("AKIDEXAMPLE", SECRET, session);
        let url = format!("https://example.amazonaws.com/?{query_before}");
        let url = presign(url, "service", &credentials, "us-east-1", time, Duration::from_secs(3600)).unwrap();
        assert_eq!(query(&url.replace("?&", "?"))["X-Amz-Signature"], signature, "{case}");
    }
}

/// The URLs that Amazon's signer for Python (aws-msk-iam-sasl-signer-python 1.0.2 over botocore) makes at that time, without its
/// `User-Agent`.
#[test]
fn the_tokens_of_amazons_signer() {
    let session = "IQoJb3JpZ2luX2VjEPz//+a/b=c d~e_f-g.h%20==";
    for (region, credentials, expected) in [
        (
            "us-west-2",
            keys("MOCK-ACCESS-KEY", "MOCK-SECRET-KEY", None),
            "X-Amz-Credential=MOCK-ACCESS-KEY%2F20261130%2Fus-west-2%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20261130T102030Z&\
             X-Amz-Expires=900&X-Amz-SignedHeaders=host&\
             X-Amz-Signature=d32e86f5139e0687c5ddc32e6a804c65f608c9a83a58e70524b7208d133b49b1",
        ),
        (
            "us-west-2",
            keys("MOCK-ACCESS-KEY", "MOCK-SECRET-KEY", Some("MOCK-SESSION-TOKEN")),
            "X-Amz-Credential=MOCK-ACCESS-KEY%2F20261130%2Fus-west-2%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20261130T102030Z&\
             X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Security-Token=MOCK-SESSION-TOKEN&\
             X-Amz-Signature=c3fb6e5a5bff395cea45c652c056d4f211433b39bf8e94d0bf5304071daf6b53",
        ),
        (
            "eu-central-1",
            keys("AKIDEXAMPLE", SECRET, Some(session)),
            "X-Amz-Credential=AKIDEXAMPLE%2F20261130%2Feu-central-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20261130T102030Z&\
             X-Amz-Expires=900&X-Amz-SignedHeaders=host&\
             X-Amz-Security-Token=IQoJb3JpZ2luX2VjEPz%2F%2F%2Ba%2Fb%3Dc%20d~e_f-g.h%2520%3D%3D&\
             X-Amz-Signature=a9bb3903dcb444e844662301154f85e63d2384cb629a98b42cfc34405e6a60c1",
        ),
        (
            "cn-north-1",
            keys("AKIDEXAMPLE", SECRET, None),
            "X-Amz-Credential=AKIDEXAMPLE%2F20261130%2Fcn-north-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20261130T102030Z&\
             X-Amz-Expires=900&X-Amz-SignedHeaders=host&\
             X-Amz-Signature=f911c1f4bcf582c3972a7a7b61125454cb68c7302c5d022db412f20b4c94584b",
        ),
    ] {
        // A part of a second changes nothing.
        let token = token(&credentials, region, SystemTime::UNIX_EPOCH + NOW + Duration::from_millis(999)).unwrap();
        let url = url(&token);
        let (start, _) = url.split_once('?').unwrap();
        assert_eq!(start, format!("https://kafka.{region}.amazonaws.com/"));
        let expected = format!("/?Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256&{expected}");
        let mut found = query(&url);
        assert!(found.remove("User-Agent").unwrap().starts_with("kafka-tower%2F"));
        assert_eq!(found, query(&expected), "{region}");
        assert_eq!(token.expires_at(), SystemTime::UNIX_EPOCH + NOW + LIFETIME);
        assert!(!token.value().contains(['+', '/', '=']));
    }
}

#[test]
fn a_token_ends_with_its_credentials() {
    let now = SystemTime::UNIX_EPOCH + NOW;
    let of = |expiry| Credentials::new("id", SECRET, None, Some(expiry), "test");
    for (left, lifetime) in [(1, 1), (60, 60), (900, 900), (3600, 900)] {
        let token = token(&of(now + Duration::from_secs(left)), "us-east-1", now).unwrap();
        assert_eq!(token.expires_at(), now + Duration::from_secs(lifetime));
    }
    let error = token(&of(now), "us-east-1", now).unwrap_err();
    assert_eq!(error.to_string(), "the AWS credentials have expired");
}

#[test]
fn credentials_that_are_empty_are_refused() {
    for credentials in [keys("", SECRET, None), keys("id", "", None)] {
        let error = token(&credentials, "us-east-1", SystemTime::UNIX_EPOCH + NOW).unwrap_err();
        assert_eq!(error.to_string(), "the AWS credentials are empty");
    }
}

/// Keeps the fields of all events and spans, at each level.
#[derive(Default)]
struct Log(std::sync::Mutex<String>);

impl tracing::field::Visit for &Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::Id {
        span.record(&mut &*self);
        tracing::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut &*self);
    }
    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut &*self);
    }
    fn enter(&self, _: &tracing::Id) {}
    fn exit(&self, _: &tracing::Id) {}
}

/// A second subscriber. If there is but one, tracing asks only that of the thread which reaches a line first, and a line that
/// another test reaches first would be disabled for all.
static OTHER: std::sync::LazyLock<tracing::Dispatch> =
    std::sync::LazyLock::new(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()));

#[test]
fn nothing_of_the_credentials_is_logged_at_any_level() {
    std::sync::LazyLock::force(&OTHER);
    let log = std::sync::Arc::new(Log::default());
    tracing::subscriber::with_default(std::sync::Arc::clone(&log), || {
        tracing::trace!("it is heard");
        let credentials = keys("AKIDEXAMPLE", SECRET, Some("hunter2"));
        token(&credentials, "us-east-1", SystemTime::UNIX_EPOCH + NOW).unwrap();
    });
    let log = log.0.lock().unwrap();
    assert!(log.contains("it is heard") && !log.contains(SECRET) && !log.contains("hunter2"), "{log}");
}
