use proptest::prelude::*;

use super::*;

/// A record of the model: its partition, lane and state.
#[derive(Clone, Debug)]
struct Record {
    partition: usize,
    lane: Option<u64>,
    state: State,
}

/// The same by looking through all records in their order.
struct Model {
    order: Order,
    places: usize,
    records: Vec<Record>,
}

impl Model {
    fn lane(&self, partition: usize, key: Option<&[u8]>) -> Option<u64> {
        match self.order {
            Order::Partition => Some(partition as u64),
            Order::Key => Some((partition as u64) << 32 | u64::from(murmur2(key?) as u32)),
            Order::None => None,
        }
    }

    fn running(&self) -> usize {
        self.records.iter().filter(|record| record.state == State::Running).count()
    }

    fn may_start(&self, number: usize) -> bool {
        let record = &self.records[number];
        let before = &self.records[..number];
        let first =
            record.lane.is_none() || before.iter().all(|other| other.state == State::Free || other.lane != record.lane);
        matches!(record.state, State::Waiting | State::Ready) && first && self.running() < self.places
    }
}

#[derive(Clone, Debug)]
enum Step {
    Offer(usize, Option<u8>),
    Next,
    Finish(usize),
    Pause(usize),
    Resume(usize),
    Remove(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, prop::option::of(0..4_u8)).prop_map(|(partition, key)| Step::Offer(partition, key)),
        6 => Just(Step::Next),
        4 => (0..8_usize).prop_map(Step::Finish),
        2 => (0..8_usize).prop_map(Step::Pause),
        2 => (0..8_usize).prop_map(Step::Resume),
        1 => (0..5_u64).prop_map(Step::Remove),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Partition), Just(Order::Key), Just(Order::None)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn lanes_agree_with_the_model(
        order in order(),
        places in 1..5_usize,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut lanes = Lanes::new(order, places);
        let mut model = Model { order, places, records: Vec::new() };
        let mut running: Vec<(Ticket, usize)> = Vec::new();
        let mut paused: Vec<(Ticket, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Offer(partition, key) => {
                    let key = key.map(|key| [key]);
                    let key = key.as_ref().map(|key| &key[..]);
                    let lane = model.lane(partition, key);
                    lanes.offer(partition, lanes.lane(partition, key), 1, model.records.len());
                    model.records.push(Record { partition, lane, state: State::Waiting });
                }
                Step::Next => match lanes.next() {
                    Some((ticket, number)) => {
                        prop_assert!(model.may_start(number), "{number} may not start");
                        model.records[number].state = State::Running;
                        running.push((ticket, number));
                    }
                    None => {
                        let left = (0..model.records.len()).find(|number| model.may_start(*number));
                        prop_assert_eq!(left, None, "it may start");
                    }
                },
                Step::Finish(index) if !running.is_empty() => {
                    let (ticket, number) = running.swap_remove(index % running.len());
                    lanes.finish(ticket);
                    lanes.finish(ticket);
                    model.records[number].state = State::Free;
                }
                Step::Pause(index) if !running.is_empty() => {
                    let (ticket, number) = running.swap_remove(index % running.len());
                    lanes.pause(ticket, number);
                    model.records[number].state = State::Paused;
                    paused.push((ticket, number));
                }
                Step::Resume(index) if !paused.is_empty() => {
                    let (ticket, number) = paused.swap_remove(index % paused.len());
                    lanes.resume(ticket);
                    lanes.resume(ticket);
                    if model.records[number].state == State::Paused {
                        model.records[number].state = State::Ready;
                    }
                }
                Step::Remove(part) => {
                    let mut removed = lanes.retain(|number| *number as u64 % 5 != part);
                    removed.sort_unstable();
                    let gone = |record: &Record| !matches!(record.state, State::Free | State::Running);
                    let all = model.records.iter_mut().enumerate();
                    let of_part = all.filter(|(number, record)| *number as u64 % 5 == part && gone(record));
                    let expected: Vec<usize> = of_part
                        .map(|(number, record)| {
                            record.state = State::Free;
                            number
                        })
                        .collect();
                    prop_assert_eq!(removed, expected);
                }
                Step::Finish(_) | Step::Pause(_) | Step::Resume(_) => {}
            }
            prop_assert_eq!(lanes.running(), model.running());
            for partition in 0..3 {
                let holds = |record: &&Record| record.partition == partition && record.state != State::Free;
                let held = model.records.iter().filter(holds).count();
                let room = LEAST_ROOM.saturating_sub(held);
                prop_assert_eq!(lanes.room(partition), if room < 16 { 0 } else { room });
            }
        }
        // Everything that is left is handled, and nothing remains.
        paused.iter().for_each(|(ticket, _)| lanes.resume(*ticket));
        for record in model.records.iter_mut().filter(|record| record.state == State::Paused) {
            record.state = State::Ready;
        }
        loop {
            while let Some((ticket, number)) = lanes.next() {
                prop_assert!(model.may_start(number));
                model.records[number].state = State::Running;
                running.push((ticket, number));
            }
            let Some((ticket, number)) = running.pop() else { break };
            lanes.finish(ticket);
            model.records[number].state = State::Free;
        }
        prop_assert!(model.records.iter().all(|record| record.state == State::Free), "one was forgotten");
        prop_assert_eq!((lanes.tails.len(), lanes.free.len()), (0, lanes.entries.len()));
    }
}

