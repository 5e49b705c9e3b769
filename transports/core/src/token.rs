//! Tokens for the SASL mechanism OAUTHBEARER, and where clients get them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use crate::BoxError;

/// Future returned by [`TokenProvider::token`].
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<OauthToken, BoxError>> + Send + 'a>>;

/// Gets the tokens with which clients log in to brokers by the SASL mechanism OAUTHBEARER.
///
/// A function that returns a future is a provider. A type of your own implements the trait:
///
/// ```
/// use std::time::Duration;
///
/// use kafka_tower_core::{BoxError, OauthToken, TokenFuture, TokenProvider};
///
/// struct IdentityServer { url: String }
///
/// # async fn request(_: &str) -> Result<(String, u64), BoxError> { Ok(("secret".into(), 300)) }
/// impl TokenProvider for IdentityServer {
///     fn token(&self) -> TokenFuture<'_> {
///         Box::pin(async move {
///             let (access_token, seconds) = request(&self.url).await?;
///             Ok(OauthToken::new(access_token, Duration::from_secs(seconds)))
///         })
///     }
/// }
/// ```
pub trait TokenProvider: Send + Sync + 'static {
    /// Gets a token that is valid now. Called when a client is made, and before its token expires.
    ///
    /// # Errors
    ///
    /// Why there is no token. Its text and those of its sources are shown in errors and in the log, so they must not contain
    /// secrets. The client calls again after a delay.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped if it takes too long, and if its client is closed.
    fn token(&self) -> TokenFuture<'_>;
}

impl<F, R, E> TokenProvider for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<OauthToken, E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn token(&self) -> TokenFuture<'_> {
        let token = self();
        Box::pin(async move { token.await.map_err(Into::into) })
    }
}

/// Token for the SASL mechanism OAUTHBEARER. `Debug` does not show its value.
///
/// ```
/// use std::time::Duration;
///
/// use kafka_tower_core::OauthToken;
///
/// let token = OauthToken::new("eyJhbGciOi…", Duration::from_secs(300)).with_extension("logicalCluster", "lkc-1");
/// assert!(!format!("{token:?}").contains("eyJ"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OauthToken {
    value: String,
    expires_at: SystemTime,
    principal: String,
    extensions: Vec<(String, String)>,
}

impl OauthToken {
    /// A token that expires after `lifetime`: for `expires_in` of an OAuth server's answer.
    #[must_use]
    pub fn new(value: impl Into<String>, lifetime: Duration) -> Self {
        // A lifetime that no clock can show: the token does not expire.
        const LONG: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        Self::until(value, SystemTime::now() + lifetime.min(LONG))
    }

    /// A token that expires at this time: for the claim `exp` of a JWT.
    #[must_use]
    pub fn until(value: impl Into<String>, expires_at: SystemTime) -> Self {
        Self { value: value.into(), expires_at, principal: String::new(), extensions: Vec::new() }
    }

    /// Sets the principal that the token is for. Only the client's log shows it: brokers read the token. Default: empty.
    #[must_use]
    pub fn with_principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = principal.into();
        self
    }

    /// Adds an extension (RFC 7628), which is sent to the brokers with the token. Its name consists of the letters A to Z and
    /// a to z. Confluent Cloud needs `logicalCluster` and `identityPoolId`.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// The token itself: a secret.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// When the token expires.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// The principal that the token is for.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The extensions by name.
    pub fn extensions(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.extensions.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Shows neither the token nor the values of its extensions.
impl fmt::Debug for OauthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthToken")
            .field("expires_at", &self.expires_at)
            .field("principal", &self.principal)
            .field("extensions", &self.extensions().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_function_that_returns_a_future_is_a_provider() {
        let provider: Arc<dyn TokenProvider> = Arc::new(|| async { Err::<OauthToken, _>("down") });
        let mut future = provider.token();
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => assert_eq!(error.to_string(), "down"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = OauthToken::new("hunter2", Duration::MAX).with_principal("ada").with_extension("pool", "hunter2");
        let shown = format!("{token:?}");
        assert!(shown.contains("ada") && shown.contains("pool") && !shown.contains("hunter2"), "{shown}");
    }
}
