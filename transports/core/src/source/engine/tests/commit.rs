//! When offsets are committed, what an answer changes, and how a commit that is waited for ends.

use std::sync::Arc;

use super::*;

#[test]
fn nothing_is_committed_that_is_not_settled() {
    let mut case = case(CommitStrategy::Each);
    let ids = [case.take(0), case.take(1)];
    case.settle(ids[1]);
    assert!(case.wait(60 * SECOND).is_empty());
    case.settle(ids[0]);
    assert_eq!(commit(&case.turn()).1, 2);
}

/// What each answer to a commit does, while the partition is read and while it is given back.
#[test]
fn each_answer_in_each_state() {
    let retry = || CommitAnswer::Retry(error(ErrorKind::Broker));
    let not_a_member = || CommitAnswer::NotAMember(error(ErrorKind::Transaction));
    let refused = || CommitAnswer::Refused(error(ErrorKind::Authorization));
    for (answer, retried_after, released) in [
        (CommitAnswer::Committed, None, true),
        (retry(), Some(Duration::from_millis(100)), false),
        (not_a_member(), Some(Duration::from_millis(100)), true),
        (refused(), Some(60 * SECOND), true),
    ] {
        let mut active = case(CommitStrategy::Each);
        let id = active.take(0);
        active.settle(id);
        let (ticket, _) = commit(&active.turn());
        let actions = active.answer(ticket, answer.clone());
        let noticed = matches!(&actions[..], [Action::Notice(Notice::NotCommitted(_, Some(_)))]);
        assert_eq!(noticed, matches!(answer, CommitAnswer::Refused(_)), "{answer:?}: {actions:?}");
        match retried_after {
            Some(time) => {
                assert!(active.wait(time - Duration::from_millis(1)).is_empty(), "{answer:?}");
                assert_eq!(commit(&active.wait(Duration::from_millis(1))).1, 1, "{answer:?}");
            }
            None => assert!(active.wait(3_600 * SECOND).is_empty()),
        }

        let mut drained = case(CommitStrategy::Each);
        let id = drained.take(0);
        drained.settle(id);
        let (ticket, _) = commit(&drained.revoke());
        let actions = drained.answer(ticket, answer.clone());
        let is_released = matches!(actions.last(), Some(Action::Release(_)));
        assert_eq!(is_released, released, "{answer:?}: {actions:?}");
    }
}

#[test]
fn commit_now_is_answered_when_everything_settled_so_far_is_committed() {
    let mut case = case(CommitStrategy::Manual);
    assert!(matches!(case.engine.commit_now(case.now), Ok(None)), "nothing is due");
    let id = case.take(0);
    case.settle(id);
    let wait = case.commit_now();
    let (ticket, _) = commit(&case.turn());
    let id = case.take(1);
    case.settle(id);
    let actions = case.answer(ticket, CommitAnswer::Committed);
    assert!(matches!(&actions[..], [Action::Answer(answered, Ok(()))] if *answered == wait), "{actions:?}");
    // Each way in which it fails.
    let wait = case.commit_now();
    commit(&case.turn());
    let actions = case.wait(5 * SECOND);
    let failed = |actions: &[Action], wait| {
        let is = |action: &Action| matches!(action, Action::Answer(answered, Err(_)) if *answered == wait);
        actions.iter().any(is)
    };
    assert!(failed(&actions, wait), "no answer: {actions:?}");
    let wait = case.commit_now();
    let (ticket, _) = commit(&case.wait(SECOND));
    let actions = case.answer(ticket, CommitAnswer::Refused(error(ErrorKind::Authorization)));
    assert!(failed(&actions, wait), "refused: {actions:?}");
    let wait = case.commit_now();
    let actions = case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert!(failed(&actions, wait), "lost: {actions:?}");
}

/// Otherwise the application believes that what it acknowledged is committed.
#[test]
fn a_commit_that_comes_too_late_says_so_once() {
    type End = fn(&mut Case) -> Vec<Action>;
    let lost: End = |case| case.event(GroupEvent::Lost(vec![case.at.clone()]));
    let left: End = |case| case.event(GroupEvent::Left);
    for end in [lost, Case::revoke, left] {
        for settled in [true, false] {
            let mut case = case(CommitStrategy::Manual);
            case.engine.settings.commit_on_revoke = false;
            let id = case.take(0);
            if settled {
                case.settle(id);
            }
            end(&mut case);
            // The record in the user's hands.
            case.wait(10 * SECOND);
            match case.engine.commit_now(case.now) {
                Err(Notice::Gone(gone)) => assert!(settled && gone == [case.at.clone()]),
                other => assert!(!settled && matches!(other, Ok(None)), "{other:?}"),
            }
            assert!(matches!(case.engine.commit_now(case.now), Ok(None)), "once");
        }
    }
    // One that was under way says it itself.
    let mut case = case(CommitStrategy::Manual);
    let id = case.take(0);
    case.settle(id);
    let wait = case.commit_now();
    let actions = lost(&mut case);
    let is_gone = |action: &Action| matches!(action, Action::Answer(gone, Err(Notice::Gone(_))) if *gone == wait);
    assert!(actions.iter().any(is_gone), "{actions:?}");
    assert!(matches!(case.engine.commit_now(case.now), Ok(None)), "once");
}

