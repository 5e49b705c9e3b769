use super::CircuitState;
use super::errors::Failure;

/// A change of the circuit breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The previous state.
    pub from: CircuitState,
    /// The new state.
    pub to: CircuitState,
}

impl Transition {
    /// Whether failures opened the breaker, as opposed to a forced state.
    #[must_use]
    pub fn is_trip(&self) -> bool {
        self.to == CircuitState::Open
    }

    pub(super) fn trace(&self, last_failure: Option<&Failure>) {
        let Self { from, to } = self;
        if self.is_trip() {
            let error_type = last_failure.map(|failure| failure.error_type);
            let last_failure = last_failure.map(|failure| &*failure.logged);
            tracing::warn!(?from, ?to, error.type = error_type, last_failure, "the circuit breaker opened");
        } else {
            tracing::info!(?from, ?to, "the circuit breaker changed state");
        }
    }
}
