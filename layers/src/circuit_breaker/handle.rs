use std::sync::Arc;

use tokio::sync::watch;

use super::inner::BreakerInner;
use super::{CircuitState, Transition};

/// Handle to observe and force the circuit breaker. Get it from
/// [`CircuitBreakerLayer::handle`](super::CircuitBreakerLayer::handle).
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
    pub(super) shared: Arc<BreakerInner>,
}

impl CircuitBreakerHandle {
    /// The current state. An open breaker becomes half-open with the first call after its time, not before; one that
    /// [waits](super#waiting), with the first handle that is ready.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.shared.current()
    }

    /// Number of times that failures opened the breaker.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.shared.trips()
    }

    /// Rejects all calls, or lets them [wait](super#waiting), until [`reset`](Self::reset), for example during maintenance. Does not count as a trip.
    pub fn force_open(&self) {
        self.shared.force(super::state::Machine::force_open);
    }

    /// Admits all calls and counts nothing until [`reset`](Self::reset): disables the breaker.
    pub fn force_closed(&self) {
        self.shared.force(super::state::Machine::force_closed);
    }

    /// Closes the breaker and clears its count. Failures of calls in flight no longer count.
    pub fn reset(&self) {
        self.shared.force(super::state::Machine::reset);
    }

    /// Watches the state. Rapid changes may be observed as one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<CircuitState> {
        self.shared.subscribe()
    }

    /// Calls `hook` on each later transition, in order, on the thread of the call that caused it. The hook may use a
    /// handle, and must not block. A hook that owns a handle keeps the breaker in memory for ever.
    pub fn on_transition(&self, hook: impl Fn(&Transition) + Send + Sync + 'static) {
        self.shared.add_hook(hook);
    }
}
