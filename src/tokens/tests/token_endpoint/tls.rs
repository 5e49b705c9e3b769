//! Over TLS, with a certificate that only the test knows.

use std::process::{Command, Stdio};

use kafka_tower_core::TokenProvider as _;
use native_tls::Identity;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

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

/// A server that gives a token.
struct Server {
    url: String,
    host: String,
    certificate: Vec<u8>,
    requests: UnboundedReceiver<String>,
}

async fn server() -> Server {
    let (certificate, key) = certificate();
    let identity = Identity::from_pkcs8(&certificate, &key).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(native_tls::TlsAcceptor::new(identity).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("localhost:{}", listener.local_addr().unwrap().port());
    let (seen, requests) = unbounded_channel();
    let (end, _ended) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let reply = Reply::json(200, r#"{"access_token":"a.b.c","expires_in":60}"#);
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, reply, seen.clone(), end.clone()).await;
            }
        }
    });
    Server { url: format!("https://{host}/token"), host, certificate, requests }
}

#[tokio::test]
async fn a_server_is_trusted_if_its_authority_is() {
    let Server { url, host, certificate, mut requests } = server().await;
    let provider = provider(&url);
    let stranger = provider.clone().with_only_root_certificates(self::certificate().0).unwrap();
    for provider in [&provider, &stranger] {
        let text = text(&provider.token().await.unwrap_err());
        assert!(text.contains(" cannot be reached over TLS: "), "{text}");
    }
    assert!(requests.try_recv().is_err(), "the secret must not be sent");

    let beside_the_systems = provider.clone().with_root_certificates(&certificate).unwrap();
    let alone = provider.with_only_root_certificates(&certificate).unwrap();
    for trusting in [beside_the_systems, alone] {
        assert_eq!(trusting.token().await.unwrap().value(), "a.b.c");
        assert!(requests.try_recv().unwrap().contains(&format!("\r\nhost: {host}\r\n")));
    }
}

/// In a process of its own, whose system trusts the server.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_systems_authorities_can_be_left_out() {
    let Server { url, certificate, requests: _requests, .. } = server().await;
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("trusted-{}.pem", std::process::id()));
    std::fs::write(&path, &certificate).unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "tls::the_process_whose_system_trusts_the_server", "--ignored", "--nocapture"]);
        let child = child.env("SSL_CERT_FILE", &path).env_remove("SSL_CERT_DIR").env("ENDPOINT", url).output();
        std::fs::remove_file(path).unwrap();
        child.unwrap()
    });
    let output = output.await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
}

#[tokio::test]
#[ignore = "is run by the test above"]
async fn the_process_whose_system_trusts_the_server() {
    let provider = provider(&std::env::var("ENDPOINT").unwrap());
    let (stranger, _) = certificate();
    let beside = provider.clone().with_root_certificates(&stranger).unwrap();
    for trusting in [&provider, &beside] {
        assert_eq!(trusting.token().await.unwrap().value(), "a.b.c");
    }
    let only = provider.with_only_root_certificates(&stranger).unwrap();
    let text = text(&only.token().await.unwrap_err());
    assert!(text.contains(" cannot be reached over TLS: "), "{text}");
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
