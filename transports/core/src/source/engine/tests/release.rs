//! Revocations, lost partitions and the close.

use super::*;

#[test]
fn a_revocation_drains_commits_and_releases() {
    let mut case = case(CommitStrategy::Automatic);
    let id = case.take(0);
    assert!(case.revoke().is_empty(), "the record is in the user's hands");
    assert!(case.engine.readable().is_empty());
    case.settle(id);
    assert!(case.engine.needs_turn(&case.at));
    let (ticket, offset) = commit(&case.turn());
    assert_eq!(offset, 1);
    assert!(is_release(&case.answer(ticket, CommitAnswer::Committed)));
    assert_eq!(case.settle(id), Settled::Stale);
}

#[test]
fn records_that_the_user_does_not_have_hold_no_drain_up() {
    let mut case = case(CommitStrategy::Automatic);
    let readable = case.engine.readable();
    let waiting = case.engine.deliver(&readable[0])(0).unwrap();
    assert!(is_release(&case.revoke()));
    assert_eq!(case.engine.dispatch(&case.at, waiting), None);
}

#[test]
fn at_the_deadline_what_is_settled_is_committed_and_what_is_left_is_reported() {
    let mut case = case(CommitStrategy::Automatic);
    let ids = [case.take(0), case.take(1)];
    case.settle(ids[0]);
    case.revoke();
    let (ticket, offset) = commit(&case.wait(10 * SECOND));
    assert_eq!(offset, 1);
    let actions = case.answer(ticket, CommitAnswer::Committed);
    let [Action::Notice(Notice::Unsettled(left)), Action::Release(_)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((left[0].records, left[0].uncommitted, left[0].next_offset), (1, false, Some(1)));
}

#[test]
fn a_commit_without_an_answer_holds_the_release_up_to_its_time_and_is_reported() {
    let mut case = case(CommitStrategy::Automatic);
    let id = case.take(0);
    case.settle(id);
    let (ticket, _) = commit(&case.revoke());
    let actions = case.wait(5 * SECOND);
    let [Action::Notice(Notice::NotCommitted(..)), Action::Notice(Notice::Unsettled(left)), Action::Release(_)] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert!(left[0].uncommitted);
    // The partition comes back, and the late answer is about the old assignment.
    case.event(GroupEvent::Assigned(vec![case.at.clone()]));
    assert!(case.answer(ticket, CommitAnswer::Committed).is_empty());
    assert_eq!(case.engine.partitions.get(&case.at).unwrap().watermark.last_committed(), None);
}

#[test]
fn a_lost_partition_is_neither_committed_nor_released() {
    let mut case = case(CommitStrategy::Automatic);
    let id = case.take(0);
    case.settle(id);
    let actions = case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert!(matches!(&actions[..], [Action::Notice(Notice::Lost(_))]), "{actions:?}");
    assert!(case.wait(60 * SECOND).is_empty());
}

#[test]
fn manual_commits_at_a_revocation_only_if_it_may() {
    for (may, commits) in [(true, true), (false, false)] {
        let mut case = case(CommitStrategy::Manual);
        case.engine.settings.commit_on_revoke = may;
        let id = case.take(0);
        case.settle(id);
        let actions = case.revoke();
        assert_eq!(matches!(&actions[..], [Action::Commit { .. }]), commits, "{actions:?}");
        let reported = matches!(&actions[..], [Action::Notice(Notice::Unsettled(_)), Action::Release(_)]);
        assert_eq!(reported, !commits, "{actions:?}");
    }
}

#[test]
fn a_close_drains_commits_leaves_and_reports() {
    let mut case = case(CommitStrategy::Automatic);
    let ids = [case.take(0), case.take(1)];
    case.settle(ids[0]);
    case.engine.close(case.now, 2 * SECOND);
    assert!(case.turn().is_empty());
    let (ticket, offset) = commit(&case.wait(2 * SECOND));
    assert_eq!(offset, 1);
    let actions = case.answer(ticket, CommitAnswer::Committed);
    assert!(matches!(&actions[..], [Action::Leave]), "{actions:?}");
    let closed = case.engine.closed();
    assert_eq!((closed.settled, closed.unsettled.len(), closed.unsettled[0].records), (1, 1, 1));
    assert_eq!(case.settle(ids[1]), Settled::Stale);
}

#[test]
fn a_close_reports_what_is_lost_and_what_is_settled_behind_an_unsettled_record() {
    let mut case = case(CommitStrategy::Automatic);
    let ids = [case.take(0), case.take(1)];
    case.settle(ids[1]);
    case.engine.close(case.now, 2 * SECOND);
    assert!(case.turn().is_empty());
    let actions = case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert!(matches!(&actions[..], [Action::Notice(Notice::Lost(_)), Action::Leave]), "{actions:?}");
    let [left] = &case.engine.closed().unsettled[..] else { panic!("{:?}", case.engine.closed()) };
    assert_eq!((left.records, left.uncommitted), (1, true));
}
