use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Init(usize),
    Add { producer: usize, partition: i32 },
    End { producer: usize, commit: bool },
    Abort(usize),
    Pass(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => (0..2usize).prop_map(Op::Init),
        6 => (any::<usize>(), 0..3i32).prop_map(|(producer, partition)| Op::Add { producer, partition }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(producer, commit)| Op::End { producer, commit }),
        1 => (0..2usize).prop_map(Op::Abort),
        2 => (1..15u64).prop_map(Op::Pass),
    ];
    prop::collection::vec(op, 1..100)
}

const IDS: [&str; 2] = ["a", "b"];
const TIMEOUT: u64 = 20;

/// Model of one id: its owner, the age and the partitions of its open transaction, and how the last one ended.
#[derive(Default)]
struct Model {
    owner: Option<Identity>,
    fenced: bool,
    open: Option<(u64, BTreeSet<i32>)>,
    last: Option<bool>,
}

impl Model {
    fn owns(&self, who: Identity) -> bool {
        self.owner == Some(who) && !self.fenced
    }

    fn end(&mut self, committed: bool) -> Option<(bool, BTreeSet<i32>)> {
        let (_, partitions) = self.open.take()?;
        self.last = Some(committed);
        Some((committed, partitions))
    }
}

fn summary(ended: Ended) -> (bool, BTreeSet<i32>) {
    (ended.committed, ended.partitions.into_iter().map(|(_, partition)| partition).collect())
}

proptest! {
    #[test]
    fn the_coordinator_agrees_with_a_naive_model(ops in ops()) {
        let (start, mut passed) = (Instant::now(), 0);
        let mut coordinator = Coordinator::default();
        let mut models: [Model; 2] = Default::default();
        let mut producers: Vec<(usize, Identity)> = Vec::new();
        for op in ops {
            let now = start + Duration::from_millis(passed);
            for ended in coordinator.expire(now) {
                let late = models.iter_mut().find(|m| m.open.as_ref().is_some_and(|(since, _)| since + TIMEOUT <= passed));
                let late = late.expect("one is late");
                late.fenced = true;
                prop_assert_eq!(Some(summary(ended)), late.end(false));
            }
            prop_assert!(models.iter().all(|m| m.open.as_ref().is_none_or(|(since, _)| since + TIMEOUT > passed)));
            match op {
                Op::Init(id) => {
                    let (identity, ended) = coordinator.init(&IDS[id].into(), Duration::from_millis(TIMEOUT));
                    prop_assert!(producers.iter().all(|(_, other)| *other != identity), "an identity is given once");
                    prop_assert_eq!(ended.map(summary), models[id].end(false));
                    models[id] = Model { owner: Some(identity), ..Model::default() };
                    producers.push((id, identity));
                }
                Op::Add { producer, partition } if !producers.is_empty() => {
                    let (id, who) = producers[producer % producers.len()];
                    let added = coordinator.add_partition(IDS[id], who, ("t".into(), partition), now);
                    prop_assert_eq!(added.is_ok(), models[id].owns(who));
                    if added.is_ok() {
                        models[id].open.get_or_insert((passed, BTreeSet::new())).1.insert(partition);
                    }
                    for p in 0..3 {
                        let there = models[id].open.as_ref().is_some_and(|(_, partitions)| partitions.contains(&p));
                        let verified = coordinator.verify(IDS[id], who, "t", p);
                        prop_assert_eq!(verified.is_ok(), models[id].owns(who) && there);
                    }
                }
                Op::End { producer, commit } if !producers.is_empty() => {
                    let (id, who) = producers[producer % producers.len()];
                    let model = &mut models[id];
                    let expected = if !model.owns(who) {
                        Err(Refusal::Fenced)
                    } else if model.open.is_some() {
                        Ok(model.end(commit))
                    } else if model.last == Some(commit) {
                        Ok(None)
                    } else {
                        Err(Refusal::State)
                    };
                    prop_assert_eq!(coordinator.end(IDS[id], who, commit).map(|ended| ended.map(summary)), expected);
                }
                Op::Abort(id) => {
                    let ended = coordinator.abort(IDS[id]).map(summary);
                    models[id].fenced |= ended.is_some();
                    prop_assert_eq!(ended, models[id].end(false));
                }
                Op::Pass(millis) => passed += millis,
                Op::Add { .. } | Op::End { .. } => {}
            }
        }
    }
}
