//! Over TLS, with a certificate that only the test knows.

use std::process::{Command, Stdio};

use kafka_tower_core::TokenProvider as _;
use native_tls::Identity;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use crate::server::{Reply, answer};
use crate::{provider, text};

/// A self-signed certificate for `localhost`, and its key.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost -keyout - -out -";
    let output = Command::new("openssl").args(line.split_whitespace()).stderr(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (key, certificate) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
    (certificate.as_bytes().to_vec(), key.as_bytes().to_vec())
}

#[tokio::test]
async fn a_server_is_trusted_if_its_authority_is() {
    let (certificate, key) = certificate();
    let identity = Identity::from_pkcs8(&certificate, &key).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(native_tls::TlsAcceptor::new(identity).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, mut requests) = unbounded_channel();
    let (end, _ended) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let reply = Reply::json(200, r#"{"access_token":"a.b.c","expires_in":60}"#);
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, reply, seen.clone(), end.clone()).await;
            }
        }
    });
    let provider = provider(&format!("https://localhost:{port}/token"));
    let text = text(&provider.token().await.unwrap_err());
    assert!(text.contains(" cannot be reached over TLS: "), "{text}");
    assert!(requests.try_recv().is_err(), "the secret must not be sent");

    let trusting = provider.with_root_certificates(&certificate).unwrap();
    assert_eq!(trusting.token().await.unwrap().value(), "a.b.c");
    assert!(requests.try_recv().unwrap().contains(&format!("\r\nhost: localhost:{port}\r\n")));
}

#[tokio::test]
async fn a_handshake_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(&format!("https://{}/token", listener.local_addr().unwrap()));
    let call = tokio::spawn(async move { provider.token().await });
    let (stream, _) = listener.accept().await.unwrap();
    // The client has begun the handshake.
    stream.readable().await.unwrap();
    tokio::time::pause();
    let text = text(&call.await.unwrap().unwrap_err());
    assert!(text.ends_with(" did not answer the TLS handshake within 3600 s"), "{text}");
}
