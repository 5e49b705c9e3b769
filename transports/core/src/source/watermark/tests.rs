use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Delivers offsets and hands them to the user.
fn handed(watermark: &mut Watermark, offsets: impl IntoIterator<Item = i64>) -> Vec<DeliveryId> {
    let deliver = |offset| {
        let id = watermark.deliver(offset).unwrap();
        assert!(watermark.dispatch(id));
        id
    };
    offsets.into_iter().map(deliver).collect()
}

#[test]
fn the_offset_to_commit_is_that_of_the_first_unsettled_record() {
    let mut watermark = Watermark::new(1);
    assert_eq!((watermark.committable(), watermark.due()), (None, None));
    let ids = handed(&mut watermark, [0, 1, 2]);
    assert_eq!((watermark.due(), watermark.is_uncommitted()), (Some(0), false), "the group may have none");
    watermark.committed(0);
    assert_eq!(watermark.due(), None, "nothing is settled");
    assert_eq!(watermark.settle(ids[2]), Settled::Done);
    assert_eq!(watermark.settle(ids[1]), Settled::Done);
    assert_eq!((watermark.committable(), watermark.due()), (Some(0), None));
    watermark.settle(ids[0]);
    assert_eq!((watermark.due(), watermark.is_uncommitted()), (Some(3), true));
    watermark.committed(3);
    assert_eq!((watermark.due(), watermark.is_uncommitted()), (None, false));
}

#[test]
fn holes_inside_and_at_the_end_are_passed() {
    let mut watermark = Watermark::new(1);
    let ids = handed(&mut watermark, [0, 1, 8, 9]);
    watermark.settle(ids[0]);
    watermark.settle(ids[1]);
    assert_eq!(watermark.committable(), Some(8), "the next record, and not 2");
    watermark.reach(15, 1);
    assert_eq!(watermark.committable(), Some(8));
    watermark.settle(ids[3]);
    watermark.settle(ids[2]);
    assert_eq!(watermark.committable(), Some(15), "the position, and not 10");
}

#[test]
fn a_position_without_records_is_committed() {
    let mut watermark = Watermark::new(1);
    watermark.reach(7, 1);
    assert_eq!(watermark.due(), Some(7), "the group may be before a hole that ends there");
    watermark.committed(7);
    assert_eq!(watermark.due(), None);
    watermark.reach(9, 1);
    assert_eq!(watermark.due(), Some(9));
    watermark.reach(8, 1);
    watermark.reach(20, 2);
    assert_eq!(watermark.due(), Some(9), "positions only grow, and count in their epoch");
}

#[test]
fn an_offset_below_the_position_is_refused() {
    let mut watermark = Watermark::new(1);
    handed(&mut watermark, [5]);
    assert_eq!(watermark.deliver(5), None);
    watermark.reach(9, 1);
    assert_eq!(watermark.deliver(8), None);
    assert!(watermark.deliver(9).is_some());
    assert_eq!(watermark.deliver(i64::MAX), None);
}

/// The rows of the table in the module's design: what each event does to a record in each state.
#[test]
fn each_event_in_each_state() {
    use Settled::{Again, Done, Stale};
    type Step = fn(&mut Watermark, DeliveryId) -> Settled;
    let (settle, hold, reject): (Step, Step, Step) = (Watermark::settle, Watermark::hold, Watermark::reject);
    let put_back: Step = Watermark::put_back;
    let open: Step = |_, _| Done;
    let old: Step = |watermark, id| {
        watermark.hold(id);
        watermark.rewind(2);
        Done
    };
    let cases: [(&str, Step, [Settled; 4]); 6] = [
        ("open", open, [Done, Done, Done, Done]),
        ("held", hold, [Done, Again, Again, Again]),
        ("put back", put_back, [Done, Again, Again, Again]),
        ("settled", settle, [Again, Again, Again, Again]),
        ("rejected", reject, [Done, Done, Again, Again]),
        ("old epoch", old, [Stale, Stale, Stale, Stale]),
    ];
    for (name, prepare, expected) in cases {
        for (step, expected) in [settle, hold, reject, put_back].into_iter().zip(expected) {
            let mut watermark = Watermark::new(1);
            // A record before it keeps it from being forgotten when it is settled.
            let ids = handed(&mut watermark, [0, 1]);
            prepare(&mut watermark, ids[1]);
            assert_eq!(step(&mut watermark, ids[1]), expected, "{name}");
            let unknown = DeliveryId { number: 9, epoch: watermark.epoch() };
            assert_eq!(step(&mut watermark, unknown), Stale);
        }
    }
}

