use proptest::prelude::*;

use super::*;

fn committer(strategy: CommitStrategy) -> Committer {
    let second = Duration::from_secs(1);
    Committer::new(CommitSettings { strategy, interval: 5 * second, every: 10, timeout: 2 * second })
}

fn at(millis: u64) -> impl Fn(Instant) -> Instant {
    move |start| start + Duration::from_millis(millis)
}

const STRATEGIES: [CommitStrategy; 4] =
    [CommitStrategy::Automatic, CommitStrategy::Periodic, CommitStrategy::Each, CommitStrategy::Manual];

/// When each strategy commits one record that is settled at 0, nine more at 1 s, and what the application asks for.
#[test]
fn each_strategy_at_each_trigger() {
    // Strategy; in ms when one record is committed; when ten are.
    let cases = [
        (CommitStrategy::Automatic, Some(5_000), Some(5_000)),
        (CommitStrategy::Periodic, Some(5_000), Some(0)),
        (CommitStrategy::Each, Some(0), Some(0)),
        (CommitStrategy::Manual, None, None),
    ];
    let start = Instant::now();
    for (strategy, one, ten) in cases {
        let mut committer = committer(strategy);
        committer.moved(start, 1);
        assert_eq!(committer.wake_at(true), one.map(|ms| at(ms)(start)), "{strategy:?}");
        assert_eq!(committer.wake_at(false), None);
        committer.moved(at(1_000)(start), 9);
        assert_eq!(committer.wake_at(true), ten.map(|ms| at(ms)(start)), "{strategy:?}");
        let early = committer.clone().start(at(4_999)(start), true);
        assert_eq!(early.is_some(), ten == Some(0), "{strategy:?}");
        committer.request(at(1_500)(start));
        assert_eq!(committer.wake_at(true), Some(at(1_500)(start)), "{strategy:?}: asked for");
        assert!(committer.start(at(1_500)(start), true).is_some());
    }
}

#[test]
fn nothing_is_sent_while_a_commit_is_under_way_and_what_was_settled_meanwhile_shares_the_next() {
    let start = Instant::now();
    let mut committer = committer(CommitStrategy::Each);
    committer.moved(start, 1);
    let first = committer.start(start, true).unwrap();
    for _ in 0..3 {
        committer.moved(start, 1);
        committer.request(start);
        assert_eq!(committer.start(start, true), None);
    }
    committer.answered(first, start, false);
    let second = committer.start(start, true).unwrap();
    assert!(second > first);
    assert_eq!(committer.start(start, true), None);
}

#[test]
fn a_failed_commit_is_repeated_with_growing_delays_and_a_good_one_resets_them() {
    let start = Instant::now();
    let mut committer = committer(CommitStrategy::Manual);
    committer.request(start);
    let mut now = start;
    for delay in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
        let ticket = committer.start(now, true).unwrap();
        committer.answered(ticket, now, true);
        assert_eq!(committer.wake_at(true), Some(at(delay)(now)));
        committer.request(now);
        assert_eq!(committer.start(at(delay - 1)(now), true), None, "not before the delay, even if asked");
        now = at(delay)(now);
    }
    let ticket = committer.start(now, true).unwrap();
    committer.answered(ticket, now, false);
    assert_eq!(committer.wake_at(true), None, "manual: nothing by itself");
    committer.request(now);
    let ticket = committer.start(now, true).unwrap();
    committer.answered(ticket, now, true);
    assert_eq!(committer.wake_at(true), Some(at(100)(now)));
}

#[test]
fn a_commit_without_an_answer_is_given_up_and_its_late_answer_ends_no_other() {
    let start = Instant::now();
    let mut committer = committer(CommitStrategy::Automatic);
    committer.request(start);
    let lost = committer.start(start, true).unwrap();
    assert_eq!(committer.wake_at(false), Some(at(2_000)(start)), "its time-out, although nothing is due");
    assert_eq!(committer.overdue(at(1_999)(start)), None);
    assert_eq!(committer.overdue(at(2_000)(start)), Some(lost));
    assert_eq!(committer.overdue(at(2_000)(start)), None, "once");
    let second = committer.start(at(2_100)(start), true).unwrap();
    committer.answered(lost, at(2_200)(start), false);
    committer.request(start);
    assert_eq!(committer.start(at(2_200)(start), true), None, "the second one is still under way");
    committer.answered(second, at(2_300)(start), false);
}

#[test]
fn a_request_with_nothing_due_is_forgotten() {
    let start = Instant::now();
    let mut committer = committer(CommitStrategy::Manual);
    committer.request(start);
    assert_eq!(committer.start(start, false), None);
    assert_eq!(committer.wake_at(true), None);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Settle(u64),
    Request,
    Wait(u64),
    /// Answers one of the tickets so far: whether it was in vain.
    Answer(usize, bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..4u64).prop_map(Op::Settle),
        1 => Just(Op::Request),
        4 => (0..3_000u64).prop_map(Op::Wait),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, again)| Op::Answer(which, again)),
    ];
    prop::collection::vec(op, 1..120)
}

proptest! {
    /// For any order of events: one commit at a time, never before its time, never without need, and while anything is
    /// due, either the application has to ask or there is a time at which the committer goes on.
    #[test]
    fn one_commit_at_a_time_and_none_is_forgotten(strategy in 0..4usize, ops in ops()) {
        let strategy = STRATEGIES[strategy];
        let (mut committer, mut now) = (committer(strategy), Instant::now());
        let (mut settled, mut sent, mut committed) = (0, 0, 0);
        let mut tickets: Vec<(CommitTicket, u64)> = Vec::new();
        let (mut open, mut asked): (Option<(CommitTicket, Instant)>, bool) = (None, false);
        for op in ops {
            match op {
                Op::Settle(records) => {
                    settled += records;
                    if records > 0 {
                        committer.moved(now, records);
                    }
                }
                Op::Request => {
                    committer.request(now);
                    asked = true;
                }
                Op::Wait(millis) => now += Duration::from_millis(millis),
                Op::Answer(which, again) if !tickets.is_empty() => {
                    let (ticket, upto) = tickets[which % tickets.len()];
                    committer.answered(ticket, now, again);
                    open = open.filter(|(open, _)| *open != ticket);
                    if !again {
                        committed = committed.max(upto);
                    }
                }
                Op::Answer(..) => {}
            }
            if let Some(ticket) = committer.overdue(now) {
                let (open, deadline) = open.take().expect("one was under way");
                prop_assert_eq!(open, ticket);
                prop_assert!(deadline <= now);
            }
            let due = settled > committed;
            let wake = committer.wake_at(due);
            match committer.start(now, due) {
                Some(ticket) => {
                    prop_assert!(open.is_none(), "two commits under way");
                    prop_assert!(due && wake.is_some_and(|wake| wake <= now));
                    prop_assert!(strategy != CommitStrategy::Manual || asked, "without being asked");
                    open = Some((ticket, now + Duration::from_secs(2)));
                    tickets.push((ticket, settled));
                    sent = settled;
                }
                None => {
                    let waits = wake.is_none_or(|wake| wake > now);
                    prop_assert!(waits || !due, "it is time, and nothing is sent");
                    if due && settled > sent && open.is_none() && strategy != CommitStrategy::Manual {
                        prop_assert!(wake.is_some(), "it is forgotten");
                    }
                }
            }
        }
    }
}
