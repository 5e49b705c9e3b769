//! A token endpoint that gives each request the same reply.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Writes this and ends the connection.
    Raw(String),
    /// Writes this and nothing more.
    Hang(String),
}

impl Reply {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        // The client takes the words of a status from the number.
        Self::Raw(format!("HTTP/1.1 {status} Any\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    requests: UnboundedReceiver<String>,
    ended: UnboundedReceiver<()>,
    count: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = unbounded_channel();
        let (end, ended) = unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer(stream, reply.clone(), seen.clone(), end.clone()));
            }
        });
        Self { address, requests, ended, count }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The next request, with its body.
    pub(crate) async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }

    pub(crate) fn requests(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) async fn connection_ended(&mut self) {
        self.ended.recv().await.unwrap();
    }
}

pub(crate) async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: Reply,
    seen: UnboundedSender<String>,
    end: UnboundedSender<()>,
) {
    let _ = seen.send(read_request(&mut stream).await);
    let (Reply::Raw(text) | Reply::Hang(text)) = &reply;
    // A client that has enough of an answer ends the connection.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    if let Reply::Hang(_) = reply {
        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        let _ = end.send(());
    }
    let _ = stream.shutdown().await;
}

/// Head and body.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(read > 0, "a whole request: {text}");
            continue;
        };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        if body.len() >= length {
            return text;
        }
    }
}
