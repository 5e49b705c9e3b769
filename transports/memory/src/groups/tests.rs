use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Join(bool),
    Leave(usize),
    Poll(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => any::<bool>().prop_map(Op::Join),
        1 => any::<usize>().prop_map(Op::Leave),
        8 => any::<usize>().prop_map(Op::Poll),
    ];
    prop::collection::vec(op, 1..120)
}

const COUNTS: [(&str, u32); 2] = [("a", 5), ("b", 2)];

fn count(topic: &str) -> u32 {
    COUNTS.iter().find(|(name, _)| *name == topic).map_or(0, |(_, count)| *count)
}

/// A member's view: it gives up its partitions only when told to.
#[derive(Default)]
struct Believes {
    both: bool,
    generation: i32,
    owned: Vec<TopicPartition>,
}

proptest! {
    /// No two members ever own the same partition in their own view; after enough polls the members own all
    /// partitions together.
    #[test]
    fn a_partition_has_one_owner(ops in ops()) {
        let (mut groups, name) = (Groups::default(), Arc::<str>::from("g"));
        let mut members: BTreeMap<MemberId, Believes> = BTreeMap::new();
        let poll = |groups: &mut Groups, members: &mut BTreeMap<MemberId, Believes>, id: MemberId| {
            let member = members.get_mut(&id).expect("a member");
            match groups.membership("g", id, count) {
                Membership::Gone => panic!("it is a member"),
                Membership::GiveUp => {
                    member.owned.clear();
                    groups.rejoin("g", id);
                }
                Membership::Waiting => assert!(member.owned.is_empty()),
                Membership::Assigned { generation, partitions } => {
                    assert!(generation >= member.generation);
                    member.generation = generation;
                    member.owned = partitions;
                }
            }
        };
        let one_owner = |members: &BTreeMap<MemberId, Believes>| {
            let mut owned: Vec<_> = members.values().flat_map(|member| member.owned.clone()).collect();
            let all = owned.len();
            owned.sort();
            owned.dedup();
            (owned.len() == all, all)
        };
        for op in ops {
            match op {
                Op::Join(both) => {
                    let topics = if both { vec!["a", "b"] } else { vec!["a"] };
                    let id = groups.join(&name, topics.into_iter().map(Arc::from).collect());
                    members.insert(id, Believes { both, ..Believes::default() });
                }
                Op::Leave(which) if !members.is_empty() => {
                    let id = *members.keys().nth(which % members.len()).unwrap();
                    prop_assert!(groups.leave("g", id));
                    members.remove(&id);
                }
                Op::Poll(which) if !members.is_empty() => {
                    let id = *members.keys().nth(which % members.len()).unwrap();
                    poll(&mut groups, &mut members, id);
                }
                Op::Leave(_) | Op::Poll(_) => {}
            }
            prop_assert!(one_owner(&members).0);
        }
        for _ in 0..3 {
            for id in members.keys().copied().collect::<Vec<_>>() {
                poll(&mut groups, &mut members, id);
            }
        }
        let b = if members.values().any(|member| member.both) { 2 } else { 0 };
        let expected = if members.is_empty() { 0 } else { 5 + b };
        prop_assert_eq!(one_owner(&members), (true, expected));
    }
}

/// Operations on a group, by a member or by a consumer that never joined.
#[derive(Clone, Copy, Debug)]
enum Step {
    Join(bool),
    Leave(usize),
    Poll(usize),
    /// Member, offset of its generation from the current one, and partition of a commit.
    Commit(usize, i32, i32),
    Rebalance,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<bool>().prop_map(Step::Join),
        2 => any::<usize>().prop_map(Step::Leave),
        16 => any::<usize>().prop_map(Step::Poll),
        8 => (any::<usize>(), prop_oneof![4 => Just(0), 1 => -2..3i32], 0..3i32)
            .prop_map(|(who, by, partition)| Step::Commit(who, by, partition)),
        1 => Just(Step::Rebalance),
    ];
    prop::collection::vec(step, 1..150)
}

/// A naive model: the members in the order in which they joined, their partitions, and the commits in order.
#[derive(Default)]
struct Naive {
    members: Vec<(MemberId, bool, Vec<TopicPartition>)>,
    generation: i32,
    changed: bool,
    committed: Vec<(i32, i64)>,
}

impl Naive {
    fn poll(&mut self, id: MemberId) -> Membership {
        if self.changed && self.members.iter().all(|(.., owned)| owned.is_empty()) {
            self.changed = false;
            self.generation += 1;
            for (topic, count) in COUNTS {
                let mut subscribers: Vec<_> = self
                    .members
                    .iter_mut()
                    .filter(|(_, both, _)| *both || topic == "a")
                    .map(|(.., owned)| owned)
                    .collect();
                let among = subscribers.len();
                for partition in (0..count).filter(|_| among > 0) {
                    subscribers[partition as usize % among].push((topic.into(), partition as i32));
                }
            }
        }
        let (.., owned) = self.members.iter_mut().find(|(member, ..)| *member == id).unwrap();
        match (self.changed, owned.is_empty()) {
            (true, false) => {
                owned.clear();
                Membership::GiveUp
            }
            (true, true) => Membership::Waiting,
            (false, _) => Membership::Assigned { generation: self.generation, partitions: owned.clone() },
        }
    }

