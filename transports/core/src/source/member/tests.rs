use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const DRAIN: Duration = Duration::from_secs(10);
const COMMIT: Duration = Duration::from_secs(5);

fn partitions(numbers: impl IntoIterator<Item = i32>) -> Vec<TopicPartition> {
    numbers.into_iter().map(|number| TopicPartition::new("orders", number)).collect()
}

fn facts(in_hand: bool, due: bool) -> impl FnMut(&TopicPartition) -> Facts {
    move |_| Facts { in_hand, due }
}

fn member(assigned: &[TopicPartition]) -> Member {
    let mut member = Member::new(COMMIT, None);
    assert_eq!(member.assign(assigned).len(), assigned.len());
    member
}

fn release(partitions: &[TopicPartition]) -> Vec<MemberAction> {
    vec![MemberAction::Release(partitions.to_vec())]
}

#[test]
fn none_and_assign() {
    let mut member = member(&partitions([0]));
    let more = member.assign(&partitions([0, 1]));
    assert_eq!(more, [Assignment { at: TopicPartition::new("orders", 1), epoch: 2 }], "a duplicate is ignored");
    assert!(member.is_active(&more[0].at) && member.owned_since(&more[0].at) == Some(2));
}

#[test]
fn none_and_revoke_is_answered_at_once_also_an_empty_list() {
    let now = Instant::now();
    for list in [partitions([7]), Vec::new()] {
        let mut member = member(&[]);
        member.revoke(&list, now, DRAIN);
        assert_eq!(member.turn(now, facts(true, true)), release(&list));
        assert_eq!(member.turn(now, facts(true, true)), [], "once");
    }
}

#[test]
fn active_and_revoke_without_anything_to_wait_for_is_answered_in_the_same_turn() {
    let (mut member, now, all) = (member(&partitions([0, 1])), Instant::now(), partitions([0, 1]));
    member.revoke(&all, now, DRAIN);
    assert_eq!(member.turn(now, facts(false, false)), release(&all));
    assert_eq!(member.owned_since(&all[0]), None);
}

#[test]
fn draining_waits_for_records_in_hand_then_commits_then_releases() {
    let (mut member, now, all) = (member(&partitions([0])), Instant::now(), partitions([0]));
    member.revoke(&all, now, DRAIN);
    assert!(!member.is_active(&all[0]), "it is not read any more");
    assert_eq!(member.turn(now, facts(true, true)), []);
    assert!(!member.wants_commit());
    assert_eq!(member.wake_at(), Some(now + DRAIN));
    assert_eq!(member.turn(now, facts(false, true)), [], "drained");
    assert!(member.wants_commit());
    assert_eq!(member.owned_since(&all[0]), Some(1), "its commits are still ours");
    assert_eq!(member.turn(now, facts(false, false)), release(&all), "committed");
}

#[test]
fn draining_and_deadline_commits_what_is_settled() {
    let (mut member, now, all) = (member(&partitions([0])), Instant::now(), partitions([0]));
    member.revoke(&all, now, DRAIN);
    assert_eq!(member.turn(now + DRAIN, facts(true, true)), []);
    assert!(member.wants_commit());
    assert_eq!(member.wake_at(), Some(now + DRAIN + COMMIT));
}

#[test]
fn committing_and_deadline_releases_anyway() {
    let (mut member, now, all) = (member(&partitions([0])), Instant::now(), partitions([0]));
    member.revoke(&all, now, DRAIN);
    member.turn(now, facts(false, true));
    assert_eq!(member.turn(now + COMMIT, facts(false, true)), release(&all));
}

#[test]
fn draining_and_revoke_joins_the_same_drain_and_all_are_released_together() {
    let (mut member, now, all) = (member(&partitions([0, 1])), Instant::now(), partitions([0, 1]));
    member.revoke(&all[..1], now, DRAIN);
    member.turn(now, facts(true, false));
    member.revoke(&all[1..], now, DRAIN);
    let first_only = |at: &TopicPartition| Facts { in_hand: at.partition == 1, due: false };
    assert_eq!(member.turn(now, first_only), [], "one is done");
    assert_eq!(member.turn(now, facts(false, false)), release(&all));
}

