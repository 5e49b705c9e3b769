//! Hooks for the layers below.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use opentelemetry::KeyValue;

use super::attributes::{self, error_type};
use super::scope::with_current_send;
use super::{TelemetryLayer, semconv};
use crate::circuit_breaker::{CircuitBreakerHandle, CircuitState};
use crate::retry::RetryEvent;

impl TelemetryLayer {
    /// Returns a hook for [`RetryLayer::on_retry`](crate::retry::RetryLayer::on_retry) that adds each further attempt
    /// as an event to the send's span, and counts it.
    pub fn on_retry(&self) -> impl Fn(&RetryEvent<'_>) + Send + Sync + 'static {
        let sink = self.sink();
        move |event| {
            let why = error_type(event.error);
            let isolated = KeyValue::new(semconv::RETRY_ISOLATED, event.isolated);
            if let Some(instruments) = sink.telemetry.0.instruments.live() {
                let topic = sink.topic_of(Some(event.topic));
                let set = attributes::with(&topic.metrics.topic, [Some(why.clone()), Some(isolated.clone())]);
                instruments.retries.add(1, &set);
            }
            with_current_send(|send| {
                send.tried(event.attempt);
                send.event(
                    semconv::EVENT_RETRY,
                    vec![
                        KeyValue::new(semconv::RETRY_ATTEMPT, i64::from(event.attempt)),
                        KeyValue::new(semconv::RETRY_DELAY, event.delay.as_secs_f64()),
                        isolated,
                        why,
                        attributes::persistence(event.error.persistence()),
                    ],
                );
            });
        }
    }
}

impl TelemetryLayer {
    /// Reports a circuit breaker: its state and its transitions, and an event on the send whose result caused a
    /// transition.
    pub fn watch_breaker(&self, breaker: &CircuitBreakerHandle) {
        let sink = self.sink();
        let state = Arc::new(AtomicU8::new(level(breaker.state())));
        let set = sink.topic.metrics.topic.to_vec();
        sink.telemetry.0.instruments.watched.watch_breaker(set, &state);
        // The breaker owns the hook, so the reported state lives as long as the breaker.
        breaker.on_transition(move |transition| {
            state.store(level(transition.to), Ordering::Relaxed);
            let to = KeyValue::new(semconv::BREAKER_STATE, transition.to.as_str());
            if let Some(instruments) = sink.telemetry.0.instruments.live() {
                instruments.transitions.add(1, &attributes::with(&sink.topic.metrics.topic, [Some(to.clone())]));
            }
            with_current_send(|send| {
                let from = KeyValue::new(semconv::BREAKER_FROM, transition.from.as_str());
                send.event(semconv::EVENT_TRANSITION, vec![from, to]);
            });
        });
    }
}

const fn level(state: CircuitState) -> u8 {
    match state {
        CircuitState::Closed | CircuitState::ForcedClosed => 0,
        CircuitState::HalfOpen => 1,
        CircuitState::Open | CircuitState::ForcedOpen => 2,
    }
}
