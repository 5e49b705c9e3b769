//! The tracer: whichever the application has, and whether there is one.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{Span, SpanBuilder, SpanContext, TraceContextExt, Tracer};

/// Starts spans, without the type of a span.
trait Start: Send + Sync {
    /// The parent's context with the new span in it.
    fn start(&self, builder: SpanBuilder, parent: &Context) -> Context;
}

impl<T> Start for T
where
    T: Tracer + Send + Sync,
    T::Span: Span + Send + Sync + 'static,
{
    fn start(&self, builder: SpanBuilder, parent: &Context) -> Context {
        parent.with_span(self.build_with_context(builder, parent))
    }
}

pub(super) struct Spans {
    tracer: Option<Box<dyn Start>>,
    /// Nobody can ask a tracer whether it is the no-op: it shows by its first span.
    alive: AtomicBool,
}

impl Spans {
    pub(super) fn none() -> Self {
        Self { tracer: None, alive: AtomicBool::new(false) }
    }

    pub(super) fn of<T>(tracer: T) -> Self
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        Self { tracer: Some(Box::new(tracer)), alive: AtomicBool::new(true) }
    }

    /// Whether spans can be had.
    pub(super) fn are_made(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Starts a span. None if the tracer makes none: it is the API's no-op, or was shut down, and is asked no more.
    pub(super) fn start(&self, builder: SpanBuilder, parent: &Context) -> Option<Context> {
        let context = self.tracer.as_ref()?.start(builder, parent);
        if is_new(context.span().span_context(), parent.span().span_context()) {
            return Some(context);
        }
        self.alive.store(false, Ordering::Relaxed);
        None
    }
}

/// A tracer gives each span an id, also one that it does not record; the no-op passes on the parent's.
fn is_new(span: &SpanContext, parent: &SpanContext) -> bool {
    span.is_valid() && span.span_id() != parent.span_id()
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.are_made()).finish()
    }
}