#[test]
fn lost_in_each_state_is_forgotten_without_a_commit_or_an_answer() {
    let (now, all) = (Instant::now(), partitions([0]));
    type Prepare = fn(&mut Member, &[TopicPartition], Instant);
    let draining: Prepare = |member, all, now| {
        member.revoke(all, now, DRAIN);
        member.turn(now, facts(true, true));
    };
    let committing: Prepare = |member, all, now| {
        member.revoke(all, now, DRAIN);
        member.turn(now, facts(false, true));
    };
    for prepare in [|_: &mut Member, _: &[TopicPartition], _| {}, draining, committing] {
        let mut member = member(&all);
        prepare(&mut member, &all, now);
        assert_eq!(member.lose(&all), all);
        assert!(!member.wants_commit() && member.owned_since(&all[0]).is_none());
        assert_eq!(member.turn(now + 2 * DRAIN, facts(true, true)), []);
        assert_eq!(member.assign(&all)[0].epoch, 2, "a new epoch");
    }
    assert_eq!(member(&[]).lose(&all), []);
}

#[test]
fn close_in_each_state_drains_commits_and_leaves() {
    let (now, all) = (Instant::now(), partitions([0, 1]));
    let mut closing = member(&all);
    closing.close(now, DRAIN);
    assert!(closing.is_closing() && closing.active().count() == 0);
    assert_eq!(closing.turn(now, facts(true, true)), []);
    assert_eq!(closing.turn(now, facts(false, true)), []);
    assert_eq!(closing.turn(now, facts(false, false)), [MemberAction::Leave]);
    assert_eq!(closing.turn(now, facts(false, false)), [], "once");
    assert_eq!(closing.assign(&partitions([3])), [], "nothing is started any more");

    // A drain that has begun keeps its earlier deadline.
    let mut draining = member(&all);
    draining.revoke(&all, now, DRAIN);
    draining.close(now, 2 * DRAIN);
    assert_eq!(draining.wake_at(), Some(now + DRAIN));
    draining.close(now, DRAIN / 2);
    assert_eq!(draining.wake_at(), Some(now + DRAIN / 2), "and takes an earlier one");
    let ends = draining.turn(now, facts(false, false));
    assert_eq!(ends, [MemberAction::Release(all), MemberAction::Leave]);

    let mut empty = member(&[]);
    empty.close(now, DRAIN);
    assert_eq!(empty.turn(now, facts(true, true)), [MemberAction::Leave]);
}

#[test]
fn a_listener_is_asked_once_about_everything_that_is_drained() {
    let (now, all) = (Instant::now(), partitions([0, 1]));
    let asked = || {
        let mut member = Member::new(COMMIT, Some(DRAIN));
        member.assign(&all);
        member.revoke(&all, now, DRAIN);
        let one = |at: &TopicPartition| Facts { in_hand: at.partition == 1, due: true };
        assert_eq!(member.turn(now, one), [], "one of them still drains");
        assert!(!member.answered(&all[0], true, now), "not yet");
        assert_eq!(member.turn(now, facts(false, true)), [MemberAction::Ask(all.clone(), now + DRAIN)]);
        assert_eq!((member.turn(now, facts(false, true)), member.wants_commit()), (vec![], false));
        assert_eq!(member.wake_at(), Some(now + DRAIN));
        member
    };
    let mut good = asked();
    assert!(all.iter().all(|at| good.answered(at, true, now)) && good.wants_commit());
    assert_eq!(good.turn(now, facts(false, false)), release(&all), "committed");
    let mut bad = asked();
    assert!(all.iter().all(|at| bad.answered(at, false, now)) && !bad.wants_commit());
    assert_eq!(bad.turn(now, facts(false, true)), release(&all), "without a commit");
    let mut late = asked();
    assert_eq!(late.turn(now + DRAIN, facts(false, true)), release(&all), "without a commit");
    assert!(!late.answered(&all[0], true, now));
    let mut lost = asked();
    lost.lose(&all[..1]);
    assert!(!lost.answered(&all[0], true, now) && lost.answered(&all[1], true, now));
}

