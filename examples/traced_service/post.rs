//! A minimal HTTP client for a Collector on `http://`, so that this example builds in seconds. Your program should use
//! the client of opentelemetry-otlp, which supports TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Post;

/// Blocking is fine: the SDK calls it on its own threads.
#[kafka_tower::async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri();
        let host = uri.authority().ok_or("an address without a host")?.as_str();
        if uri.scheme_str() != Some("http") {
            return Err("only http:// here".into());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut head = format!("POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n", request.body().len());
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", value.to_str()?);
        }
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[head.as_bytes(), b"\r\n", request.body()].concat())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer);
        let status: u16 = text.split(' ').nth(1).ok_or("no answer")?.parse()?;
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        Ok(Response::builder().status(status).body(Bytes::copy_from_slice(&answer[body..]))?)
    }
}
