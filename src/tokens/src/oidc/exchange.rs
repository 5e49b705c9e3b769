//! One request and its answer, on a connection of its own.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use kafka_tower_core::BoxError;
use kafka_tower_core::text::seconds;
use native_tls::{Certificate, TlsConnector};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

/// Longest answer in bytes.
const LIMIT: usize = 1024 * 1024;

/// How TLS connections are made: made at the first call, because the certificates of the system are read for it.
#[derive(Default)]
pub(super) struct Tls {
    trusted: Vec<Certificate>,
    /// The system's certificates are not trusted.
    only_these: bool,
    connector: OnceLock<tokio_native_tls::TlsConnector>,
}

impl Tls {
    /// The error is a phrase that follows "the provider of tokens cannot be used:".
    pub(super) fn trusting(pem: &[u8], beside_the_systems: bool) -> Result<Self, &'static str> {
        let trusted = Certificate::stack_from_pem(pem).ok().filter(|trusted| !trusted.is_empty());
        let trusted = trusted.ok_or("its root certificates are not certificates in PEM")?;
        Ok(Self { trusted, only_these: !beside_the_systems, connector: OnceLock::new() })
    }

    fn connector(&self) -> Result<&tokio_native_tls::TlsConnector, native_tls::Error> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector);
        }
        let mut builder = TlsConnector::builder();
        builder.disable_built_in_roots(self.only_these);
        for certificate in &self.trusted {
            builder.add_root_certificate(certificate.clone());
        }
        let connector = builder.build()?.into();
        Ok(self.connector.get_or_init(|| connector))
    }
}

/// Why there is no answer: a phrase that follows the server's name, and its cause.
#[derive(Debug)]
pub(super) struct Failure {
    server: String,
    what: String,
    source: Option<BoxError>,
}

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self { server: String::new(), what: what.into(), source: None }
    }

    fn with(what: &str) -> impl FnOnce(BoxError) -> Self {
        let what = what.to_owned();
        |source| Self { source: Some(source), ..Self::new(what) }
    }

    pub(super) fn of(self, server: &str) -> Self {
        Self { server: server.to_owned(), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token endpoint {} {}", self.server, self.what)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// Sends the request to this endpoint.
///
/// # Cancel safety
///
/// The connection ends with the future.
pub(super) async fn exchange(
    endpoint: &Uri,
    request: Request<Full<Bytes>>,
    limit: Duration,
    tls: &Tls,
) -> Result<(Parts, Bytes), Failure> {
    let deadline = Instant::now() + limit;
    let is_tls = endpoint.scheme_str() == Some("https");
    let tcp = within(deadline, limit, "did not accept a connection", connect(endpoint, is_tls)).await?;
    if !is_tls {
        return within(deadline, limit, "did not answer", send(TokioIo::new(tcp), request)).await;
    }
    let host = endpoint.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let handshake = async {
        let connector = tls.connector().map_err(BoxError::from)?;
        connector.connect(host, tcp).await.map_err(BoxError::from)
    };
    let handshake = async { handshake.await.map_err(Failure::with("cannot be reached over TLS")) };
    let stream = within(deadline, limit, "did not answer the TLS handshake", handshake).await?;
    within(deadline, limit, "did not answer", send(TokioIo::new(stream), request)).await
}

async fn within<T>(
    deadline: Instant,
    limit: Duration,
    what: &str,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let answer = timeout_at(deadline, step).await;
    answer.unwrap_or_else(|_| Err(Failure::new(format!("{what} within {}", seconds(limit)))))
}

/// Connects, through a proxy if the environment has one.
async fn connect(endpoint: &Uri, is_tls: bool) -> Result<TcpStream, Failure> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    let proxy = is_tls.then(|| Matcher::from_env().intercept(endpoint)).flatten();
    let Some(proxy) = proxy else {
        let stream = ready(&mut direct, endpoint.clone()).await;
        return stream.map_err(Failure::with("cannot be connected to"));
    };
    let name = proxy.uri().authority().map_or("", |authority| authority.as_str());
    let name = name.rsplit('@').next().unwrap_or_default();
    if proxy.uri().scheme_str() != Some("http") {
        return Err(Failure::new(format!("cannot be connected to: the proxy {name} is not an HTTP proxy")));
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
    if let Some(auth) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    let stream = ready(&mut tunnel, endpoint.clone()).await;
    stream.map_err(Failure::with(&format!("cannot be connected to through the proxy {name}")))
}

async fn ready<S>(connector: &mut S, endpoint: Uri) -> Result<TcpStream, BoxError>
where
    S: Service<Uri, Response = TokioIo<TcpStream>, Error: Into<BoxError>>,
{
    poll_fn(|cx| connector.poll_ready(cx)).await.map_err(Into::into)?;
    Ok(connector.call(endpoint).await.map_err(Into::into)?.into_inner())
}

async fn send<I>(io: I, request: Request<Full<Bytes>>) -> Result<(Parts, Bytes), Failure>
where
    I: Read + Write + Unpin,
{
    let no_answer = || Failure::with("ended the connection without a whole answer");
    let (mut sender, connection) = http1::handshake(io).await.map_err(BoxError::from).map_err(no_answer())?;
    let answer = async {
        let (parts, body) = sender.send_request(request).await.map_err(BoxError::from)?.into_parts();
        Ok((parts, Limited::new(body, LIMIT).collect().await?.to_bytes()))
    };
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    let mut is_open = true;
    let answer: Result<_, BoxError> = poll_fn(|cx| {
        // The answer gets on only while its connection is polled.
        if is_open && connection.as_mut().poll(cx).is_ready() {
            is_open = false;
        }
        answer.as_mut().poll(cx)
    })
    .await;
    answer.map_err(no_answer())
}