#[test]
fn a_seek_gives_a_partition_a_new_epoch_only_while_it_is_read() {
    let (mut member, now, all) = (member(&partitions([0])), Instant::now(), partitions([0]));
    let rewound = member.rewound(&all[0]).unwrap();
    assert_eq!((rewound.epoch, member.owned_since(&all[0])), (2, Some(1)));
    assert_eq!(member.active().collect::<Vec<_>>(), [rewound]);
    let moved = member.moved(&all[0]).unwrap();
    assert_eq!((moved.epoch, member.owned_since(&all[0])), (3, Some(3)), "older commits do not count");
    member.revoke(&all, now, DRAIN);
    assert_eq!((member.rewound(&all[0]), member.moved(&all[0])), (None, None));
}

/// How a group takes partitions back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Eager,
    /// The cooperative protocol and KIP-848: only those that move.
    Incremental,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The group's next assignment, as a set of bits.
    Rebalance(u8),
    Lose,
    TakeRecord(i32),
    SettleRecord(i32),
    Commit,
    Wait(u64),
    Seek(i32),
    /// The listener answers.
    Answer(i32, bool),
    Close,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => any::<u8>().prop_map(Op::Rebalance),
        1 => Just(Op::Lose),
        4 => (0..6).prop_map(Op::TakeRecord),
        4 => (0..6).prop_map(Op::SettleRecord),
        4 => Just(Op::Commit),
        4 => (0..4_000u64).prop_map(Op::Wait),
        2 => (0..6).prop_map(Op::Seek),
        4 => (0..6, any::<bool>()).prop_map(|(number, may_commit)| Op::Answer(number, may_commit)),
        1 => Just(Op::Close),
    ];
    prop::collection::vec(op, 1..80)
}

/// A group and a user, as the member sees them.
#[derive(Default)]
struct World {
    owned: BTreeSet<TopicPartition>,
    /// The revocation that the group waits for, with its time, and what it assigns afterwards.
    waiting: Option<(Vec<TopicPartition>, Instant, Vec<TopicPartition>)>,
    in_hand: BTreeSet<i32>,
    due: BTreeSet<i32>,
    /// Partitions about which the listener was asked, and until when it may answer.
    asked: BTreeMap<i32, Instant>,
    left: bool,
}

