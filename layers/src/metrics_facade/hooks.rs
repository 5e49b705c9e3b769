//! Hooks for the layers below.

use std::sync::Arc;

use facade::SharedString;
use kafka_tower_core::Error;

use super::MetricsFacadeLayer;
use crate::circuit_breaker::{CircuitBreakerHandle, CircuitState};
use crate::retry::RetryEvent;

const RETRIES: &str = "kafka_tower_retries_total";
const STATE: &str = "kafka_tower_circuit_breaker_state";
const TRANSITIONS: &str = "kafka_tower_circuit_breaker_transitions_total";

impl MetricsFacadeLayer {
    /// Returns a hook for [`RetryLayer::on_retry`](crate::retry::RetryLayer::on_retry) that counts attempts after the
    /// first.
    pub fn on_retry(&self) -> impl Fn(&RetryEvent<'_>) + Send + Sync + 'static {
        let counters = Arc::clone(&self.sink.counters);
        move |event| {
            let topic = counters.topic(event.topic).name.clone();
            facade::counter!(RETRIES, "topic" => topic, "error_type" => Error::error_type(event.error)).increment(1);
        }
    }

    /// Reports a circuit breaker's state and its transitions.
    pub fn watch_breaker(&self, breaker: &CircuitBreakerHandle) {
        let topic = self.sink.topic.name.clone();
        let set = |topic: &SharedString, state| facade::gauge!(STATE, "topic" => topic.clone()).set(level(state));
        set(&topic, breaker.state());
        breaker.on_transition(move |transition| {
            // Fetched each time: the recorder may be installed later.
            set(&topic, transition.to);
            facade::counter!(TRANSITIONS, "topic" => topic.clone(), "state" => transition.to.as_str()).increment(1);
        });
    }
}

const fn level(state: CircuitState) -> f64 {
    match state {
        CircuitState::Closed | CircuitState::ForcedClosed => 0.0,
        CircuitState::HalfOpen => 1.0,
        CircuitState::Open | CircuitState::ForcedOpen => 2.0,
    }
}
