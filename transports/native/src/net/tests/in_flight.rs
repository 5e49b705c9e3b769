//! Which request an answer belongs to, and how much of each was written.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::net::in_flight::{ForeignAnswer, InFlight, RequestId, Written};
use crate::protocol::api::Api;

const SECOND: Duration = Duration::from_secs(1);

fn id(correlation_id: i32) -> RequestId {
    RequestId { api: Api::Produce, version: 9, correlation_id }
}

#[test]
fn an_answer_belongs_to_the_oldest_request_that_was_written() {
    let (mut open, now) = (InFlight::new(), Instant::now());
    for (number, what) in [(0, 'a'), (1, 'b')] {
        assert_eq!(open.next_id(), number);
        open.push(id(number), 10, true, now, SECOND, what);
    }
    assert_eq!(open.answered(0), Err(ForeignAnswer { found: 0, expected: None }), "nothing was written");
    open.wrote(9);
    assert_eq!(open.answered(0), Err(ForeignAnswer { found: 0, expected: None }), "the last byte was not written");
    open.wrote(11);
    assert_eq!(open.answered(1), Err(ForeignAnswer { found: 1, expected: Some(0) }), "it is not the oldest");
    assert_eq!(open.answered(0), Ok((id(0), 'a')));
    assert_eq!(open.answered(0), Err(ForeignAnswer { found: 0, expected: Some(1) }), "it was answered");
    assert_eq!(open.answered(1), Ok((id(1), 'b')));
    assert!(open.is_empty());
}

#[test]
fn the_first_deadline_counts_wherever_its_request_is() {
    let (mut open, now) = (InFlight::new(), Instant::now());
    open.push(id(0), 1, true, now, 3 * SECOND, 'a');
    open.push(id(1), 1, true, now, SECOND, 'b');
    open.wrote(1);
    assert_eq!(open.deadline(), Some(now + SECOND));
    let moment = Duration::from_nanos(1);
    assert_eq!(open.expired(now + SECOND - moment), None);
    assert_eq!(open.expired(now + SECOND), Some((id(1), SECOND)));
    assert_eq!(open.expired(now + 3 * SECOND), Some((id(0), 3 * SECOND)));
    open.wrote(1);
    open.answered(0).unwrap();
    open.answered(1).unwrap();
    assert_eq!((open.deadline(), open.expired(now + 9 * SECOND)), (None, None));
}

#[test]
fn a_time_without_end_is_no_panic() {
    let mut open = InFlight::new();
    open.push(id(0), 1, true, Instant::now(), Duration::MAX, ());
    assert_eq!((open.deadline(), open.len()), (None, 1));
}

#[test]
fn correlation_ids_start_again_behind_the_largest() {
    let open = &mut InFlight::<()>::new();
    let mut other = InFlight::<()>::starting_at(i32::MAX);
    assert_eq!((open.next_id(), open.next_id()), (0, 1));
    assert_eq!((other.next_id(), other.next_id()), (i32::MAX, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Push { len: usize, answered: bool },
    Wrote(usize),
    Answer,
    Done,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (4..30_usize, any::<bool>()).prop_map(|(len, answered)| Step::Push { len, answered }),
        (0..50_usize).prop_map(Step::Wrote),
        Just(Step::Answer),
        Just(Step::Done),
    ]
}

proptest! {
    /// Against a model that counts the bytes of the whole connection: a request is in doubt exactly from its last byte on.
    #[test]
    fn doubt_begins_with_the_last_byte(steps in prop::collection::vec(step(), 0..40)) {
        let mut open = InFlight::new();
        // Of each request: where it begins and ends on the connection, whether an answer is expected, whether it is there still.
        let mut model: Vec<(usize, usize, bool, bool)> = Vec::new();
        let (mut queued, mut written) = (0, 0);
        for step in steps {
            match step {
                Step::Push { len, answered } => {
                    let number = model.len();
                    open.push(id(number as i32), len, answered, Instant::now(), SECOND, number);
                    model.push((queued, queued + len, answered, true));
                    queued += len;
                }
                Step::Wrote(len) => {
                    let len = len.min(queued - written);
                    open.wrote(len);
                    written += len;
                }
                Step::Answer => {
                    let oldest = model.iter().position(|(_, end, answered, there)| *answered && *there && *end <= written);
                    match oldest {
                        Some(oldest) => {
                            prop_assert_eq!(open.answered(oldest as i32), Ok((id(oldest as i32), oldest)));
                            model[oldest].3 = false;
                        }
                        None => prop_assert!(open.answered(0).is_err()),
                    }
                }
                Step::Done => {
                    let oldest = model.iter().position(|(_, end, answered, there)| !*answered && *there && *end <= written);
                    prop_assert_eq!(open.take_done(), oldest);
                    if let Some(oldest) = oldest {
                        model[oldest].3 = false;
                    }
                }
            }
        }
        let mut left = open.close();
        left.sort_unstable_by_key(|(number, _)| *number);
        let expected: Vec<_> = model.iter().enumerate().filter(|(_, request)| request.3).map(|(number, request)| {
            let (start, end, ..) = *request;
            let state = if written >= end { Written::Wholly } else if written > start { Written::Partly } else { Written::Not };
            (number, state)
        }).collect();
        prop_assert_eq!(left, expected);
    }
}
