use std::fmt;
use std::time::SystemTime;

use kafka_tower_core::BoxError;

/// Receives events of the client other than delivery reports. Every method has a default that does nothing (logs always
/// go to `tracing`). The methods run on the transport's event loop: a slow one delays delivery reports; a panic is
/// caught and logged.
///
/// ```
/// use kafka_tower_rdkafka::{ClientError, ClientEvents};
///
/// struct Count(std::sync::atomic::AtomicU64);
///
/// impl ClientEvents for Count {
///     fn error(&self, error: &ClientError<'_>) {
///         self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         println!("{error}");
///     }
/// }
/// ```
pub trait ClientEvents: Send + Sync + 'static {
    /// Called with each error that librdkafka raises.
    fn error(&self, error: &ClientError<'_>) {
        let _ = error;
    }

    /// Called with librdkafka's statistics as JSON, every `statistics.interval.ms`.
    fn statistics(&self, json: &str) {
        let _ = json;
    }

    /// Called when a new OAUTHBEARER token is needed. Do not fetch it here: return it from a cache.
    ///
    /// # Errors
    ///
    /// Why there is no token. It is shown as the cause of the failed connection.
    fn oauth_token(&self, config: Option<&str>) -> Result<OauthToken, BoxError> {
        let _ = config;
        Err("no OAUTHBEARER token: implement ClientEvents::oauth_token".into())
    }
}

/// Error of the client.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientError<'a> {
    /// Kafka's or librdkafka's code.
    pub code: i32,
    /// Name of the code, if it is known.
    pub name: Option<&'static str>,
    /// librdkafka's text.
    pub text: &'a str,
    /// Whether the producer has ended. The transport may replace it: `Control::generation` then grows.
    pub fatal: bool,
}

impl fmt::Display for ClientError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{} ({name})", self.text),
            None => write!(f, "{} (code {})", self.text, self.code),
        }
    }
}

/// Token for SASL/OAUTHBEARER.
#[derive(Clone)]
pub struct OauthToken {
    /// The token.
    pub token: String,
    /// The principal that the token is for.
    pub principal: String,
    /// When the token expires.
    pub expires_at: SystemTime,
}

/// Does not show the token.
impl fmt::Debug for OauthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthToken").field("principal", &self.principal).finish_non_exhaustive()
    }
}
