//! How the layers below find the span of the send that they work for: as a value in the current context.
//!
//! Not `Context::current().span()`: that may be a span of the application's, as when somebody forces the breaker by hand, or
//! of a layer in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};

use super::batch::Batch;
use super::layer::Sink;
use super::semconv;

/// What the current task works for.
pub(super) enum Scope {
    /// A send that is recorded.
    Send(SendScope),
    /// A batch: what its sink calls now is one of its messages.
    Batch(Arc<Batch>),
    /// A send that is not recorded, within another or a batch: what it does is not theirs.
    Untold,
}

/// What is current while a send is at work. The context comes from its caller, who may work for another send or be in a batch.
pub(super) fn scoped(context: Context, recorded: Option<SendScope>) -> Context {
    match recorded {
        Some(send) => context.with_value(Scope::Send(send)),
        None if is_scoped(&context) => context.with_value(Scope::Untold),
        None => context,
    }
}

/// Whether there is anything in the current context that a send without tracer and meter has to do with.
#[inline]
pub(super) fn is_anything_current() -> bool {
    Context::map_current(|current| current.has_active_span() || is_scoped(current))
}

/// Whether it is of a send or of a batch. Apart, so that whoever has nothing current does not make room for the look.
#[inline(never)]
pub(super) fn is_scoped(context: &Context) -> bool {
    context.get::<Scope>().is_some()
}

pub(super) struct SendScope {
    /// With the span that the events go to: the send's, or its batch's.
    span: Context,
    /// The message's place in the batch.
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

    /// So many attempts were made, and one more follows.
    pub(super) fn tried(&self, attempts: u32) {
        self.attempts.store(attempts.saturating_add(1), Ordering::Relaxed);
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// The batch of this sink that is being called, if the context is of one.
pub(super) fn batch_of(context: &Context, sink: &Sink) -> Option<Arc<Batch>> {
    match context.get::<Scope>() {
        Some(Scope::Batch(batch)) if batch.is_of(sink) => Some(Arc::clone(batch)),
        _ => None,
    }
}

/// The send that a context is of, if it is recorded.
pub(super) fn send_of(context: &Context) -> Option<&SendScope> {
    match context.get::<Scope>() {
        Some(Scope::Send(send)) => Some(send),
        _ => None,
    }
}

/// Tells the send that the current task works for, if it is recorded. Not while the current context is looked at: a span is not
/// ours, and may use it.
pub(super) fn with_current_send(tell: impl FnOnce(&SendScope)) {
    let current = Context::current();
    if let Some(send) = send_of(&current) {
        tell(send);
    }
}
