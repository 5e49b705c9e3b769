//! Client credentials of OAuth 2, which OIDC servers take.

mod answer;
mod exchange;
mod request;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;
use kafka_tower_core::{Error, ErrorKind, OauthToken, Result, TokenFuture, TokenProvider};

use exchange::Tls;
pub use request::ClientAuthentication;

/// Provider that gets tokens from an identity server (OIDC), by the OAuth 2 grant for client credentials (RFC 6749, section 4.4).
///
/// Each call is one `POST` request on a connection of its own, over TLS with the certificates that the system trusts. A proxy is
/// taken from `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` for `https` endpoints. A redirect is an error, because the request contains
/// the secret. The token's lifetime is `expires_in` of the answer, or else the claim `exp`. Neither errors nor `Debug` show the secret
/// or a token; errors contain what the server says: `error` and `error_description`.
///
/// ```
/// use std::time::Duration;
///
/// use kafka_tower_tokens::OidcProvider;
///
/// let provider = OidcProvider::new("https://login.example.com/oauth2/token", "orders", "hunter2")?
///     .with_scope("kafka")
///     .with_parameter("audience", "https://kafka.example.com")
///     .with_extension("logicalCluster", "lkc-1")
///     .with_timeout(Duration::from_secs(5));
/// assert!(!format!("{provider:?}").contains("hunter2"));
/// # Ok::<(), kafka_tower_core::Error>(())
/// ```
#[derive(Clone)]
pub struct OidcProvider {
    client: Client,
    extensions: Vec<(String, String)>,
    timeout: Duration,
    tls: Arc<Tls>,
}

/// What the request says.
#[derive(Clone)]
struct Client {
    endpoint: Uri,
    id: String,
    secret: String,
    authentication: ClientAuthentication,
    scope: Option<String>,
    parameters: Vec<(String, String)>,
}

impl OidcProvider {
    /// For the URL of a token endpoint, and the id and secret of a client. A URL with `http` sends the secret in the clear, and a
    /// warning says so, unless the host is `localhost` or a loopback address.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the URL has another scheme, no host, or a user name, or the client id is empty.
    pub fn new(endpoint: impl AsRef<str>, id: impl Into<String>, secret: impl Into<String>) -> Result<Self> {
        let endpoint = self::endpoint(endpoint.as_ref()).map_err(unusable)?;
        let id = id.into();
        if id.is_empty() {
            return Err(unusable("its client id is empty"));
        }
        if endpoint.scheme_str() == Some("http") && !is_loopback(endpoint.host().unwrap_or_default()) {
            tracing::warn!("the client's secret goes to the token endpoint in the clear: set a URL with https");
        }
        let client = Client {
            endpoint,
            id,
            secret: secret.into(),
            authentication: ClientAuthentication::default(),
            scope: None,
            parameters: Vec::new(),
        };
        Ok(Self { client, extensions: Vec::new(), timeout: Duration::from_secs(10), tls: Arc::default() })
    }

    /// Sets the scope: several are separated by spaces. Default: none.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.client.scope = Some(scope.into());
        self
    }

    /// Adds a parameter to the request, for example `audience` or `resource`.
    #[must_use]
    pub fn with_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.client.parameters.push((name.into(), value.into()));
        self
    }

    /// Adds an extension to each token, as [`OauthToken::with_extension`] does. Confluent Cloud needs `logicalCluster` and
    /// `identityPoolId`.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// Sets how the client shows its id and secret. Default: [`ClientAuthentication::Basic`].
    #[must_use]
    pub fn with_authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.client.authentication = authentication;
        self
    }

    /// Sets how long a call may take in total, from the look-up of the name to the end of the answer. Default: 10 s. Clients give up
    /// a call after 30 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Trusts these certificates (PEM, one or several) of authorities, beside those that the system trusts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if this is not a certificate in PEM.
    pub fn with_root_certificates(mut self, pem: impl AsRef<[u8]>) -> Result<Self> {
        self.tls = Arc::new(Tls::trusting(pem.as_ref(), true).map_err(unusable)?);
        Ok(self)
    }

    /// Trusts only these certificates (PEM, one or several) of authorities, and not those that the system trusts: for an endpoint
    /// whose certificate a private authority has signed. librdkafka's `https.ca.location` and Java's truststore do the same.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), kafka_tower_core::BoxError> {
    /// use kafka_tower_tokens::OidcProvider;
    ///
    /// let provider = OidcProvider::new("https://login.internal/oauth2/token", "orders", "hunter2")?
    ///     .with_only_root_certificates(std::fs::read("/etc/pki/internal-ca.pem")?)?;
    /// # let _ = provider;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if this is not a certificate in PEM.
    pub fn with_only_root_certificates(mut self, pem: impl AsRef<[u8]>) -> Result<Self> {
        self.tls = Arc::new(Tls::trusting(pem.as_ref(), false).map_err(unusable)?);
        Ok(self)
    }
}

