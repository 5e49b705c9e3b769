use std::fmt;
use std::time::SystemTime;

use kafka_tower_core::BoxError;

/// What the client tells beside the fate of records. All methods have a default that does nothing (logs go to
/// `tracing` in any case); they run on the transport's event loop, so that a slow one delays delivery reports, and
/// one that panics is caught and logged.
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
    /// An error of the client, each time that librdkafka raises it.
    fn error(&self, error: &ClientError<'_>) {
        let _ = error;
    }

    /// librdkafka's statistics as JSON, each `statistics.interval.ms`.
    fn statistics(&self, json: &str) {
        let _ = json;
    }

    /// A new OAUTHBEARER token is needed. Fetch it elsewhere and hand it out from a cache.
    ///
    /// # Errors
    ///
    /// What kept the token away: it is shown as the cause of the connection's failure.
    fn oauth_token(&self, config: Option<&str>) -> Result<OauthToken, BoxError> {
        let _ = config;
        Err("no OAUTHBEARER token: implement ClientEvents::oauth_token".into())
    }
}

/// An error of the client.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientError<'a> {
    /// Kafka's or librdkafka's code.
    pub code: i32,
    /// Its name, if it is known.
    pub name: Option<&'static str>,
    /// librdkafka's text.
    pub text: &'a str,
    /// Whether the producer is finished.
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

/// A token for SASL/OAUTHBEARER.
#[derive(Clone)]
pub struct OauthToken {
    /// The token.
    pub token: String,
    /// The principal it stands for.
    pub principal: String,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// Never shows the token.
impl fmt::Debug for OauthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthToken").field("principal", &self.principal).finish_non_exhaustive()
    }
}
