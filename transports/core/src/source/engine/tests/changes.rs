//! What a change says without asking for it each time.

use proptest::prelude::*;

use super::*;

const STRATEGIES: [CommitStrategy; 5] = [
    CommitStrategy::Automatic,
    CommitStrategy::Periodic,
    CommitStrategy::Each,
    CommitStrategy::AtMostOnce,
    CommitStrategy::Manual,
];

/// Whether the next turn is to come before the promised one.
fn is_late(case: &Case) -> bool {
    let Case { engine, now, at } = case;
    let next = engine.wake_at(*now).is_some_and(|next| engine.promised.is_none_or(|promised| next < promised));
    let partition = engine.partitions.get(at);
    let drained = partition.is_some_and(|of| of.watermark.in_hand() == 0 && !engine.member.is_active(at));
    next || drained || partition.is_some_and(Partition::may_leave_range)
}

proptest! {
    #[test]
    fn a_change_that_needs_a_turn_or_makes_a_partition_readable_says_so(
        strategy in 0..STRATEGIES.len(),
        steps in prop::collection::vec((0_u8..14, 0_usize..4), 1..120),
    ) {
        let mut settings = settings(STRATEGIES[strategy]);
        settings.commits.every = 3;
        let mut case = of(settings);
        let (mut next, mut taken, mut tickets) = (0, Vec::new(), Vec::new());
        // Whether the transport was notified since the last turn.
        let mut notified = false;
        for (what, which) in steps {
            let was_readable = case.engine.is_readable(&case.at);
            // One of the last ones, which may be settled.
            let id = taken.iter().rev().nth(which).or(taken.last()).copied();
            let change = match (what, id) {
                (0..3, _) => {
                    if was_readable {
                        taken.push(case.read(next, what == 2 && which == 0).0);
                        next += 1;
                        notified |= case.engine.needs_turn(&case.at);
                    }
                    continue;
                }
                (3..7, Some(id)) => case.engine.settle(&case.at, id, || case.now),
                (7, Some(id)) => case.engine.skip(&case.at, id, case.now),
                (8, Some(id)) => case.engine.give_back(&case.at, id, 1, case.now),
                (9, Some(id)) => case.engine.put_back(&case.at, id, case.now),
                (10, _) => {
                    if which == 0 {
                        let _ = case.engine.commit_now(case.now);
                    } else {
                        let _ = case.engine.commit_record(&case.at, next - 1, case.now);
                    }
                    notified = true;
                    continue;
                }
                (11, _) => {
                    if let Some(at) = case.engine.readable().first() {
                        next += 1;
                        case.engine.reach(at, next, case.now);
                        notified |= case.engine.needs_turn(&case.at);
                    }
                    continue;
                }
                (12, _) => {
                    if which == 0 {
                        case.revoke();
                        notified = false;
                    }
                    continue;
                }
                (3..10, None) => continue,
                _ => {
                    case.now += SECOND * which as u32;
                    let mut actions = case.turn();
                    if which == 3 {
                        let answer = |ticket| GroupEvent::Committed { ticket, answers: vec![(case.at.clone(), CommitAnswer::Committed)] };
                        let answers: Vec<_> = std::mem::take(&mut tickets).into_iter().map(answer).collect();
                        for answer in answers {
                            actions.extend(case.event(answer));
                        }
                    }
                    for action in actions {
                        match action {
                            Action::Commit { ticket, .. } => tickets.push(ticket),
                            Action::Seek { to, .. } => next = to,
                            _ => {}
                        }
                    }
                    notified = false;
                    continue;
                }
            };
            notified |= change.needs_turn;
            prop_assert!(notified || !is_late(&case), "{:?}", change);
            let readable = case.engine.is_readable(&case.at);
            prop_assert_eq!(change.readable, readable && !was_readable, "{:?}", change);
        }
    }
}