impl TokenProvider for OidcProvider {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async move {
            let asked_at = SystemTime::now();
            let server = self.client.endpoint.authority().map_or("", |authority| authority.as_str());
            let request = request::request(&self.client);
            let exchange = exchange::exchange(&self.client.endpoint, request, self.timeout, &self.tls);
            let (parts, body) = exchange.await.map_err(|failure| failure.of(server))?;
            let granted = answer::read(&parts, &body, asked_at, &self.client.secret)
                .map_err(|why| format!("the token endpoint {server} {why}"))?;
            let mut token = OauthToken::until(granted.token, granted.expires_at).with_principal(&self.client.id);
            for (name, value) in &self.extensions {
                token = token.with_extension(name, value);
            }
            Ok(token)
        })
    }
}

/// Shows neither the secret nor values of parameters and extensions.
impl fmt::Debug for OidcProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("OidcProvider")
            .field("endpoint", &self.client.endpoint.authority())
            .field("client_id", &self.client.id)
            .field("authentication", &self.client.authentication)
            .field("scope", &self.client.scope)
            .field("parameters", &names(&self.client.parameters))
            .field("extensions", &names(&self.extensions))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The error is a phrase that follows "the provider of tokens cannot be used:".
fn endpoint(url: &str) -> std::result::Result<Uri, &'static str> {
    let uri: Uri = url.trim().parse().map_err(|_| "its endpoint is not a URL")?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err("the URL of its endpoint does not begin with https://");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("the URL of its endpoint has a user name: give client id and secret as arguments");
    }
    if uri.host().unwrap_or_default().is_empty() {
        return Err("the URL of its endpoint has no host");
    }
    Ok(uri)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn unusable(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the provider of tokens cannot be used: {why}"))
        .with_help("correct what `OidcProvider` is given")
        .without_record()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_without_secrets() {
        for (url, id, why) in [
            ("login.example.com/token", "a", "not a URL"),
            ("ftp://login.example.com", "a", "does not begin with https://"),
            ("https:///token", "a", "not a URL"),
            ("https://a b", "a", "not a URL"),
            ("https://hunter2:hunter2@login.example.com/token", "a", "has a user name"),
            ("https://login.example.com/token", "", "client id is empty"),
        ] {
            let error = OidcProvider::new(url, id, "hunter2").unwrap_err();
            kafka_tower_test_texts::assert_consistent(&error);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(why) && !format!("{error:?}").contains("hunter2"), "{url}: {error}");
        }
        let provider = OidcProvider::new("https://login.example.com/token", "a", "hunter2").unwrap();
        assert_eq!(provider.clone().with_root_certificates("hunter2").unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(provider.clone().with_only_root_certificates("hunter2").unwrap_err().kind(), ErrorKind::Config);
        let provider = provider.with_parameter("resource", "hunter2").with_extension("pool", "hunter2");
        let shown = format!("{provider:?}");
        assert!(shown.contains("login.example.com") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn loopback_addresses_are_known() {
        assert!(["localhost", "127.0.0.1", "[::1]"].into_iter().all(is_loopback));
        assert!(!is_loopback("10.0.0.1") && !is_loopback("localhost.example.com"));
    }
}
