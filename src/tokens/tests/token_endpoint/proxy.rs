//! Through the proxy of the environment: in a process of its own, which has that environment.

use std::process::Command;

use kafka_tower_core::TokenProvider as _;

use crate::server::{Reply, Server};
use crate::{provider, text};

#[tokio::test]
async fn a_proxy_of_the_environment_is_used() {
    let reply = "HTTP/1.1 403 Forbidden\r\n\r\n".to_owned();
    let mut proxy = Server::start(Reply::Raw(reply)).await;
    let url = proxy.url().replace("://", "://ada:hunter3@").replace("/token", "");
    let child = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "proxy::the_process_with_a_proxy", "--ignored", "--nocapture"]);
        for name in ["ALL_PROXY", "all_proxy", "https_proxy", "NO_PROXY", "no_proxy"] {
            child.env_remove(name);
        }
        child.env("HTTPS_PROXY", url).output().unwrap()
    });
    let request = proxy.request().await;
    assert!(request.starts_with("CONNECT login.example.com:443 HTTP/1.1\r\n"), "{request}");
    // "ada:hunter3"
    assert!(request.to_lowercase().contains("\r\nproxy-authorization: basic ywrhomh1bnrlcjm=\r\n"), "{request}");
    let output = child.await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
}

#[tokio::test]
#[ignore = "is run by the test above"]
async fn the_process_with_a_proxy() {
    let error = provider("https://login.example.com/token").token().await.unwrap_err();
    let text = text(&error);
    let expected = "the token endpoint login.example.com cannot be connected to through the proxy 127.0.0.1:";
    assert!(text.starts_with(expected) && !text.contains("hunter"), "{text}");
}
