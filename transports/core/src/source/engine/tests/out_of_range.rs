//! Offsets that are not in the log any more.

use super::*;

impl Case {
    fn with_policy(out_of_range: OutOfRangePolicy) -> Self {
        let mut case = case(CommitStrategy::Each);
        case.engine.settings.out_of_range = out_of_range;
        case
    }

    fn out_of_range(&mut self, offset: i64, start: i64, end: i64) -> Vec<Action> {
        let epoch = self.engine.partitions.get(&self.at).unwrap().watermark.epoch();
        let at = Assignment { at: self.at.clone(), epoch };
        self.event(GroupEvent::OutOfRange { at, offset, start, end })
    }
}

#[test]
fn a_partition_jumps_only_when_everything_is_settled() {
    for (policy, to) in [(OutOfRangePolicy::Earliest, 100), (OutOfRangePolicy::Latest, 150)] {
        let mut case = Case::with_policy(policy);
        let in_hand = case.take(0);
        let at = case.engine.readable().remove(0);
        let waiting = case.engine.deliver(&at)(1).unwrap();
        assert!(case.out_of_range(2, 100, 150).is_empty(), "one is in the user's hands");
        assert!(case.engine.readable().is_empty(), "there is nothing to read");
        assert_eq!(case.engine.dispatch(&case.at, waiting), Some(1), "what was read is nowhere else any more");
        case.settle(in_hand);
        let (ticket, offset) = commit(&case.turn());
        assert_eq!(offset, 1);
        case.answer(ticket, CommitAnswer::Committed);
        case.settle(waiting);
        assert!(case.engine.needs_turn(&case.at));
        let actions = case.turn();
        let [
            Action::Seek { at: sought, to: offset },
            Action::Notice(Notice::Skipped { from: 2, to: behind, .. }),
            committed,
        ] = &actions[..]
        else {
            panic!("{actions:?}")
        };
        assert!((*offset, *behind) == (to, to) && sought.epoch > at.epoch);
        let (ticket, offset) = commit(std::slice::from_ref(committed));
        assert_eq!(offset, to, "a restart does not find the deleted records again");
        case.answer(ticket, CommitAnswer::Committed);
        case.take(to);
    }
}

#[test]
fn a_commit_that_waits_is_not_overtaken_by_a_jump() {
    let mut case = case(CommitStrategy::Manual);
    let id = case.take(0);
    case.settle(id);
    let wait = case.commit_now();
    let actions = case.out_of_range(1, 100, 150);
    let ticket = actions.iter().find_map(|action| match action {
        Action::Commit { ticket, offsets } => Some((*ticket, offsets[0].offset)),
        _ => None,
    });
    let (ticket, offset) = ticket.expect("a commit");
    assert_eq!(offset, 100);
    let answered = case.answer(ticket, CommitAnswer::Committed);
    assert!(matches!(&answered[..], [Action::Answer(id, Ok(()))] if *id == wait), "{answered:?}");
}

#[test]
fn fail_tells_once_and_waits_for_a_seek() {
    let mut case = Case::with_policy(OutOfRangePolicy::Fail);
    let id = case.take(0);
    assert!(case.out_of_range(1, 100, 150).is_empty(), "what is in the user's hands comes first");
    case.settle(id);
    let told = case.turn();
    let [Action::Notice(Notice::OutOfRange { offset: 1, start: 100, end: 150, .. }), Action::Commit { .. }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(case.wait(60 * SECOND).iter().all(|action| !matches!(action, Action::Notice(Notice::OutOfRange { .. }))));
    assert!(!case.engine.is_readable(&case.at));
    assert!(case.engine.seek(&case.at, 120, case.now) && case.engine.is_readable(&case.at));
}

#[test]
fn a_place_behind_the_end_is_a_log_that_begins_anew() {
    for (policy, to) in [(OutOfRangePolicy::Earliest, 0), (OutOfRangePolicy::Latest, 7)] {
        let mut case = Case::with_policy(policy);
        let id = case.take(99);
        case.settle(id);
        let (ticket, _) = commit(&case.turn());
        case.answer(ticket, CommitAnswer::Committed);
        let actions = case.out_of_range(100, 0, 7);
        let [Action::Seek { .. }, Action::Notice(Notice::Restarted(_, from)), committed] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(
            (*from, commit(std::slice::from_ref(committed)).1),
            (to, to),
            "although the group has a greater one"
        );
    }
}

#[test]
fn what_comes_again_is_looked_for_first_and_an_old_epoch_changes_nothing() {
    let mut case = Case::with_policy(OutOfRangePolicy::Earliest);
    let given_back = case.take(0);
    case.engine.give_back(&case.at, given_back, 1, case.now);
    let old =
        Assignment { at: case.at.clone(), epoch: case.engine.partitions.get(&case.at).unwrap().watermark.epoch() };
    assert!(case.out_of_range(1, 100, 150).is_empty());
    let actions = case.wait(SECOND);
    assert!(matches!(&actions[..], [Action::Seek { to: 0, .. }]), "{actions:?}");
    assert!(case.event(GroupEvent::OutOfRange { at: old, offset: 1, start: 100, end: 150 }).is_empty());
    assert!(case.engine.is_readable(&case.at));
    let actions = case.out_of_range(0, 100, 150);
    assert!(actions.iter().any(|action| matches!(action, Action::Notice(Notice::Skipped { from: 0, to: 100, .. }))));
    case.revoke();
    assert!(case.out_of_range(100, 200, 250).is_empty(), "it is being given back");
}
