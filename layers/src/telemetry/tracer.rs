//! The tracer: a given one or the global one, and whether it creates spans.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::trace::{Span, SpanBuilder, SpanContext, TraceContextExt, Tracer};
use opentelemetry::{Context, InstrumentationScope, global};

/// Starts spans; hides the span's type.
trait StartSpan: Send + Sync {
    /// Returns the parent's context with the new span. `None` if the tracer created no new span.
    fn start_span(&self, builder: SpanBuilder, parent: &Context) -> Option<Context>;
}

impl<T> StartSpan for T
where
    T: Tracer + Send + Sync,
    T::Span: Span + Send + Sync + 'static,
{
    fn start_span(&self, builder: SpanBuilder, parent: &Context) -> Option<Context> {
        let span = self.build_with_context(builder, parent);
        if !is_new(span.span_context(), parent.span().span_context()) {
            return None;
        }
        // A span that is not recorded is only its context, which needs no allocation. This does not mark it as
        // remote.
        if !span.is_recording() {
            return Some(parent.with_remote_span_context(span.span_context().clone()));
        }
        Some(parent.with_span(span))
    }
}

pub(super) struct Spans {
    /// A given tracer, or the global one after its first span.
    tracer: OnceLock<Box<dyn StartSpan>>,
    /// Scope of the global provider's tracer, if that one is to be used: it may be set later.
    global: Option<InstrumentationScope>,
    warned: AtomicBool,
    /// Whether the tracer seems to create spans. The API cannot tell whether a tracer is the no-op: only a span shows
    /// it.
    alive: AtomicBool,
}

impl Spans {
    pub(super) fn none() -> Self {
        let alive = AtomicBool::new(false);
        Self { tracer: OnceLock::new(), global: None, warned: AtomicBool::new(true), alive }
    }

    pub(super) fn of<T>(tracer: T) -> Self
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        Self {
            tracer: OnceLock::from(Box::new(tracer) as Box<dyn StartSpan>),
            alive: AtomicBool::new(true),
            ..Self::none()
        }
    }

    /// Spans of the global provider's tracer, which may be set later.
    pub(super) fn global(scope: InstrumentationScope) -> Self {
        Self { global: Some(scope), warned: AtomicBool::new(false), alive: AtomicBool::new(true), ..Self::none() }
    }

    /// Whether there is no tracer and a provider may still be set.
    pub(super) fn may_come(&self) -> bool {
        self.global.is_some() && self.tracer.get().is_none()
    }

    /// Lets the next span show whether a global provider is set.
    pub(super) fn look(&self) {
        if self.may_come() {
            self.alive.store(true, Ordering::Relaxed);
        }
    }

    /// Whether spans are created.
    pub(super) fn are_made(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Starts a span. `None` if the tracer creates none: it is the API's no-op, or was shut down. Then it is not
    /// called again until the next look-up.
    pub(super) fn start(&self, builder: SpanBuilder, parent: &Context) -> Option<Context> {
        // The SDK then behaves as the no-op does.
        if parent.is_telemetry_suppressed() {
            return None;
        }
        let context = match (self.tracer.get(), &self.global) {
            (Some(tracer), _) => tracer.start_span(builder, parent),
            (None, Some(scope)) => self.start_first(builder, parent, scope),
            (None, None) => None,
        };
        if context.is_none() {
            self.alive.store(false, Ordering::Relaxed);
        }
        context
    }

    /// Uses the current global tracer, and keeps it if it creates spans.
    #[cold]
    fn start_first(&self, builder: SpanBuilder, parent: &Context, scope: &InstrumentationScope) -> Option<Context> {
        let tracer = global::tracer_with_scope(scope.clone());
        let context = tracer.start_span(builder, parent);
        if context.is_some() {
            self.tracer.get_or_init(|| Box::new(tracer));
        } else if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "no global OpenTelemetry tracer provider is set: sends have no spans until one is set; set it \
                 before the first send, or choose Telemetry::builder().spans(false)"
            );
        }
        context
    }
}

/// A real tracer gives each span an id, even if it does not record it; the no-op returns the parent's id.
fn is_new(span: &SpanContext, parent: &SpanContext) -> bool {
    span.is_valid() && span.span_id() != parent.span_id()
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.are_made()).finish()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry::trace::noop::NoopTracerProvider;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    use super::*;

    fn builder() -> SpanBuilder {
        SpanBuilder::from_name("span")
    }

    /// Creates a caller's context with a span.
    fn caller() -> Context {
        Context::new().with_span(SdkTracerProvider::default().tracer("caller").start("caller"))
    }

    #[test]
    fn the_no_op_tracer_is_detected_at_its_first_span() {
        for parent in [Context::new(), caller()] {
            let spans = Spans::of(NoopTracerProvider::new().tracer("no-op"));
            assert!(spans.are_made());
            assert!(spans.start(builder(), &parent).is_none());
            assert!(!spans.are_made());
        }
    }

    #[test]
    fn suppression_does_not_mark_the_tracer_as_no_op() {
        let spans = Spans::of(SdkTracerProvider::default().tracer("sdk"));
        assert!(spans.start(builder(), &Context::new().with_telemetry_suppressed()).is_none());
        assert!(spans.are_made());
    }

    #[test]
    fn a_span_that_is_sampled_out_is_a_span() {
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
        let spans = Spans::of(provider.tracer_with_scope(InstrumentationScope::default()));
        for parent in [Context::new(), caller()] {
            assert!(spans.start(builder(), &parent).is_some_and(|context| !context.span().is_recording()));
            assert!(spans.are_made());
        }
        drop(provider.shutdown());
        assert!(spans.start(builder(), &Context::new()).is_none());
        assert!(!spans.are_made(), "a provider that was shut down makes none");
    }
}