#[test]
fn a_commit_that_fails_again_and_again_is_reported_with_its_cause() {
    let mut case = case(CommitStrategy::Automatic);
    let id = case.take(0);
    case.settle(id);
    let is_reported = |action: &Action| match action {
        Action::Notice(Notice::NotCommitted(_, Some(error))) => error.kind() == ErrorKind::Broker,
        _ => false,
    };
    let (mut failed, mut reported) = (None, Vec::new());
    let start = case.now;
    while reported.len() < 3 {
        let actions = case.wait(Duration::from_millis(100));
        let Some(Action::Commit { ticket, .. }) = actions.first() else { continue };
        let first = *failed.get_or_insert(case.now);
        let actions = case.answer(*ticket, CommitAnswer::Retry(error(ErrorKind::Broker)));
        if actions.iter().any(is_reported) {
            reported.push((case.now - first).as_millis());
        }
        assert!(case.now - start < 100 * SECOND);
    }
    // After 100, 200 … 3 200 ms, then every 5 s.
    assert_eq!(reported, [6_300, 11_300, 16_300]);
    // One that is asked for does not wait for the delay, and has the cause.
    let wait = case.commit_now();
    let (ticket, _) = commit(&case.turn());
    assert!(case.answer(ticket, CommitAnswer::Retry(error(ErrorKind::Broker))).is_empty());
    let actions = case.wait(5 * SECOND);
    let has_cause =
        |action: &Action| matches!(action, Action::Answer(of, Err(Notice::NotCommitted(_, Some(_)))) if *of == wait);
    assert!(actions.iter().any(has_cause), "{actions:?}");
    // Nor does one before a release.
    let ticket = actions.iter().find_map(|action| match action {
        Action::Commit { ticket, .. } => Some(*ticket),
        _ => None,
    });
    assert!(!is_release(&case.answer(ticket.unwrap(), CommitAnswer::Retry(error(ErrorKind::Broker)))));
    commit(&case.revoke());
}

/// Those behind the first unsettled record count when it is settled, and cause no turn before.
#[test]
fn periodic_counts_records_that_may_be_committed() {
    let mut case = case(CommitStrategy::Periodic);
    case.engine.settings.max_unsettled = 20;
    let ids: Vec<_> = (0..10).map(|offset| case.take(offset)).collect();
    for id in &ids[1..] {
        case.settle(*id);
        assert!(!case.engine.needs_turn(&case.at));
        assert!(case.turn().is_empty());
    }
    case.settle(ids[0]);
    assert!(case.engine.needs_turn(&case.at));
    assert_eq!(commit(&case.turn()).1, 10);
}

#[test]
fn a_position_behind_the_last_record_is_committed() {
    let mut case = case(CommitStrategy::Automatic);
    let id = case.take(0);
    case.settle(id);
    let readable = case.engine.readable();
    case.engine.reach(&readable[0], 7, case.now);
    assert_eq!(commit(&case.wait(5 * SECOND)).1, 7);
    let old = Assignment { at: TopicPartition { topic: Arc::clone(&case.at.topic), partition: 0 }, epoch: 99 };
    case.engine.reach(&old, 100, case.now);
    assert_eq!(case.engine.deliver(&old)(100), None);
}

#[test]
fn the_first_position_is_committed_because_the_group_may_be_before_a_hole() {
    let mut case = case(CommitStrategy::Automatic);
    case.event(GroupEvent::Lost(vec![case.at.clone()]));
    case.event(GroupEvent::Assigned(vec![case.at.clone()]));
    let readable = case.engine.readable();
    case.engine.reach(&readable[0], 9, case.now);
    assert!(case.engine.needs_turn(&case.at));
    assert_eq!(commit(&case.wait(5 * SECOND)).1, 9);
    // But it holds no release up.
    case.event(GroupEvent::Lost(vec![case.at.clone()]));
    case.event(GroupEvent::Assigned(vec![case.at.clone()]));
    let readable = case.engine.readable();
    case.engine.reach(&readable[0], 9, case.now);
    assert!(is_release(&case.revoke()));
}

#[test]
fn a_standing_shows_how_long_the_committable_offset_has_not_moved() {
    let mut case = case(CommitStrategy::Manual);
    let standing = |case: &mut Case| {
        let [one] = &case.engine.standings(case.now)[..] else { panic!("one partition") };
        (one.unsettled, one.next, one.stalled)
    };
    assert_eq!(standing(&mut case), (0, None, Duration::ZERO));
    let ids = [case.take(3), case.take(4)];
    assert_eq!(standing(&mut case), (2, Some(3), Duration::ZERO), "since somebody looks");
    case.now += 5 * SECOND;
    case.settle(ids[1]);
    assert_eq!(standing(&mut case), (1, Some(3), 5 * SECOND));
    let id = case.take(5);
    case.settle(ids[0]);
    assert_eq!(standing(&mut case), (1, Some(5), Duration::ZERO), "it has moved");
    case.now += SECOND;
    case.settle(id);
    case.now += SECOND;
    assert_eq!(standing(&mut case), (0, Some(6), Duration::ZERO), "nothing is handed out");
}
