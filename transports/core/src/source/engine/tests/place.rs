//! Where a partition is read: starts that are looked up, seeks, pauses, and a log that begins anew.

use super::*;

#[test]
fn a_seek_forgets_what_was_read_and_its_place_is_committed() {
    let mut case = case(CommitStrategy::Automatic);
    let ids = [case.take(0), case.take(1)];
    case.settle(ids[0]);
    let (late, offset) = commit(&case.wait(5 * SECOND));
    assert_eq!(offset, 1);
    assert!(case.engine.seek(&case.at, 0, case.now));
    let sought = case.turn();
    assert!(matches!(&sought[..], [Action::Seek { at, to: 0 }] if at.at == case.at), "{sought:?}");
    assert_eq!(case.settle(ids[1]), Settled::Stale);
    assert!(case.answer(late, CommitAnswer::Committed).is_empty(), "not of the new place");
    let (ticket, offset) = commit(&case.wait(5 * SECOND));
    assert_eq!(offset, 0, "although the group has a greater one");
    case.answer(ticket, CommitAnswer::Committed);
    let again = case.take(0);
    case.settle(again);
    assert_eq!(commit(&case.wait(5 * SECOND)).1, 1);
}

#[test]
fn a_log_that_begins_anew_is_read_and_committed_from_there() {
    let mut case = case(CommitStrategy::Automatic);
    let of_before = case.take(100);
    let restarted = || GroupEvent::Restarted { at: TopicPartition::new("orders", 0), from: 3 };
    let actions = case.event(restarted());
    assert!(
        matches!(&actions[..], [Action::Seek { to: 3, .. }, Action::Notice(Notice::Restarted(_, 3))]),
        "{actions:?}"
    );
    assert_eq!(case.settle(of_before), Settled::Stale);
    let first = case.take(3);
    case.settle(first);
    assert_eq!(commit(&case.wait(5 * SECOND)).1, 4, "although the group has a greater one");
    case.revoke();
    assert!(case.event(restarted()).is_empty(), "it is being given back");
}

#[test]
fn a_seek_holds_no_drain_up_but_is_committed_in_it() {
    let mut case = case(CommitStrategy::Automatic);
    case.take(0);
    case.engine.seek(&case.at, 7, case.now);
    case.turn();
    let (ticket, offset) = commit(&case.revoke());
    assert_eq!(offset, 7);
    assert!(!case.engine.seek(&case.at, 0, case.now), "it is being given back");
    assert!(is_release(&case.answer(ticket, CommitAnswer::Committed)));
    assert!(!case.engine.seek(&case.at, 0, case.now));
}

#[test]
fn a_commit_that_waits_ends_with_a_seek() {
    let mut case = case(CommitStrategy::Manual);
    let id = case.take(0);
    case.settle(id);
    let wait = case.commit_now();
    case.turn();
    case.engine.seek(&case.at, 5, case.now);
    let ended = case.turn();
    let said = |action: &Action| matches!(action, Action::Answer(id, Err(Notice::Moved(_))) if *id == wait);
    assert!(ended.iter().any(said), "{ended:?}");
}

#[test]
fn a_seek_ends_a_redelivery_and_a_rejection() {
    let mut case = case(CommitStrategy::Each);
    let given_back = case.take(0);
    case.read(1, true);
    case.engine.give_back(&case.at, given_back, 1, case.now);
    case.engine.seek(&case.at, 9, case.now);
    assert!(case.engine.is_readable(&case.at));
    let actions = case.turn();
    assert!(matches!(&actions[..], [Action::Seek { to: 9, .. }, Action::Commit { .. }]), "{actions:?}");
    assert!(case.wait(60 * SECOND).iter().all(|action| !matches!(action, Action::Seek { .. })));
}

#[test]
fn a_partition_waits_until_it_is_located() {
    let located = |offset| {
        let settings = EngineSettings { locate: true, ..settings(CommitStrategy::Each) };
        let mut case =
            Case { engine: Engine::new(settings), now: Instant::now(), at: TopicPartition::new("orders", 0) };
        let started = case.event(GroupEvent::Assigned(vec![case.at.clone()]));
        let [Action::Start(_), Action::Locate(at)] = &started[..] else { panic!("{started:?}") };
        assert!(case.engine.readable().is_empty() && case.engine.is_locating(at));
        case.engine.located(at, offset, case.now);
        assert!(case.engine.is_readable(&case.at) && !case.engine.is_locating(at));
        // A second answer changes nothing.
        case.engine.located(at, Some(99), case.now);
        (case, at.clone())
    };
    let (mut case, _) = located(None);
    assert!(case.turn().is_empty());
    let (mut case, _) = located(Some(5));
    let actions = case.turn();
    assert!(matches!(&actions[..], [Action::Seek { to: 5, .. }, Action::Commit { .. }]), "{actions:?}");
    let settings = EngineSettings { locate: true, ..settings(CommitStrategy::Each) };
    let mut case = Case { engine: Engine::new(settings), now: Instant::now(), at: TopicPartition::new("orders", 0) };
    let started = case.event(GroupEvent::Assigned(vec![case.at.clone()]));
    assert!(is_release(&case.revoke()), "it holds no rebalance up");
    let [_, Action::Locate(old)] = &started[..] else { panic!("{started:?}") };
    case.event(GroupEvent::Assigned(vec![case.at.clone()]));
    case.engine.located(old, Some(5), case.now);
    assert!(!case.engine.is_readable(&case.at), "an answer of an old assignment");
}

#[test]
fn a_paused_partition_is_not_read_and_loses_nothing() {
    let mut case = case(CommitStrategy::Each);
    let held = case.take(0);
    let at = case.engine.readable().remove(0);
    let waiting = case.engine.deliver(&at)(1).unwrap();
    assert!(case.engine.pause(&case.at));
    assert!(case.engine.readable().is_empty());
    assert_eq!(case.engine.dispatch(&case.at, waiting), None);
    assert_eq!(case.settle(held), Settled::Done, "what was received can be settled");
    assert_eq!(commit(&case.turn()).1, 1);
    assert!(case.engine.resume(&case.at, case.now));
    let actions = case.turn();
    assert!(matches!(&actions[..], [Action::Seek { to: 1, .. }]), "{actions:?}");
    assert_eq!(case.engine.dispatch(&case.at, waiting), None);
    assert!(case.engine.readable()[0].epoch > at.epoch);
    case.take(1);
    assert!(case.engine.pause(&case.at) && case.engine.resume(&case.at, case.now));
    assert!(case.turn().is_empty(), "nothing waited");
    case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert!(!case.engine.pause(&case.at) && !case.engine.resume(&case.at, case.now));
}