proptest! {
    /// With each protocol: a revocation is answered with its own partitions, within its time, and at once if nothing is
    /// in the user's hands and nothing is due; a partition that the group retains keeps its epoch.
    #[test]
    fn each_revocation_is_answered(eager in any::<bool>(), listener in any::<bool>(), ops in ops()) {
        let protocol = if eager { Protocol::Eager } else { Protocol::Incremental };
        let member = Member::new(COMMIT, listener.then_some(DRAIN));
        let (mut member, mut world, mut now) = (member, World::default(), Instant::now());
        for op in ops {
            let name = |number: i32| TopicPartition::new("orders", number);
            match op {
                Op::Rebalance(bits) if world.waiting.is_none() && !world.left => {
                    let target: BTreeSet<_> = (0..6).filter(|bit| bits >> bit & 1 == 1).map(name).collect();
                    let revoked: Vec<_> = match protocol {
                        Protocol::Eager => world.owned.iter().cloned().collect(),
                        Protocol::Incremental => world.owned.difference(&target).cloned().collect(),
                    };
                    let kept: Vec<_> = world.owned.iter().filter(|at| !revoked.contains(at)).cloned().collect();
                    let epochs: Vec<_> = kept.iter().map(|at| member.owned_since(at)).collect();
                    member.revoke(&revoked, now, DRAIN);
                    let after = kept.iter().map(|at| member.owned_since(at)).collect::<Vec<_>>();
                    prop_assert_eq!(epochs, after, "retained");
                    let next = target.iter().filter(|at| !kept.contains(at)).cloned().collect();
                    world.waiting = Some((revoked, now, next));
                }
                Op::Lose => {
                    let all: Vec<_> = world.owned.iter().cloned().collect();
                    prop_assert_eq!(&member.lose(&all), &all);
                    world.owned.clear();
                    if world.waiting.as_ref().is_some_and(|(revoked, ..)| !revoked.is_empty()) {
                        world.waiting = None;
                    }
                    world.in_hand.clear();
                    world.due.clear();
                    world.asked.clear();
                }
                Op::TakeRecord(number) if member.is_active(&name(number)) => {
                    world.in_hand.insert(number);
                }
                Op::SettleRecord(number) if world.in_hand.remove(&number) => {
                    world.due.insert(number);
                }
                Op::Commit => world.due.clear(),
                Op::Wait(millis) => now += Duration::from_millis(millis),
                Op::Seek(number) => {
                    let active = member.is_active(&name(number));
                    prop_assert_eq!(member.rewound(&name(number)).is_some(), active);
                }
                Op::Answer(number, may_commit) => {
                    let asked = world.asked.remove(&number).is_some();
                    prop_assert_eq!(member.answered(&name(number), may_commit, now), asked);
                }
                Op::Close => member.close(now, DRAIN),
                Op::Rebalance(_) | Op::TakeRecord(_) | Op::SettleRecord(_) => {}
            }
            let closing = member.is_closing();
            let actions = member.turn(now, |at| Facts {
                in_hand: world.in_hand.contains(&at.partition),
                due: world.due.contains(&at.partition),
            });
            let late = |until: &Instant| *until <= now;
            world.asked.retain(|_, until| !late(until));
            for action in actions {
                match action {
                    MemberAction::Ask(asked, until) => {
                        prop_assert!(listener && until == now + DRAIN && !asked.is_empty());
                        for at in asked {
                            prop_assert!(!member.is_active(&at));
                            prop_assert!(world.asked.insert(at.partition, until).is_none(), "twice");
                        }
                    }
                    MemberAction::Release(released) => {
                        let waits = released.iter().any(|at| world.asked.contains_key(&at.partition));
                        prop_assert!(!waits, "the listener has not answered");
                        let (revoked, _, next) = world.waiting.take().expect("the group waits");
                        prop_assert_eq!(&released, &revoked);
                        for at in released {
                            world.owned.remove(&at);
                            world.in_hand.remove(&at.partition);
                            world.due.remove(&at.partition);
                        }
                        let started = member.assign(&next);
                        prop_assert_eq!(started.len(), if closing { 0 } else { next.len() });
                        world.owned.extend(started.into_iter().map(|started| started.at));
                    }
                    MemberAction::Leave => {
                        prop_assert!(closing && !world.left);
                        world.left = true;
                        world.owned.clear();
                    }
                }
            }
            if let Some((revoked, since, _)) = &world.waiting {
                prop_assert!(now < *since + DRAIN + DRAIN + DRAIN + COMMIT || member.wake_at().is_some_and(|at| at > now));
                let nothing = revoked.iter().all(|at| {
                    let number = at.partition;
                    !world.in_hand.contains(&number) && !world.due.contains(&number) && !world.asked.contains_key(&number)
                });
                prop_assert!(!nothing, "nothing to wait for, and no answer");
                prop_assert!(member.wake_at().is_some(), "it would wait for ever");
            }
            prop_assert!(member.wake_at().is_none_or(|at| at > now));
        }
    }
}
