use std::sync::atomic::AtomicUsize;

use kafka_tower_core::{Error, ErrorKind};
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::super::super::open_sends::OpenSends;
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
        let mut open = Open::new(None, OpenSends::default());
        let mut task = Arc::new(Woken::default());
        let mut unanswered = Vec::new();
        let (mut pushed, mut taken) = (0, 0);
        for step in steps {
            match step {
                Step::Push => {
                    let (answer, answered) = oneshot::channel();
                    unanswered.push((answer, pushed));
                    open.push(0, None, || Box::pin(async move { failed(answered.await.unwrap()) }));
                    pushed += 1;
                }
                Step::Failed => {
                    open.failed(failed(pushed).unwrap_err());
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
                    let all = open.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task))));
                    prop_assert_eq!(all.is_ready(), unanswered.is_empty());
                }
                Step::Next => {
                    if let Some(result) = open.next() {
                        prop_assert_eq!(name(&result), taken);
                        taken += 1;
                    }
                }
            }
            prop_assert_eq!(open.held(), pushed - taken);
        }
        // The task sleeps; each new answer wakes it once.
        let waker = Waker::from(Arc::clone(&task));
        let _ = open.poll(&mut Context::from_waker(&waker));
        while let Some((answer, name)) = unanswered.pop() {
            let before = task.0.load(Ordering::SeqCst);
            answer.send(name).unwrap();
            prop_assert_eq!(task.0.load(Ordering::SeqCst), before + 1);
            let all = open.poll(&mut Context::from_waker(&waker));
            prop_assert_eq!(all.is_ready(), unanswered.is_empty());
        }
        let rest: Vec<usize> = open.take().iter().map(name).collect();
        prop_assert_eq!(rest, (taken..pushed).collect::<Vec<_>>());
        prop_assert!(open.bells.len() <= pushed.div_ceil(NEIGHBOURS));
    }
}

/// A future that wakes its task during its own poll is polled again.
#[test]
fn a_future_that_yields_is_polled_again() {
    let (mut open, task) = (Open::new(None, OpenSends::default()), Arc::new(Woken::default()));
    let waker = Waker::from(Arc::clone(&task));
    let mut left = 3;
    let future = std::future::poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        left -= 1;
        if left == 0 { Poll::Ready(failed(0)) } else { Poll::Pending }
    });
    open.push(0, None, || Box::pin(future));
    assert!(open.poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(task.0.load(Ordering::SeqCst), 1, "it rang in its poll");
    assert!(open.poll(&mut Context::from_waker(&waker)).is_ready());
}

/// A long stream needs no more bells than messages are in flight at once.
#[test]
fn bells_are_reused() {
    let mut open = Open::new(None, OpenSends::default());
    for i in 0..1_000 {
        open.push(0, None, || Box::pin(async move { failed(i) }));
        if i >= 2 * NEIGHBOURS {
            assert_eq!(name(&open.next().unwrap()), i - 2 * NEIGHBOURS);
        }
    }
    assert!(open.bells.len() <= 4, "{}", open.bells.len());
}
