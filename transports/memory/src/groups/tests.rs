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

/// What a member believes that it owns: it gives up when it is told, and only then.
#[derive(Default)]
struct Believes {
    both: bool,
    generation: i32,
    owned: Vec<TopicPartition>,
}

proptest! {
    /// No two members ever believe that they own the same partition; who polls long enough owns all of it together.
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
