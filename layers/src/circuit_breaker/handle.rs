use std::sync::Arc;

use tokio::sync::watch;

use super::shared::Shared;
use super::{CircuitState, Transition};

/// The hand on a circuit breaker, beside the stack. From [`CircuitBreakerLayer::handle`](super::CircuitBreakerLayer::handle).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use kafka_tower_core::{ErrorKind, Record};
/// use kafka_tower_layers::circuit_breaker::{CircuitBreakerLayer, CircuitState};
/// use kafka_tower_memory::MemoryKafka;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3);
/// let layer = CircuitBreakerLayer::default();
/// let breaker = layer.handle();
/// let service = ServiceBuilder::new().layer(layer).service(kafka.transport());
///
/// breaker.force_open();
/// let error = service.clone().oneshot(Record::new("orders")).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::CircuitOpen);
///
/// breaker.reset();
/// assert_eq!(breaker.state(), CircuitState::Closed);
/// service.oneshot(Record::new("orders")).await.unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerHandle {
    pub(super) shared: Arc<Shared>,
}

impl CircuitBreakerHandle {
    /// What it is now. Open turns into half-open with the first call after its time, not before.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.shared.current()
    }

    /// How often it opened because of failures.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.shared.trips()
    }

    /// Lets nothing through until [`reset`](Self::reset), as for maintenance. Not a trip.
    pub fn force_open(&self) {
        self.shared.force(super::state::Machine::force_open);
    }

    /// Lets everything through and counts nothing until [`reset`](Self::reset): the breaker is disabled.
    pub fn force_closed(&self) {
        self.shared.force(super::state::Machine::force_closed);
    }

    /// Closes it and forgets what was counted. Failures of calls that are on their way do not count any more.
    pub fn reset(&self) {
        self.shared.force(super::state::Machine::reset);
    }

    /// The state and its changes; quick ones may be seen as one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<CircuitState> {
        self.shared.subscribe()
    }

    /// Calls `hook` with each transition from now on, in order, on the thread of the call that brought one about. It
    /// may use a handle, and must not block. One that owns a handle keeps the breaker in memory for good.
    pub fn on_transition(&self, hook: impl Fn(&Transition) + Send + Sync + 'static) {
        self.shared.add_hook(hook);
    }
}