#[test]
fn a_busy_key_waits_alone() {
    let mut lanes = Lanes::new(Order::Key, 2);
    lanes.offer(0, lanes.lane(0, Some(b"a")), 1, 1);
    lanes.offer(0, lanes.lane(0, Some(b"a")), 1, 2);
    lanes.offer(0, lanes.lane(0, Some(b"b")), 1, 3);
    lanes.offer(1, lanes.lane(1, Some(b"a")), 1, 4);
    let (first, item) = lanes.next().unwrap();
    assert_eq!((item, lanes.next().unwrap().1), (1, 3), "the second `a` waits");
    assert!(lanes.next().is_none(), "no place");
    lanes.pause(first, 1);
    assert_eq!(lanes.next().unwrap().1, 4, "another partition");
    lanes.resume(first);
    assert!(lanes.next().is_none());
}

/// A key whose handling takes long fills the room of its partition, and of no other.
#[test]
fn room_is_bounded_by_partition() {
    for (places, room) in [(1, 64), (16, 64), (64, 256)] {
        let mut lanes = Lanes::new(Order::Key, places);
        for item in 0..room {
            assert_eq!(lanes.room(0), if room - item < room / 4 { 0 } else { room - item });
            lanes.offer(0, lanes.lane(0, Some(b"hot")), 1, item);
        }
        assert_eq!((lanes.room(0), lanes.room(1)), (0, room));
        for left in 1..=room {
            let (ticket, _) = lanes.next().unwrap();
            assert_eq!(lanes.room(0), if left - 1 < room / 4 { 0 } else { left - 1 }, "what runs counts");
            lanes.finish(ticket);
        }
        assert_eq!(lanes.room(0), room);
    }
}

#[test]
fn there_is_no_room_beyond_the_bytes() {
    let mut lanes = Lanes::new(Order::None, 100).limit_bytes(1_000);
    let mut tickets = Vec::new();
    while lanes.room(tickets.len()) > 0 {
        lanes.offer(tickets.len(), None, 300, tickets.len());
        tickets.push(lanes.next().unwrap().0);
    }
    assert_eq!(tickets.len(), 4, "the last one exceeds it");
    assert_eq!(lanes.room(99), 0, "of any partition, also a new one");
    lanes.finish(tickets[0]);
    assert!(lanes.room(99) > 0);
    lanes.offer(0, None, 300, 9);
    assert_eq!(lanes.room(99), 0);
    drop(lanes.retain(|_| false));
    assert!(lanes.room(99) > 0, "what is removed does not count");
}
