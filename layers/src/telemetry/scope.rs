//! How the layers below find the span of their send: as a value in the current context.
//!
//! `Context::current().span()` would be wrong: it may be a span of the application, for example when it forces the
//! breaker, or of a layer in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};

use super::batch::Batch;
use super::semconv;
use super::sink::Sink;

/// What the current task is doing.
pub(super) enum Scope {
    /// It works on a recorded send.
    Send(SendScope),
    /// It works on a batch: messages that its sink calls now belong to the batch.
    Batch(Arc<Batch>),
    /// It works on a send that is not recorded, inside another send or a batch: its events do not belong to those.
    Unrecorded,
}

/// Returns the context to attach while a send is polled. Its caller's context may belong to another send or to a
/// batch.
pub(super) fn scoped(context: Context, recorded: Option<SendScope>) -> Context {
    match recorded {
        Some(send) => context.with_value(Scope::Send(send)),
        None if is_scoped(&context) => context.with_value(Scope::Unrecorded),
        None => context,
    }
}

/// Whether the current context contains anything that a send without tracer and meter must handle.
#[inline]
pub(super) fn is_anything_current() -> bool {
    Context::map_current(|current| current.has_active_span() || is_scoped(current))
}

/// Whether the context belongs to a send or a batch. A separate function, so that callers with an empty context
/// reserve no stack for it.
#[inline(never)]
pub(super) fn is_scoped(context: &Context) -> bool {
    context.get::<Scope>().is_some()
}

pub(super) struct SendScope {
    /// Context with the span that receives the events: the send's or its batch's.
    span: Context,
    /// Index of the message in its batch.
    index: Option<usize>,
    attempts: AtomicU32,
}

impl SendScope {
    pub(super) fn new(span: Context, index: Option<usize>) -> Self {
        Self { span, index, attempts: AtomicU32::new(1) }
    }

    pub(super) fn event(&self, name: &'static str, mut attributes: Vec<KeyValue>) {
        attributes.extend(
            self.index.map(|index| KeyValue::new(semconv::BATCH_INDEX, i64::try_from(index).unwrap_or(i64::MAX))),
        );
        self.span.span().add_event(name, attributes);
    }

    /// Records that `attempts` attempts were made and another one follows.
    pub(super) fn tried(&self, attempts: u32) {
        self.attempts.store(attempts.saturating_add(1), Ordering::Relaxed);
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// Returns the batch of this sink that is being called, if the context belongs to one.
pub(super) fn batch_of(context: &Context, sink: &Sink) -> Option<Arc<Batch>> {
    match context.get::<Scope>() {
        Some(Scope::Batch(batch)) if batch.is_of(sink) => Some(Arc::clone(batch)),
        _ => None,
    }
}

/// Returns the recorded send of a context.
pub(super) fn send_of(context: &Context) -> Option<&SendScope> {
    match context.get::<Scope>() {
        Some(Scope::Send(send)) => Some(send),
        _ => None,
    }
}

/// Calls `record` with the recorded send of the current task. Not inside `map_current`: a foreign span may use the
/// current context.
pub(super) fn with_current_send(record: impl FnOnce(&SendScope)) {
    let current = Context::current();
    if let Some(send) = send_of(&current) {
        record(send);
    }
}