#[test]
fn a_rejected_record_and_a_waiting_one_are_not_in_hand() {
    let mut watermark = Watermark::new(1);
    let ids = handed(&mut watermark, [0, 1]);
    let waiting = watermark.deliver(2).unwrap();
    assert_eq!((watermark.in_hand(), watermark.unsettled()), (2, 2));
    watermark.reject(ids[0]);
    assert_eq!((watermark.in_hand(), watermark.rejected()), (1, 1));
    watermark.settle(ids[1]);
    assert_eq!((watermark.in_hand(), watermark.unsettled()), (0, 1));
    watermark.settle(ids[0]);
    assert_eq!((watermark.committable(), watermark.unsettled()), (Some(2), 0), "it waits, unsettled");
    assert!(watermark.dispatch(waiting) && !watermark.dispatch(waiting));
}

#[test]
fn a_rewind_delivers_again_from_the_first_held_record() {
    let mut watermark = Watermark::new(1);
    let ids = handed(&mut watermark, [0, 1, 2, 3]);
    watermark.hold(ids[3]);
    watermark.hold(ids[1]);
    assert_eq!(watermark.rewind(2), Some(1));
    assert_eq!(watermark.settle(ids[0]), Settled::Done, "it was before the rewind");
    assert_eq!(ids[1..].iter().map(|id| watermark.settle(*id)).collect::<Vec<_>>(), [Settled::Stale; 3]);
    let again = handed(&mut watermark, [1, 2]);
    assert_eq!(watermark.settle(again[0]), Settled::Done);
    assert_eq!(watermark.settle(ids[1]), Settled::Stale);
    assert_eq!(watermark.settle(again[0]), Settled::Again);
    assert_eq!(watermark.committable(), Some(2));
}

/// What the watermark must be equal to, written with less care for cost: each delivery with its offset and state.
#[derive(Default)]
struct Model {
    deliveries: Vec<(DeliveryId, i64, State)>,
    /// Deliveries of earlier epochs, or behind the watermark.
    gone: BTreeMap<u64, Vec<DeliveryId>>,
    handed: usize,
    position: i64,
}

impl Model {
    fn committable(&self) -> i64 {
        let unsettled = self.deliveries.iter().filter(|(.., state)| *state != State::Settled);
        unsettled.map(|(_, offset, _)| *offset).min().unwrap_or(self.position)
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Deliver(i64),
    Dispatch,
    Settle(usize),
    Hold(usize),
    Reject(usize),
    PutBack(usize),
    Reach(i64),
    Rewind,
    Seek(i64),
    Stale(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..3i64).prop_map(Op::Deliver),
        6 => Just(Op::Dispatch),
        8 => any::<usize>().prop_map(Op::Settle),
        1 => any::<usize>().prop_map(Op::Hold),
        1 => any::<usize>().prop_map(Op::Reject),
        1 => any::<usize>().prop_map(Op::PutBack),
        2 => (0..4i64).prop_map(Op::Reach),
        1 => Just(Op::Rewind),
        1 => (0..40i64).prop_map(Op::Seek),
        1 => any::<usize>().prop_map(Op::Stale),
    ];
    prop::collection::vec(op, 1..200)
}

