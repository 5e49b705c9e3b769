//! Tests that the send's span is current in its call and polls, and nowhere else.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use opentelemetry::trace::SpanId;
use proptest::prelude::*;

use crate::support::*;

fn current() -> SpanId {
    Context::map_current(|context| context.span().span_context().span_id())
}

/// Resolves after `polls` polls, and records the current span in its call and in each poll.
#[derive(Clone, Default)]
struct Watching {
    polls: usize,
    seen: Arc<Mutex<Vec<(String, SpanId)>>>,
}

impl Service<Record> for Watching {
    type Response = Delivery;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        let name = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let (mut left, seen) = (self.polls, Arc::clone(&self.seen));
        seen.lock().unwrap().push((name.clone(), current()));
        Box::pin(std::future::poll_fn(move |_| {
            seen.lock().unwrap().push((name.clone(), current()));
            left = match left.checked_sub(1) {
                Some(left) => left,
                None => return Poll::Ready(Ok(Delivery::new("orders", 0))),
            };
            Poll::Pending
        }))
    }
}

/// Sends of several tasks, each with its own span, polled in any order on one thread.
fn interleaved(tasks: usize, polls: usize, order: &[usize], sampler: Sampler) {
    let backend = Backend::sampling(sampler);
    let layer = backend.telemetry().layer("orders");
    let watching = Watching { polls, ..Watching::default() };
    let mut service = layer.layer(watching.clone());
    let tracer = backend.tracers.tracer("app");
    let mut sends: Vec<_> = (0..tasks).map(|_| None).collect();
    let parents: Vec<_> =
        (0..tasks).map(|task| Context::new().with_span(tracer.start(format!("task {task}")))).collect();
    for &place in order {
        let task = place % tasks;
        // Every other task is polled with its own span current, as an instrumented future is.
        let attached = (task % 2 == 0 || sends[task].is_none()).then(|| parents[task].clone().attach());
        let before = current();
        let send = sends[task]
            .get_or_insert_with(|| Some(Box::pin(service.call(Record::new("orders").with_value(task.to_string())))));
        assert_eq!(current(), before, "a call leaks");
        let done = send
            .as_mut()
            .is_some_and(|send| send.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_ready());
        if done || place % 7 == 6 {
            *send = None; // resolved, or dropped
        }
        assert_eq!(current(), before, "a poll leaks");
        drop(attached);
        assert_eq!(current(), SpanId::INVALID);
    }
    drop(sends);
    let seen = watching.seen.lock().unwrap();
    for (task, parent) in parents.iter().enumerate() {
        let mut ids = seen.iter().filter(|(name, _)| *name == task.to_string()).map(|(_, id)| *id);
        let Some(first) = ids.next() else { continue };
        assert!(first != SpanId::INVALID && first != parent.span().span_context().span_id());
        assert!(ids.all(|id| id == first), "a send has one span in its call and in all polls");
    }
    for span in backend.spans().iter().filter(|span| span.name == "send orders") {
        assert!(parents.iter().any(|parent| parent.span().span_context().span_id() == span.parent_span_id));
    }
}

proptest! {
    #[test]
    fn a_span_never_leaks_into_another_task(
        tasks in 1..5usize,
        polls in 0..4usize,
        order in prop::collection::vec(0..1000usize, 0..40),
        sampled: bool,
    ) {
        interleaved(tasks, polls, &order, if sampled { Sampler::AlwaysOn } else { Sampler::AlwaysOff });
    }
}

#[tokio::test]
async fn a_span_opened_below_is_a_child() {
    let (backend, kafka) = (Backend::new(), kafka());
    let tracer = backend.tracers.tracer("app");
    let layer = backend.telemetry().layer("orders");
    let mut orders = layer.layer(
        ServiceBuilder::new()
            .map_request(move |record: Record| {
                drop(tracer.start("below"));
                record
            })
            .service(kafka.transport()),
    );
    orders.ready().await.unwrap().call(Record::new("orders")).await.unwrap();
    assert_eq!(backend.span("below").parent_span_id, backend.span("send orders").span_context.span_id());
}

/// An event goes to its send, whatever span is current.
#[tokio::test(start_paused = true)]
async fn a_span_between_the_send_and_the_retry_gets_no_event() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().fail(no_leader());
    let tracer = backend.tracers.tracer("app");
    let layer = backend.telemetry().layer("orders");
    let retry = RetryLayer::new(RetryPolicy::new()).on_retry(layer.on_retry());
    let records = retry.layer(kafka.transport());
    let between = tower::service_fn(move |record: Record| {
        let context = Context::current_with_span(tracer.start("between"));
        opentelemetry::context::FutureExt::with_context(records.clone().oneshot(record), context)
    });
    layer.layer(between).oneshot(Record::new("orders")).await.unwrap();
    assert_eq!(backend.span("between").events.len(), 0);
    assert_eq!(backend.span("send orders").events.len(), 1);
}

/// A span of the application gets no event either, when the application forces the breaker.
#[tokio::test]
async fn a_span_of_the_application_gets_no_event() {
    let backend = Backend::new();
    let layer = backend.telemetry().layer("orders");
    let breaker = CircuitBreakerLayer::default();
    layer.watch_breaker(&breaker.handle());
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    {
        let _current = request.clone().attach();
        breaker.handle().force_open();
    }
    request.span().end();
    assert_eq!(backend.span("request").events.len(), 0);
    assert_eq!(backend.metric("kafka_tower.circuit_breaker.state"), ["messaging.destination.name=orders: 2"]);
}
