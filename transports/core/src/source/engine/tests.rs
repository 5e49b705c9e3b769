use std::sync::Arc;

use super::*;
use crate::{CommitAnswer, ErrorKind, GroupEvent};

const SECOND: Duration = Duration::from_secs(1);

fn settings(strategy: CommitStrategy) -> EngineSettings {
    EngineSettings {
        commits: CommitSettings { strategy, interval: 5 * SECOND, every: 10, timeout: 5 * SECOND },
        commit_on_revoke: true,
        drain: 10 * SECOND,
        redelivery_backoff: SECOND,
        max_unsettled: 3,
        locate: false,
    }
}

/// An engine with one partition, and its time.
struct Case {
    engine: Engine,
    now: Instant,
    at: TopicPartition,
}

fn case(strategy: CommitStrategy) -> Case {
    let mut case =
        Case { engine: Engine::new(settings(strategy)), now: Instant::now(), at: TopicPartition::new("orders", 0) };
    let started = case.event(GroupEvent::Assigned(vec![case.at.clone()]));
    assert!(matches!(&started[..], [Action::Start(at)] if at.at == case.at), "{started:?}");
    case.engine.partitions.get_mut(&case.at).unwrap().watermark.committed(0);
    case
}

impl Case {
    fn turn(&mut self) -> Vec<Action> {
        self.engine.turn(self.now).0
    }

    fn event(&mut self, event: GroupEvent) -> Vec<Action> {
        self.engine.event(self.now, event);
        self.turn()
    }

    fn wait(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.turn()
    }

    /// Reads a record and hands it to the user.
    fn take(&mut self, offset: i64) -> DeliveryId {
        let (id, attempt) = self.read(offset, false);
        assert!(attempt.is_some());
        id
    }

    fn read(&mut self, offset: i64, rejected: bool) -> (DeliveryId, Option<u32>) {
        let readable = self.engine.readable();
        let id = self.engine.deliver(&readable[0], offset).unwrap();
        let attempt = self.engine.dispatch(&self.at, id);
        if rejected {
            self.engine.reject(&self.at, id, self.now);
        }
        (id, attempt)
    }

    fn settle(&mut self, id: DeliveryId) -> Settled {
        self.engine.settle(&self.at, id, self.now)
    }

    fn commit_now(&mut self) -> CommitWait {
        self.engine.commit_now(self.now).unwrap().expect("something is due")
    }

    fn revoke(&mut self) -> Vec<Action> {
        self.event(GroupEvent::Revoked(vec![self.at.clone()]))
    }

    fn answer(&mut self, ticket: CommitTicket, answer: CommitAnswer) -> Vec<Action> {
        self.event(GroupEvent::Committed { ticket, answers: vec![(self.at.clone(), answer)] })
    }
}

/// The ticket and the offset of the only action, a commit.
fn commit(actions: &[Action]) -> (CommitTicket, i64) {
    match actions {
        [Action::Commit { ticket, offsets }] if offsets.len() == 1 => (*ticket, offsets[0].offset),
        other => panic!("not a commit: {other:?}"),
    }
}

fn is_release(actions: &[Action]) -> bool {
    matches!(actions, [Action::Release(_)])
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "no").without_record()
}

#[test]
fn nothing_is_committed_that_is_not_settled() {
    let mut case = case(CommitStrategy::Each);
    let ids = [case.take(0), case.take(1)];
    case.settle(ids[1]);
    assert!(case.wait(60 * SECOND).is_empty());
    case.settle(ids[0]);
    assert_eq!(commit(&case.turn()).1, 2);
}

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
    let waiting = case.engine.deliver(&readable[0], 0).unwrap();
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
    assert_eq!(case.engine.partitions[&case.at].watermark.last_committed(), None);
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
fn a_record_that_is_given_back_comes_again_after_growing_delays_with_what_follows() {
    let mut case = case(CommitStrategy::Automatic);
    for (attempt, delay) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)] {
        let (id, number) = case.read(0, false);
        assert_eq!(number, Some(attempt));
        let next = case.take(1);
        case.settle(next);
        assert_eq!(case.engine.give_back(&case.at, id, 1, case.now), Settled::Done);
        assert!(case.engine.needs_turn(&case.at) && case.engine.readable().is_empty());
        assert!(case.wait(delay * SECOND - Duration::from_millis(1)).is_empty());
        let actions = case.wait(Duration::from_millis(1));
        assert!(matches!(&actions[..], [Action::Seek { to: 0, .. }]), "{actions:?}");
        assert_eq!(case.engine.readable().len(), 1);
    }
}

/// A source that takes messages before it handles them puts those back that it has not begun.
#[test]
fn a_record_that_is_put_back_comes_again_at_once_and_holds_no_drain_up() {
    let mut case = case(CommitStrategy::Automatic);
    let (begun, behind) = (case.take(0), case.take(1));
    assert!(case.engine.may_begin(&case.at, behind));
    assert_eq!(case.engine.put_back(&case.at, behind, case.now), Settled::Done);
    assert!(!case.engine.may_begin(&case.at, behind) && case.engine.needs_turn(&case.at));
    let actions = case.turn();
    assert!(matches!(&actions[..], [Action::Seek { to: 1, .. }]), "{actions:?}");
    assert_eq!((case.engine.is_stale(&case.at, begun), case.engine.is_stale(&case.at, behind)), (false, true));
    let (behind, attempt) = case.read(1, false);
    assert_eq!(attempt, Some(1), "it was not tried");

    case.engine.event(case.now, GroupEvent::Revoked(vec![case.at.clone()]));
    assert!(!case.engine.may_begin(&case.at, behind) && !case.engine.is_stale(&case.at, behind));
    case.engine.put_back(&case.at, behind, case.now);
    case.settle(begun);
    let (ticket, offset) = commit(&case.turn());
    assert_eq!(offset, 1);
    let actions = case.answer(ticket, CommitAnswer::Committed);
    assert!(matches!(&actions[..], [Action::Release(_)]), "nothing is reported as unsettled: {actions:?}");
    assert!(case.engine.is_stale(&case.at, begun));
}

