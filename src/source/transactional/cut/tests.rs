use std::collections::BTreeMap;

use kafka_tower_core::source::{CommitSettings, CommitStrategy, Engine, EngineSettings, OutOfRangePolicy};
use kafka_tower_core::{Assignment, GroupEvent};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const PARTITIONS: usize = 3;

fn at(partition: usize) -> TopicPartition {
    TopicPartition::new("orders", partition as i32)
}

/// Numbers deliveries.
struct Ids(Engine);

impl Ids {
    fn new() -> Self {
        let second = Duration::from_secs(1);
        let commits =
            CommitSettings { strategy: CommitStrategy::Transaction, interval: second, every: 1, timeout: second };
        let mut engine = Engine::new(EngineSettings {
            commits,
            commit_on_revoke: true,
            drain: second,
            redelivery_backoff: second,
            max_unsettled: usize::MAX,
            locate: false,
            out_of_range: OutOfRangePolicy::default(),
            stall_warning: None,
            listener: false,
        });
        engine.event(Instant::now().into_std(), GroupEvent::Assigned((0..PARTITIONS).map(at).collect()));
        Self(engine)
    }

    fn next(&mut self, partition: usize, offset: i64) -> DeliveryId {
        let assigned: Vec<Assignment> = self.0.readable();
        self.0.deliver(&assigned[partition])(offset).unwrap()
    }
}

#[test]
fn a_result_waits_for_those_before_it() {
    let (mut ids, mut reorder) = (Ids::new(), Reorder::new());
    let places: Vec<_> = (0..3).map(|offset| reorder.enter(&at(0), ids.next(0, offset), offset, 1)).collect();
    let other = reorder.enter(&at(1), ids.next(1, 9), 9, 1);
    reorder.finish(&places[1], "second");
    reorder.finish(&other, "other");
    assert_eq!((reorder.len(), reorder.ready()), (4, 1));
    reorder.finish(&places[0], "first");
    let taken = reorder.take(10);
    let taken: Vec<_> =
        taken.iter().map(|prefix| (prefix.span.at.partition, prefix.offset, &prefix.results[..])).collect();
    assert_eq!(taken, [(0, 0, &["first", "second"][..]), (1, 9, &["other"])]);
    assert_eq!((reorder.len(), reorder.ready()), (1, 0));
    assert!(reorder.has(&places[2]) && !reorder.has(&places[1]));
}

#[test]
fn nothing_leaves_from_a_failed_record_on() {
    let (mut ids, mut reorder) = (Ids::new(), Reorder::new());
    let places: Vec<_> = (0..4).map(|offset| reorder.enter(&at(0), ids.next(0, offset), offset, 1)).collect();
    reorder.finish(&places[3], 3);
    reorder.finish(&places[0], 0);
    assert_eq!(reorder.record(&places[1]).map(|record| (record.offset, record.attempt)), Some((1, 1)));
    reorder.fail(&places[1]);
    assert_eq!((reorder.len(), reorder.ready(), reorder.has(&places[2])), (1, 1, false));
    assert_eq!((reorder.finish(&places[2], 2), reorder.record(&places[1])), (Some(2), None));
    assert_eq!(reorder.take(10)[0].results, [0]);
}

#[test]
fn a_skipped_record_is_not_waited_for() {
    let (mut ids, mut reorder) = (Ids::new(), Reorder::new());
    let places: Vec<_> = (0..4).map(|offset| reorder.enter(&at(0), ids.next(0, offset), offset, 1)).collect();
    assert!([0, 2].iter().all(|index| reorder.finish(&places[*index], *index).is_none()));
    reorder.skip(&places[1]);
    assert_eq!((reorder.len(), reorder.ready(), reorder.has(&places[1])), (3, 2, false));
    let taken = reorder.take(10);
    assert_eq!((taken[0].span.records, &taken[0].results[..]), (2, &[0, 2][..]));
}

#[test]
fn what_is_stale_is_forgotten_and_what_follows_it_stays() {
    let (mut ids, mut reorder) = (Ids::new(), Reorder::new());
    let ids: Vec<_> = (0..4).map(|offset| ids.next(0, offset)).collect();
    let places: Vec<_> = ids.iter().map(|id| reorder.enter(&at(0), *id, 0, 1)).collect();
    assert!(places.iter().rev().take(3).all(|place| reorder.finish(place, ()).is_none()));
    let stale = reorder.forget_stale(|_, id| !ids[..2].contains(&id));
    assert_eq!((stale.len(), reorder.len(), reorder.ready()), (2, 2, 2));
    assert_eq!((reorder.has(&places[1]), reorder.has(&places[2])), (false, true));
    reorder.forget(&at(0));
    assert_eq!((reorder.len(), reorder.ready(), reorder.partitions().count()), (0, 0, 0));
}

/// What has begun is waited for, with what is before it.
#[test]
fn records_that_wait_behind_all_that_runs_are_given_up() {
    let (mut ids, mut reorder) = (Ids::new(), Reorder::new());
    let places: Vec<_> = (0..6).map(|offset| reorder.enter(&at(0), ids.next(0, offset), offset, 1)).collect();
    [0, 1, 3, 4].into_iter().for_each(|index| reorder.begin(&places[index]));
    assert!([0, 4].iter().all(|index| reorder.finish(&places[*index], *index).is_none()));
    assert_eq!((reorder.give_up_rest(&at(0)).len(), reorder.len(), reorder.ready()), (2, 4, 1));
    assert!(reorder.has(&places[3]) && !reorder.has(&places[4]));
    // The third one has not begun, so the fourth one has ended in vain.
    reorder.finish(&places[3], 3);
    assert_eq!((reorder.give_up_rest(&at(0)).len(), reorder.len()), (2, 2));
    let last = reorder.enter(&at(0), ids.next(0, 6), 6, 1);
    reorder.begin(&last);
    reorder.finish(&last, 6);
    assert_eq!((reorder.give_up_rest(&at(0)).len(), reorder.len()), (0, 3), "all have begun");
    reorder.finish(&places[1], 1);
    assert_eq!((reorder.give_up_rest(&at(0)).len(), reorder.take(9)[0].results.len()), (0, 3));
    assert_eq!(reorder.give_up_rest(&at(1)), []);
}

