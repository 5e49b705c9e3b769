//! Values that there are only with the feature `opentelemetry`.
#![cfg_attr(not(feature = "opentelemetry"), allow(dead_code, unused_variables, clippy::needless_pass_by_value))]

#[cfg(not(feature = "opentelemetry"))]
use std::convert::Infallible as Telemetry;

#[cfg(feature = "opentelemetry")]
use kafka_tower_layers::telemetry::Telemetry;

/// Evaluates an expression with the value of such an option, and another one without. Builds without the
/// feature do not compile the first one.
macro_rules! with {
    ($option:expr, |$value:ident| $some:expr, else $none:expr) => {
        match $option {
            #[cfg(feature = "opentelemetry")]
            Some($value) => $some,
            #[cfg(not(feature = "opentelemetry"))]
            Some(_) => unreachable!("there is no telemetry"),
            None => $none,
        }
    };
    ($option:expr, |$value:ident| $some:expr) => {
        with!($option, |$value| $some, else ())
    };
}

pub(crate) use with;

/// The telemetry that the builder of a sink or a source was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct TelemetrySetting(pub(crate) Option<Telemetry>);

impl TelemetrySetting {
    /// Adds the client id, and the server address if there is exactly one broker.
    #[cfg(feature = "rdkafka")]
    pub(crate) fn for_client(self, id: &str, brokers: &str) -> Self {
        Self(with!(
            self.0,
            |telemetry| Some(telemetry.for_client(id, crate::config::only_broker(brokers))),
            else None
        ))
    }
}