#[test]
fn a_record_that_failed_several_times_before_it_was_given_back_keeps_their_number() {
    let mut case = case(CommitStrategy::Automatic);
    let id = case.take(0);
    case.engine.give_back(&case.at, id, 3, case.now);
    assert!(case.wait(4 * SECOND - Duration::from_millis(1)).is_empty(), "the delay of the third attempt");
    case.wait(Duration::from_millis(1));
    assert_eq!(case.read(0, false).1, Some(4));
}

#[test]
fn a_rejected_record_stops_its_partition_until_it_is_skipped_and_what_was_read_behind_it_is_read_again() {
    let mut case = case(CommitStrategy::Each);
    let readable = case.engine.readable();
    let (bad, attempt) = case.read(0, true);
    assert_eq!(attempt, Some(1));
    let behind = case.engine.deliver(&readable[0], 1).unwrap();
    assert_eq!(case.engine.dispatch(&case.at, behind), None);
    assert!(case.wait(60 * SECOND).is_empty() && case.engine.readable().is_empty());
    assert_eq!(case.engine.skip(&case.at, bad, case.now), Settled::Done);
    assert!(case.engine.needs_turn(&case.at));
    let actions = case.turn();
    let [Action::Seek { to: 1, .. }, rest @ ..] = &actions[..] else { panic!("{actions:?}") };
    let (ticket, offset) = commit(rest);
    assert_eq!(offset, 1);
    case.answer(ticket, CommitAnswer::Committed);
    assert_eq!((case.engine.closed().settled, case.engine.closed().skipped), (0, 1));
    // A rejected record holds no drain up.
    case.read(1, true);
    let actions = case.revoke();
    assert!(matches!(&actions[..], [Action::Notice(Notice::Unsettled(_)), Action::Release(_)]), "{actions:?}");
}

#[test]
fn a_full_partition_is_not_read_until_its_first_record_is_settled() {
    let mut case = case(CommitStrategy::Automatic);
    let ids = [case.take(0), case.take(1), case.take(2)];
    assert!(case.engine.readable().is_empty());
    case.settle(ids[1]);
    assert!(case.engine.readable().is_empty(), "settled behind one that is not");
    case.settle(ids[0]);
    let readable = case.engine.readable();
    assert_eq!((readable.len(), case.engine.room(&readable[0])), (1, 2));
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
    assert_eq!(case.engine.deliver(&old, 100), None);
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

/// A dead letter fails while records behind its own are in the user's hands.
#[test]
fn a_record_that_is_rejected_late_stops_its_partition_and_leaves_the_others() {
    let mut case = case(CommitStrategy::Each);
    let (first, second) = (case.take(0), case.take(1));
    assert_eq!(case.engine.reject(&case.at, first, case.now), Settled::Done);
    assert_eq!(case.engine.reject(&case.at, first, case.now), Settled::Again);
    assert!(case.engine.readable().is_empty());
    assert_eq!(case.engine.settle(&case.at, second, case.now), Settled::Done);
    assert!(case.turn().is_empty(), "nothing is committed, and it waits");
    assert_eq!(case.engine.dead_letter(&case.at, first, case.now), Settled::Done);
    assert_eq!(case.engine.dead_letter(&case.at, first, case.now), Settled::Again);
    let actions = case.turn();
    assert!(actions.iter().any(|action| matches!(action, Action::Seek { to: 2, .. })), "{actions:?}");
    let commits = |action: &Action| matches!(action, Action::Commit { offsets, .. } if offsets[0].offset == 2);
    assert!(actions.iter().any(commits), "{actions:?}");
    assert_eq!((case.engine.closed().settled, case.engine.closed().dead_lettered), (1, 1));
    let gone = case.take(2);
    case.event(GroupEvent::Lost(vec![case.at.clone()]));
    assert_eq!(case.engine.reject(&case.at, gone, case.now), Settled::Stale);
    assert_eq!(case.engine.dead_letter(&case.at, gone, case.now), Settled::Stale);
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
    let waiting = case.engine.deliver(&at, 1).unwrap();
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

#[test]
fn at_most_once_hands_a_record_out_after_its_commit() {
    let mut case = case(CommitStrategy::AtMostOnce);
    let at = case.engine.readable().remove(0);
    let ids: Vec<_> = (0..2).map(|offset| case.engine.deliver(&at, offset).unwrap()).collect();
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
    assert_eq!(case.engine.give_back(&case.at, ids[0], 1, case.now), Settled::Done);
    assert_eq!(case.engine.put_back(&case.at, ids[1], case.now), Settled::Done);
    assert!(case.wait(60 * SECOND).is_empty(), "neither is delivered again");
    let held = case.engine.deliver(&at, 2).unwrap();
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