/// A partition that always has results does not keep the others from their turn.
#[test]
fn partitions_are_taken_in_turn() {
    let (mut ids, mut reorder) = (Ids::new(), Reorder::new());
    let mut turns = Vec::new();
    let enter = |reorder: &mut Reorder<()>, ids: &mut Ids, partition, offset| {
        let place = reorder.enter(&at(partition), ids.next(partition, offset), offset, 1);
        reorder.finish(&place, ());
    };
    (0..2).for_each(|offset| (0..PARTITIONS).for_each(|partition| enter(&mut reorder, &mut ids, partition, offset)));
    for offset in 2..8 {
        let taken = reorder.take(1);
        turns.push(taken[0].span.at.partition);
        enter(&mut reorder, &mut ids, 0, offset);
    }
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_cut_is_made_by_number_by_age_and_when_it_is_urgent() {
    let (zero, age) = (Duration::ZERO, Duration::from_millis(100));
    assert_eq!(cut(0, 10, age, age, true), Cut::Later);
    assert_eq!(cut(10, 10, zero, age, false), Cut::Now);
    assert_eq!(cut(1, 10, age, age, false), Cut::Now);
    assert_eq!(cut(1, 10, zero, age, true), Cut::Now);
    assert_eq!(cut(1, 10, age / 4, age, false), Cut::In(age * 3 / 4));
}

#[derive(Clone, Debug)]
enum Op {
    Enter(usize),
    Finish(usize),
    Take(usize),
    Forget(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..PARTITIONS).prop_map(Op::Enter),
        4 => any::<usize>().prop_map(Op::Finish),
        2 => (1..6_usize).prop_map(Op::Take),
        1 => (0..PARTITIONS).prop_map(Op::Forget),
    ];
    prop::collection::vec(op, 0..100)
}

type Take = fn(&mut Reorder<i64>, usize) -> Vec<(TopicPartition, Vec<i64>)>;

/// Whatever leaves are all results from the first one that has not left, in order, and no more than were asked for.
fn law(ops: &[Op], take: Take) -> Result<(), TestCaseError> {
    let (mut ids, mut reorder) = (Ids::new(), Reorder::new());
    let mut next = [0_i64; PARTITIONS];
    // The offsets that wait, in order, and whether they have results.
    let mut model: BTreeMap<TopicPartition, VecDeque<(i64, bool)>> = BTreeMap::new();
    let mut places = Vec::new();
    for op in ops {
        match op {
            Op::Enter(partition) => {
                let offset = next[*partition];
                next[*partition] += 1;
                places.push((reorder.enter(&at(*partition), ids.next(*partition, offset), offset, 1), offset));
                model.entry(at(*partition)).or_default().push_back((offset, false));
            }
            Op::Finish(which) if !places.is_empty() => {
                let (place, offset) = places.swap_remove(which % places.len());
                let waits = model.get_mut(&place.at).and_then(|lane| lane.iter_mut().find(|(of, _)| *of == offset));
                prop_assert_eq!(reorder.has(&place), waits.is_some());
                prop_assert_eq!(reorder.finish(&place, offset).is_none(), waits.is_some());
                if let Some((_, done)) = waits {
                    *done = true;
                }
            }
            Op::Take(max) => {
                let taken = take(&mut reorder, *max);
                let ready: usize = model.values().map(|lane| lane.iter().take_while(|(_, done)| *done).count()).sum();
                prop_assert_eq!(taken.iter().map(|(_, results)| results.len()).sum::<usize>(), ready.min(*max));
                for (at, results) in taken {
                    let lane = model.get_mut(&at).unwrap();
                    for result in results {
                        prop_assert_eq!(lane.pop_front(), Some((result, true)));
                    }
                }
            }
            Op::Forget(partition) => {
                reorder.forget(&at(*partition));
                model.remove(&at(*partition));
            }
            Op::Finish(_) => {}
        }
        let lanes = || model.values();
        prop_assert_eq!(reorder.len(), lanes().map(VecDeque::len).sum::<usize>());
        let ready = lanes().map(|lane| lane.iter().take_while(|(_, done)| *done).count());
        prop_assert_eq!(reorder.ready(), ready.sum::<usize>());
    }
    Ok(())
}

fn taken(reorder: &mut Reorder<i64>, max: usize) -> Vec<(TopicPartition, Vec<i64>)> {
    reorder.take(max).into_iter().map(|prefix| (prefix.span.at, prefix.results)).collect()
}

/// Sends a result before those of earlier records.
fn taken_too_early(reorder: &mut Reorder<i64>, max: usize) -> Vec<(TopicPartition, Vec<i64>)> {
    for lane in reorder.lanes.values_mut() {
        let before = lane.ready;
        lane.entries.make_contiguous().sort_by_key(|entry| (entry.result.is_none(), entry.number));
        lane.count();
        reorder.ready += lane.ready - before;
    }
    taken(reorder, max)
}

proptest! {
    #[test]
    fn results_leave_as_prefixes(ops in ops()) {
        law(&ops, taken)?;
    }
}

#[test]
fn a_result_that_leaves_too_early_is_found() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    assert!(runner.run(&ops(), |ops| law(&ops, taken_too_early)).is_err());
}
