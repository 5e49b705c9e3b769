//! A token endpoint whose certificate a private authority has signed, and the properties that name that authority.

use std::fs;
use std::path::Path;

use kafka_tower::{Error, ErrorKind, KafkaSinkConfig};
use kafka_tower_test_texts::assert_consistent;
use kafka_tower_testkit::kafka::Certs;
use native_tls::{Identity, TlsAcceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

struct Endpoint {
    certs: Certs,
    url: String,
    requests: watch::Receiver<usize>,
}

impl Endpoint {
    async fn start() -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-endpoint-{}", std::process::id()));
        let certs = Certs::make(dir).unwrap();
        let identity = Identity::from_pkcs8(&read(&certs, "broker.pem"), &read(&certs, "broker.p8")).unwrap();
        let acceptor = tokio_native_tls::TlsAcceptor::from(TlsAcceptor::new(identity).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/token", listener.local_addr().unwrap().port());
        let (requested, requests) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"grant_type=client_credentials") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0, "a whole request");
                }
                requested.send_modify(|requests| *requests += 1);
                let body = r#"{"access_token":"a.b.c","expires_in":60}"#;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { certs, url, requests }
    }

    fn librdkafka(&self, more: &str) -> String {
        format!(
            "sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\nsasl.oauthbearer.client.id=a\n\
             sasl.oauthbearer.client.secret=hunter2\nsasl.oauthbearer.token.endpoint.url={}\n{more}\n",
            self.url
        )
    }

    fn java(&self, options: &str, more: &str) -> String {
        format!(
            "sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url={}\n\
             sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             clientId='a' clientSecret='hunter2' {options};\n{more}\n",
            self.url
        )
    }
}

fn read(certs: &Certs, name: &str) -> Vec<u8> {
    fs::read(certs.dir().join(name)).unwrap()
}

/// The token, or why there is none.
async fn token(properties: &str) -> Result<String, String> {
    let config = KafkaSinkConfig::from_properties(properties).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(config.properties.keys().all(|name| !name.starts_with("https.")), "{config:?}");
    let provider = config.token_provider.get().expect("a provider");
    provider.token().await.map(|token| token.value().to_owned()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_properties_file_names_the_authority_of_the_token_endpoint() {
    let endpoint = Endpoint::start().await;
    let (ca, stranger) = (endpoint.certs.ca(), endpoint.certs.stranger_ca());
    let (ca, stranger) = (ca.display().to_string(), stranger.display().to_string());
    let pem = String::from_utf8(read(&endpoint.certs, "ca.pem")).unwrap().trim().replace('\n', "\\n");
    let trusted = [
        endpoint.librdkafka(&format!("https.ca.location={ca}")),
        endpoint.librdkafka(&format!("https.ca.pem={pem}")),
        endpoint.java(&format!("ssl.truststore.location='{ca}' ssl.truststore.type='PEM'"), ""),
    ];
    for properties in &trusted {
        assert_eq!(token(properties).await.as_deref(), Ok("a.b.c"), "{properties}");
    }
    let refused = [
        endpoint.librdkafka(""),
        endpoint.librdkafka("https.ca.location=probe"),
        endpoint.librdkafka(&format!("https.ca.location={stranger}")),
        // That of the brokers.
        endpoint.java("", &format!("ssl.truststore.type=PEM\nssl.truststore.location={ca}")),
    ];
    for properties in &refused {
        let error = token(properties).await.unwrap_err();
        assert!(error.ends_with(" cannot be reached over TLS"), "{error}");
    }
    assert_eq!(*endpoint.requests.borrow(), trusted.len(), "no secret goes to a server that is not trusted");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named_by_their_line() {
    let endpoint = Endpoint::start().await;
    let error = |properties: String| -> Error {
        let error = KafkaSinkConfig::from_properties(&properties).unwrap_err();
        assert_consistent(&error);
        assert_eq!(error.kind(), ErrorKind::Config);
        error
    };
    let key = endpoint.certs.client_key().display().to_string();
    let dir = endpoint.certs.dir().display().to_string();
    let cannot = "line 6: https.ca.location: the file of the token endpoint's certificates cannot be read (";
    let not_pem = "the provider of tokens cannot be used: its root certificates are not certificates in PEM";
    for (properties, expected) in [
        (endpoint.librdkafka("https.ca.location=/does/not/exist"), cannot.to_owned()),
        (endpoint.librdkafka(&format!("https.ca.location={dir}")), cannot.to_owned()),
        (endpoint.librdkafka(&format!("https.ca.location={key}")), format!("line 6: https.ca.location: {not_pem}")),
        (endpoint.librdkafka("https.ca.pem=hunter3"), format!("line 6: https.ca.pem: {not_pem}")),
        (
            endpoint.java("ssl.truststore.location='/etc/ca.jks'", ""),
            "line 3: sasl.jaas.config has a Java truststore for the token endpoint, which cannot be read".to_owned(),
        ),
    ] {
        let error = error(properties);
        assert!(error.message().contains(&expected), "{error}");
        assert!(!format!("{error:#} {error:?}").contains("hunter"), "{error:?}");
    }
    assert_eq!(*endpoint.requests.borrow(), 0);
}
