//! Context in a record's headers: UTF-8 text under the propagator's names, as in W3C's trace context for Kafka.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kafka_tower_core::Headers;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, global};

use super::w3c::{self, W3cPropagator};

const BAGGAGE: &str = "baggage";

/// Reads a context from headers, for propagators. Of repeated names the last one counts, as everywhere in Kafka.
#[derive(Clone, Copy, Debug)]
pub struct HeaderExtractor<'a>(pub &'a Headers);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|header| &*header.key).collect()
    }
}

/// Writes a context into headers, for propagators. Replaces existing headers of the same name, and writes no empty
/// values.
#[derive(Debug)]
pub struct HeaderInjector<'a>(pub &'a mut Headers);

impl Injector for HeaderInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.insert(name(key), value);
        }
    }
}

/// Returns a header name; common names need no allocation.
fn name(key: &str) -> Cow<'static, str> {
    match key {
        "traceparent" => Cow::Borrowed("traceparent"),
        "tracestate" => Cow::Borrowed("tracestate"),
        BAGGAGE => Cow::Borrowed(BAGGAGE),
        other => Cow::Owned(other.to_owned()),
    }
}

/// Reads the context from a record's headers with the global propagator. Use it as the parent of the consumer's span
/// or, if messages are processed in batches, as a link. If the headers contain no context, the result has no span.
///
/// ```
/// use kafka_tower_core::Headers;
/// use kafka_tower_layers::telemetry::extract;
/// use opentelemetry::trace::TraceContextExt;
/// use opentelemetry_sdk::propagation::TraceContextPropagator;
///
/// opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
/// let mut headers = Headers::new();
/// headers.push("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
///
/// let producer = extract(&headers);
/// assert!(producer.span().span_context().is_remote());
/// assert!(!extract(&Headers::new()).span().span_context().is_valid());
/// ```
#[must_use]
pub fn extract(headers: &Headers) -> Context {
    global::get_text_map_propagator(|propagator| extracted(propagator, headers))
}

fn extracted(propagator: &dyn TextMapPropagator, headers: &Headers) -> Context {
    // While no propagator is set, the API's no-op would return this thread's current context.
    if propagator.fields().next().is_none() {
        return Context::new();
    }
    propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

/// The propagator to use.
#[derive(Clone)]
pub(super) enum Propagator {
    Global,
    /// Ours: it writes into the headers without an intermediate carrier.
    W3c,
    Given(Arc<dyn TextMapPropagator + Send + Sync>),
}

impl Propagator {
    pub(super) fn given(propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        match (&propagator as &dyn Any).is::<W3cPropagator>() {
            true => Self::W3c,
            false => Self::Given(Arc::new(propagator)),
        }
    }
}

/// Propagator and options.
#[derive(Clone)]
pub(super) struct Propagation {
    pub(super) enabled: bool,
    pub(super) baggage: bool,
    pub(super) propagator: Propagator,
    pub(super) warned: Arc<AtomicBool>,
}

impl Propagation {
    fn with<T>(&self, mut run: impl FnMut(&dyn TextMapPropagator) -> T) -> T {
        match &self.propagator {
            Propagator::Global => global::get_text_map_propagator(run),
            Propagator::W3c => run(&W3cPropagator::new()),
            Propagator::Given(propagator) => run(&**propagator),
        }
    }

    pub(super) fn extract(&self, headers: &Headers) -> Context {
        self.with(|propagator| extracted(propagator, headers))
    }

    /// Returns the context that the creator of the message put into the headers.
    pub(super) fn provided(&self, headers: &Headers) -> Option<SpanContext> {
        if headers.is_empty() {
            return None;
        }
        if matches!(self.propagator, Propagator::W3c) {
            return w3c::read(&HeaderExtractor(headers));
        }
        let context = self.extract(headers);
        let provided = context.span().span_context().clone();
        provided.is_valid().then_some(provided)
    }

    /// Writes a context into headers that have none.
    pub(super) fn inject(&self, context: &Context, headers: &mut Headers) {
        if !self.enabled {
            return;
        }
        if matches!(self.propagator, Propagator::W3c) {
            return w3c::write(context.span().span_context(), headers);
        }
        self.with(|propagator| {
            self.warn_if_none(propagator);
            // Remove leftovers of another context, such as its `tracestate`: a consumer would read them as part of
            // this one.
            if !headers.is_empty() && context.span().span_context().is_valid() {
                for field in propagator.fields().filter(|field| *field != BAGGAGE) {
                    headers.remove(field);
                }
            }
            propagator.inject_context(context, &mut Chosen { baggage: self.baggage, headers });
        });
    }
}

impl Propagation {
    /// Logs once that no header is written because no global propagator is set. A propagator that is set later is
    /// used.
    fn warn_if_none(&self, propagator: &dyn TextMapPropagator) {
        let is_global = matches!(self.propagator, Propagator::Global);
        if !is_global || self.warned.load(Ordering::Relaxed) || propagator.fields().next().is_some() {
            return;
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "no global OpenTelemetry propagator is set: trace context is not written into headers, so consumers \
                 start new traces; set one, for example W3cPropagator, or choose \
                 Telemetry::builder().propagation(false)"
            );
        }
    }
}

/// Injector that applies the application's options.
struct Chosen<'a> {
    baggage: bool,
    headers: &'a mut Headers,
}

impl Injector for Chosen<'_> {
    fn set(&mut self, key: &str, value: String) {
        // Baggage may contain anything that the application put there; the message's own baggage takes precedence.
        let kept = key == BAGGAGE && (!self.baggage || self.headers.contains(BAGGAGE));
        if !kept {
            HeaderInjector(self.headers).set(key, value);
        }
    }
}

impl fmt::Debug for Propagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::W3c => "W3C",
            Self::Given(_) => "given",
        })
    }
}

impl fmt::Debug for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Propagation")
            .field("enabled", &self.enabled)
            .field("baggage", &self.baggage)
            .field("propagator", &self.propagator)
            .finish()
    }
}