proptest! {
    /// For any order of events, the committable offset passes no unsettled record, falls only by a seek, and equals the
    /// position when nothing is unsettled.
    #[test]
    fn the_watermark_agrees_with_a_naive_model(ops in ops()) {
        let (mut watermark, mut model, mut epoch) = (Watermark::new(1), Model::default(), 1);
        watermark.reach(0, 1);
        let mut last = 0;
        for op in ops {
            match op {
                Op::Deliver(hole) => {
                    let offset = model.position + hole;
                    let id = watermark.deliver(offset).unwrap();
                    model.deliveries.push((id, offset, State::Open));
                    model.position = offset + 1;
                }
                Op::Dispatch => {
                    let next = model.deliveries.get(model.handed).map(|(id, ..)| *id);
                    if let Some(id) = next {
                        prop_assert!(watermark.dispatch(id));
                        model.handed += 1;
                    }
                }
                Op::Settle(which) | Op::Hold(which) | Op::Reject(which) | Op::PutBack(which) if model.handed > 0 => {
                    let (id, _, state) = &mut model.deliveries[which % model.handed];
                    let (done, to, permitted) = match op {
                        Op::Settle(_) => (watermark.settle(*id), State::Settled, *state != State::Settled),
                        Op::Hold(_) => {
                            (watermark.hold(*id), State::Held, matches!(state, State::Open | State::Rejected))
                        }
                        Op::PutBack(_) => (watermark.put_back(*id), State::PutBack, *state == State::Open),
                        _ => (watermark.reject(*id), State::Rejected, *state == State::Open),
                    };
                    // Behind the watermark, an old epoch is not told from the present one.
                    let none = *state == State::Settled && done == Settled::Stale;
                    let expected = if permitted { Settled::Done } else { Settled::Again };
                    prop_assert!(none || done == expected, "{done:?} {state:?}");
                    if permitted {
                        *state = to;
                    }
                }
                Op::Reach(by) => {
                    model.position += by;
                    watermark.reach(model.position, epoch);
                }
                Op::Rewind => {
                    let again = |(.., state): &(_, _, State)| matches!(state, State::Held | State::PutBack);
                    let held = model.deliveries.iter().position(again);
                    let from = held.unwrap_or(usize::MAX).min(model.handed);
                    epoch += 1;
                    for (id, offset, _) in model.deliveries.split_off(from).into_iter().rev() {
                        model.gone.entry(epoch).or_default().push(id);
                        model.position = offset;
                    }
                    model.handed = model.handed.min(from);
                    prop_assert_eq!(watermark.rewind(epoch), Some(model.position));
                }
                Op::Seek(to) => {
                    epoch += 1;
                    let all = model.deliveries.drain(..).filter(|(.., state)| *state != State::Settled);
                    model.gone.entry(epoch).or_default().extend(all.map(|(id, ..)| id));
                    (model.position, model.handed, last) = (to, 0, to);
                    watermark.seek(to, epoch);
                    prop_assert_eq!((watermark.due(), watermark.is_uncommitted()), (Some(to), true));
                }
                Op::Stale(which) => {
                    let gone: Vec<_> = model.gone.values().flatten().collect();
                    if !gone.is_empty() {
                        prop_assert_eq!(watermark.settle(*gone[which % gone.len()]), Settled::Stale);
                    }
                }
                Op::Settle(_) | Op::Hold(_) | Op::Reject(_) | Op::PutBack(_) => {}
            }
            let committable = watermark.committable().unwrap();
            prop_assert_eq!(committable, model.committable());
            prop_assert!(committable >= last, "it fell");
            last = committable;
            let handed = &model.deliveries[..model.handed];
            let count = |wanted| handed.iter().filter(|(.., state)| *state == wanted).count();
            prop_assert_eq!(watermark.in_hand(), count(State::Open));
            prop_assert_eq!(watermark.rejected(), count(State::Rejected));
            prop_assert_eq!(watermark.unsettled(), handed.len() - count(State::Settled) - count(State::PutBack));
            for (id, _, state) in handed {
                prop_assert_eq!(watermark.is_open(*id), *state == State::Open);
                prop_assert!(*state == State::Settled || !watermark.is_stale(*id));
            }
        }
    }
}