    fn takes(&self, member: &str, generation: i32) -> bool {
        let is_member = self.members.iter().any(|(id, ..)| id.to_string() == member);
        match (self.generation, generation) {
            (_, ..0) if member.is_empty() => true,
            (0, asked) => asked <= 0,
            (present, asked) => asked == present && (is_member || self.members.is_empty()),
        }
    }
}

proptest! {
    /// Generations, assignments and offsets match the naive model: an old generation or a non-member changes nothing.
    #[test]
    fn a_group_agrees_with_a_naive_model(steps in steps()) {
        let (mut groups, name, mut naive) = (Groups::default(), Arc::<str>::from("g"), Naive::default());
        let pick = |naive: &Naive, which: usize| naive.members.get(which % naive.members.len().max(1)).map(|(id, ..)| *id);
        for (offset, step) in (0..).zip(steps) {
            match step {
                Step::Join(both) => {
                    let topics = if both { vec!["a", "b"] } else { vec!["a"] };
                    let id = groups.join(&name, topics.into_iter().map(Arc::from).collect());
                    naive.members.push((id, both, Vec::new()));
                    naive.changed = true;
                }
                Step::Leave(which) => if let Some(id) = pick(&naive, which) {
                    prop_assert!(groups.leave("g", id));
                    naive.members.retain(|(member, ..)| *member != id);
                    naive.changed = true;
                },
                Step::Poll(which) => if let Some(id) = pick(&naive, which) {
                    let membership = groups.membership("g", id, count);
                    prop_assert_eq!(&membership, &naive.poll(id));
                    if membership == Membership::GiveUp {
                        groups.rejoin("g", id);
                    }
                },
                Step::Commit(which, by, partition) => {
                    let (member_id, generation) = match (which % 7, pick(&naive, which)) {
                        (0, _) => (String::new(), -1),
                        (2.., Some(id)) => (id.to_string(), naive.generation + by),
                        _ => ("stranger".into(), naive.generation + by),
                    };
                    let takes = naive.takes(&member_id, generation);
                    let member = ConsumerGroup { group_id: "g".into(), generation, member_id, group_instance_id: None };
                    prop_assert_eq!(groups.is_current(&member), takes);
                    if takes {
                        groups.commit("g", &TopicOffset { topic: "a".into(), partition, offset });
                        naive.committed.push((partition, offset));
                    }
                }
                Step::Rebalance => {
                    naive.generation += 1;
                    prop_assert_eq!(groups.rebalance("g"), naive.generation);
                }
            }
            prop_assert_eq!(groups.generation("g"), naive.generation);
            for partition in 0..3 {
                let last = naive.committed.iter().rev().find(|(p, _)| *p == partition).map(|(_, offset)| *offset);
                prop_assert_eq!(groups.committed("g", "a", partition), last);
            }
            prop_assert_eq!(groups.committed("g", "b", 0), None);
            prop_assert_eq!(groups.committed("other", "a", 0), None);
        }
    }
}

#[test]
fn the_old_generation_may_commit_until_the_new_one_begins() {
    let (mut groups, name) = (Groups::default(), Arc::<str>::from("g"));
    let topics = BTreeSet::from([Arc::<str>::from("a")]);
    let identity = |id: MemberId, generation| ConsumerGroup {
        group_id: "g".into(),
        generation,
        member_id: id.to_string(),
        group_instance_id: None,
    };
    let first = groups.join(&name, topics.clone());
    assert!(matches!(groups.membership("g", first, count), Membership::Assigned { generation: 1, .. }));
    let second = groups.join(&name, topics);
    assert_eq!(groups.membership("g", second, count), Membership::Waiting);
    assert!(groups.is_current(&identity(first, 1)));
    assert!(!groups.is_current(&identity(second, 1 + 1)));
    assert_eq!(groups.membership("g", first, count), Membership::GiveUp);
    groups.rejoin("g", first);
    assert!(matches!(groups.membership("g", second, count), Membership::Assigned { generation: 2, .. }));
    assert!(!groups.is_current(&identity(first, 1)) && groups.is_current(&identity(first, 2)));
    assert!(groups.leave("g", first) && !groups.leave("g", first));
    assert!(!groups.is_current(&identity(first, 2)), "it has left");
    assert_eq!(groups.membership("g", first, count), Membership::Gone);
}
