use super::*;
use crate::{CommitAnswer, ErrorKind, GroupEvent};

mod asked;
mod changes;
mod commit;
mod out_of_range;
mod place;
mod redelivery;
mod release;

const SECOND: Duration = Duration::from_secs(1);

fn settings(strategy: CommitStrategy) -> EngineSettings {
    EngineSettings {
        commits: CommitSettings { strategy, interval: 5 * SECOND, every: 10, timeout: 5 * SECOND },
        commit_on_revoke: true,
        drain: 10 * SECOND,
        redelivery_backoff: SECOND,
        max_unsettled: 3,
        locate: false,
        out_of_range: OutOfRangePolicy::Earliest,
        stall_warning: None,
        listener: false,
    }
}

/// An engine with one partition, and its time.
struct Case {
    engine: Engine,
    now: Instant,
    at: TopicPartition,
}

fn case(strategy: CommitStrategy) -> Case {
    of(settings(strategy))
}

fn of(settings: EngineSettings) -> Case {
    let mut case = Case { engine: Engine::new(settings), now: Instant::now(), at: TopicPartition::new("orders", 0) };
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
        let id = self.engine.deliver(&readable[0])(offset).unwrap();
        let attempt = self.engine.dispatch(&self.at, id);
        if rejected {
            self.engine.reject(&self.at, id, self.now);
        }
        (id, attempt)
    }

    fn settle(&mut self, id: DeliveryId) -> Settled {
        self.engine.settle(&self.at, id, || self.now).settled
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
