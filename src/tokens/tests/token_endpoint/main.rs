//! `OidcProvider` against servers on sockets of this machine.
#![allow(clippy::unwrap_used)] // a test may fail

mod proxy;
mod server;
mod tls;

use std::time::{Duration, SystemTime};

use kafka_tower_core::{BoxError, OauthToken, TokenProvider};
use kafka_tower_tokens::{ClientAuthentication, OidcProvider};
use server::{Reply, Server};
use tokio::net::TcpListener;

const SECRET: &str = "hunter2";

fn provider(url: &str) -> OidcProvider {
    // Much longer than any test takes; the tests of time-outs move the clock.
    OidcProvider::new(url, "orders", SECRET).unwrap().with_timeout(Duration::from_secs(3600))
}

/// The error and its causes.
fn text(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    assert!(!text.contains(SECRET) && !format!("{error:?}").contains(SECRET), "{text}");
    text
}

async fn refused(reply: Reply) -> String {
    let server = Server::start(reply).await;
    text(&provider(&server.url()).token().await.unwrap_err())
}

#[tokio::test]
async fn a_token_is_asked_for_and_given() {
    let mut server =
        Server::start(Reply::json(200, r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":60}"#)).await;
    let provider = provider(&server.url()).with_scope("kafka").with_extension("pool", "p-1");
    let before = SystemTime::now();
    let token = provider.token().await.unwrap();
    assert_eq!((token.value(), token.principal()), ("a.b.c", "orders"));
    assert_eq!(token.extensions().collect::<Vec<_>>(), [("pool", "p-1")]);
    let expires_in = Duration::from_secs(60);
    assert!((before + expires_in..=SystemTime::now() + expires_in).contains(&token.expires_at()));
    let request = server.request().await;
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    // "orders:hunter2"
    assert!(request.contains("\r\nauthorization: Basic b3JkZXJzOmh1bnRlcjI=\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=kafka"), "{request}");
    // Each call has a connection of its own.
    let provider = provider.with_authentication(ClientAuthentication::Body);
    provider.token().await.unwrap();
    let request = server.request().await;
    assert!(
        request.ends_with("&client_id=orders&client_secret=hunter2") && !request.contains("authorization"),
        "{request}"
    );
}

#[tokio::test]
async fn a_refusal_has_the_cause_that_the_server_gives() {
    let text =
        refused(Reply::json(401, r#"{"error":"invalid_client","error_description":"wrong secret: hunter2"}"#)).await;
    assert!(text.starts_with("the token endpoint 127.0.0.1:"), "{text}");
    assert!(text.ends_with("answered 401 Unauthorized, invalid_client: wrong secret: ***"), "{text}");
    let text = refused(Reply::json(503, "<html>hunter2</html>")).await;
    assert!(text.ends_with("answered 503 Service Unavailable"), "{text}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(Reply::json(200, r#"{"access_token":"a","expires_in":60}"#)).await;
    let redirect =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {}?x=1\r\ncontent-length: 0\r\n\r\n", other.url());
    let text = refused(Reply::Raw(redirect)).await;
    let expected =
        format!("answered 307 Temporary Redirect to {}: a redirect is not followed with a secret", other.url());
    assert!(text.ends_with(&expected), "{text}");
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for reply in
        ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"access_token\":\"hunter2\"", ""]
    {
        let text = refused(Reply::Raw(reply.to_owned())).await;
        assert!(text.contains(" ended the connection without a whole answer: "), "{text}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 2 << 20, "x".repeat(2 << 20));
    let text = refused(Reply::Raw(endless)).await;
    assert!(text.contains("length limit exceeded"), "{text}");
    let text = refused(Reply::json(200, "hunter2")).await;
    assert!(text.ends_with("answered with something that is not JSON: its URL may be wrong"), "{text}");
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_named_with_the_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    let text = text(&provider(&url).token().await.unwrap_err());
    assert!(text.contains(" cannot be connected to: ") && text.contains("refused"), "{text}");
}

/// Polls a call until the server has its request, and then lets the time of the call pass.
async fn hangs(reply: Reply) -> String {
    let mut server = Server::start(reply).await;
    let provider = provider(&server.url());
    let call = tokio::spawn(async move { provider.token().await });
    server.request().await;
    tokio::time::pause();
    let error = call.await.unwrap().unwrap_err();
    tokio::time::resume();
    text(&error)
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up() {
    for reply in [Reply::Hang(String::new()), Reply::Hang("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{".to_owned())]
    {
        let text = hangs(reply).await;
        assert!(text.ends_with(" did not answer within 3600 s"), "{text}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_connection() {
    let mut server = Server::start(Reply::Hang(String::new())).await;
    let provider = provider(&server.url());
    let call = tokio::spawn(async move { provider.token().await.map(|_: OauthToken| ()) });
    server.request().await;
    call.abort();
    server.connection_ended().await;
}
