use std::fmt;

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
