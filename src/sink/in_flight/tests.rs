use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Instant;

use kafka_tower_core::{Error, ErrorKind};
use kafka_tower_layers::metrics::Metrics;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;

/// Counts wake-ups of the task.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn failed(name: usize) -> Result<Delivery> {
    Err(Error::new(ErrorKind::Timeout, name.to_string()))
}

fn tracked() -> Tracked {
    Tracked { ticket: None, open: None, epoch: 0, called: Instant::now() }
}

fn name(result: &Result<Delivery>) -> usize {
    result.as_ref().unwrap_err().to_string().split_whitespace().find_map(|word| word.parse().ok()).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Push,
    Failed,
    /// One of the messages in flight gets its answer.
    Answer(prop::sample::Index),
    /// The task polls, with a new waker or the same one.
    Poll(bool),
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Push),
        1 => Just(Step::Failed),
        4 => any::<prop::sample::Index>().prop_map(Step::Answer),
        2 => any::<bool>().prop_map(Step::Poll),
        3 => Just(Step::Next),
    ]
}

proptest! {
    /// No result is lost and their order is kept, by a task that polls only when it was woken or has pushed.
    #[test]
    fn no_result_is_lost_and_the_order_is_kept(steps in prop::collection::vec(step(), 1..400)) {
        let mut set = InFlightSet::new(Tracker::of_test(&Metrics::new()));
        let mut task = Arc::new(Woken::default());
        let mut unanswered = Vec::new();
        let (mut pushed, mut taken) = (0, 0);
        for step in steps {
            match step {
                Step::Push => {
                    let (answer, answered) = oneshot::channel();
                    unanswered.push((answer, pushed));
                    set.push(StackFuture::of(async move { failed(answered.await.unwrap()) }), ObservedCall::begin(None), tracked());
                    pushed += 1;
                }
                Step::Failed => {
                    set.failed(failed(pushed).unwrap_err(), None);
                    pushed += 1;
                }
                Step::Answer(which) if !unanswered.is_empty() => {
                    let (answer, name) = unanswered.swap_remove(which.index(unanswered.len()));
                    answer.send(name).unwrap();
                }
                Step::Answer(_) => {}
                Step::Poll(same) => {
                    if !same {
                        task = Arc::default();
                    }
                    let all = set.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task))));
                    prop_assert_eq!(all.is_ready(), unanswered.is_empty());
                }
                Step::Next => {
                    if let Some(result) = set.next() {
                        prop_assert_eq!(name(&result), taken);
                        taken += 1;
                    }
                }
            }
            prop_assert_eq!(set.held(), pushed - taken);
        }
        // The task sleeps; each new answer wakes it once.
        let waker = Waker::from(Arc::clone(&task));
        let _ = set.poll(&mut Context::from_waker(&waker));
        while let Some((answer, name)) = unanswered.pop() {
            let before = task.0.load(Ordering::SeqCst);
            answer.send(name).unwrap();
            prop_assert_eq!(task.0.load(Ordering::SeqCst), before + 1);
            let all = set.poll(&mut Context::from_waker(&waker));
            prop_assert_eq!(all.is_ready(), unanswered.is_empty());
        }
        let rest: Vec<usize> = set.take().iter().map(name).collect();
        prop_assert_eq!(rest, (taken..pushed).collect::<Vec<_>>());
        prop_assert!(set.groups.len() <= pushed.div_ceil(GROUP));
    }
}

/// A future that wakes its task during its own poll is polled again.
#[test]
fn a_future_that_yields_is_polled_again() {
    let (mut set, task) = (InFlightSet::new(Tracker::of_test(&Metrics::new())), Arc::new(Woken::default()));
    let waker = Waker::from(Arc::clone(&task));
    let mut left = 3;
    let future = std::future::poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        left -= 1;
        if left == 0 { Poll::Ready(failed(0)) } else { Poll::Pending }
    });
    set.push(StackFuture::of(future), ObservedCall::begin(None), tracked());
    assert!(set.poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(task.0.load(Ordering::SeqCst), 1, "it woke its group in its poll");
    assert!(set.poll(&mut Context::from_waker(&waker)).is_ready());
}

/// A long stream needs no more wakers than messages are in flight at once.
#[test]
fn wakers_are_reused() {
    let mut set = InFlightSet::new(Tracker::of_test(&Metrics::new()));
    for i in 0..1_000 {
        set.push(StackFuture::of(async move { failed(i) }), ObservedCall::begin(None), tracked());
        if i >= 2 * GROUP {
            assert_eq!(name(&set.next().unwrap()), i - 2 * GROUP);
        }
    }
    assert!(set.groups.len() <= 4, "{}", set.groups.len());
}

/// The caller may catch a panic of its serializer and go on.
#[test]
fn a_message_whose_first_poll_panics_takes_no_group() {
    let mut set = InFlightSet::new(Tracker::of_test(&Metrics::new()));
    for first in 0..3 {
        for _ in 0..3 {
            let panics = StackFuture::of(async { panic!("planted") as Result<Delivery> });
            let push = || set.push(panics, ObservedCall::begin(None), tracked());
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(push)).unwrap_err();
        }
        for n in 0..GROUP {
            set.failed(failed(first * GROUP + n).unwrap_err(), None);
        }
        assert_eq!((set.groups.len(), set.used.len()), (1, 1));
        assert_eq!(set.take().len(), GROUP);
        assert_eq!((set.spare.len(), set.used.len()), (1, 0));
    }
}

/// However a message ends, it counts once.
#[test]
fn each_message_counts_once() {
    let metrics = Metrics::new();
    let mut set = InFlightSet::new(Tracker::of_test(&metrics));
    set.push(StackFuture::of(async { failed(0) }), ObservedCall::begin(None), tracked());
    let (answer, answered) = oneshot::channel();
    set.push(StackFuture::of(async move { failed(answered.await.unwrap()) }), ObservedCall::begin(None), tracked());
    for _ in 0..3 {
        set.push(StackFuture::of(std::future::pending::<Result<Delivery>>()), ObservedCall::begin(None), tracked());
    }
    answer.send(1).unwrap();
    assert!(set.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let panics = StackFuture::of(async { panic!("planted") as Result<Delivery> });
    let push = || set.push(panics, ObservedCall::begin(None), tracked());
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(push)).unwrap_err();
    drop(set);
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.messages_failed, snapshot.abandoned), (2, 4));
}
