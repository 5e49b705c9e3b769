//! Commits of chosen offsets: checkpoints, single records, and batches that are committed before they are handed out.

use super::*;

#[test]
fn at_most_once_hands_a_record_out_after_its_commit() {
    let mut case = case(CommitStrategy::AtMostOnce);
    let at = case.engine.readable().remove(0);
    let ids: Vec<_> = (0..2).map(|offset| case.engine.deliver(&at)(offset).unwrap()).collect();
    assert!(case.engine.waits_for_commit(&case.at, ids[0], case.now));
    let (ticket, offset) = commit(&case.turn());
    assert_eq!(offset, 2, "the whole batch, although nothing is settled");
    assert!(case.engine.waits_for_commit(&case.at, ids[0], case.now), "no answer");
    case.answer(ticket, CommitAnswer::Retry(error(ErrorKind::Broker)));
    assert!(case.engine.waits_for_commit(&case.at, ids[0], case.now), "not committed");
    let (ticket, _) = commit(&case.wait(SECOND));
    case.answer(ticket, CommitAnswer::Committed);
    assert!(ids.iter().all(|id| !case.engine.waits_for_commit(&case.at, *id, case.now)));
    assert!(ids.iter().all(|id| case.engine.dispatch(&case.at, *id).is_some()));
    assert_eq!(case.engine.give_back(&case.at, ids[0], 1, case.now).settled, Settled::Done);
    assert_eq!(case.engine.put_back(&case.at, ids[1], case.now).settled, Settled::Done);
    assert!(case.wait(60 * SECOND).is_empty(), "neither is delivered again");
    let held = case.engine.deliver(&at)(2).unwrap();
    assert!(case.engine.waits_for_commit(&case.at, held, case.now), "a later one waits for its own commit");
    let (ticket, _) = commit(&case.turn());
    case.answer(ticket, CommitAnswer::Committed);
    assert!(case.engine.dispatch(&case.at, held).is_some());
    assert!(is_release(&case.revoke()), "nothing to wait for");
    assert!(!case.engine.waits_for_commit(&case.at, held, case.now));
}

#[test]
fn a_checkpoint_is_committed_only_as_far_as_it_is_asked_for_and_settled() {
    let mut case = case(CommitStrategy::Checkpoint);
    let ids = [case.take(0), case.take(1), case.take(2)];
    case.settle(ids[0]);
    case.settle(ids[1]);
    assert!(case.wait(60 * SECOND).is_empty(), "never by itself");
    assert_eq!(case.engine.checkpoint(), [(case.at.clone(), 2)]);
    assert!(case.engine.commit_now(case.now).unwrap().is_none());
    let wait = case.engine.commit_offsets([(case.at.clone(), 1)], case.now).unwrap().unwrap();
    let (ticket, offset) = commit(&case.turn());
    assert_eq!(offset, 1);
    let answered = case.answer(ticket, CommitAnswer::Committed);
    assert!(matches!(answered[..], [Action::Answer(id, Ok(()))] if id == wait), "{answered:?}");
    case.engine.commit_offsets([(case.at.clone(), 9)], case.now).unwrap().unwrap();
    let (ticket, offset) = commit(&case.turn());
    assert_eq!(offset, 2, "none beyond a record in the user's hands");
    case.answer(ticket, CommitAnswer::Committed);
    assert!(case.engine.commit_offsets([(case.at.clone(), 2)], case.now).unwrap().is_none(), "the group has it");
    case.settle(ids[2]);
    assert!(is_release(&case.revoke()), "settled, and not committed by us");
    let gone = case.engine.commit_offsets([(case.at.clone(), 3)], case.now);
    assert!(matches!(&gone, Err(Notice::Gone(of)) if of[..] == [case.at.clone()]), "{gone:?}");
    assert!(case.engine.checkpoint().is_empty());
    assert!(case.engine.commit_now(case.now).is_ok(), "what is settled is not lost");
}

#[test]
fn a_checkpoint_that_was_asked_for_ends_with_a_seek() {
    let mut case = case(CommitStrategy::Checkpoint);
    let id = case.take(0);
    case.settle(id);
    case.engine.commit_offsets([(case.at.clone(), 1)], case.now).unwrap().unwrap();
    case.engine.seek(&case.at, 0, case.now);
    let actions = case.turn();
    assert!(actions.iter().all(|action| !matches!(action, Action::Commit { .. })), "{actions:?}");
    assert!(case.wait(60 * SECOND).is_empty());
}

#[test]
fn a_record_is_committed_when_those_before_it_are_settled() {
    for strategy in [CommitStrategy::Manual, CommitStrategy::Automatic] {
        let mut case = case(strategy);
        let ids = [case.take(0), case.take(1)];
        case.settle(ids[1]);
        let wait = case.engine.commit_record(&case.at, 1, case.now).unwrap().unwrap();
        assert!(case.turn().is_empty(), "{strategy:?}");
        case.wait(SECOND);
        case.settle(ids[0]);
        assert!(case.engine.needs_turn(&case.at));
        let (ticket, offset) = commit(&case.turn());
        assert_eq!(offset, 2);
        let answered = case.answer(ticket, CommitAnswer::Committed);
        assert!(matches!(answered[..], [Action::Answer(id, Ok(()))] if id == wait), "{answered:?}");
        assert!(case.engine.commit_record(&case.at, 1, case.now).unwrap().is_none());
    }
}

#[test]
fn a_record_whose_commit_did_not_come_in_time_says_why() {
    let mut case = case(CommitStrategy::Manual);
    let ids = [case.take(0), case.take(1)];
    case.settle(ids[1]);
    let wait = case.engine.commit_record(&case.at, 1, case.now).unwrap().unwrap();
    case.turn();
    let answered = case.wait(5 * SECOND);
    let behind = |action: &Action| matches!(action, Action::Answer(id, Err(Notice::Behind(_))) if *id == wait);
    assert!(answered.iter().any(behind), "{answered:?}");
    case.settle(ids[0]);
    let wait = case.engine.commit_record(&case.at, 1, case.now).unwrap().unwrap();
    commit(&case.turn());
    let answered = case.wait(5 * SECOND);
    let silent = |action: &Action| matches!(action, Action::Answer(id, Err(Notice::NotCommitted(..))) if *id == wait);
    assert!(answered.iter().any(silent), "{answered:?}");
    case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert!(matches!(case.engine.commit_record(&case.at, 1, case.now), Err(Notice::Gone(_))));
}
