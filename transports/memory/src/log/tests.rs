use kafka_tower_core::ErrorKind;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Create(usize, u32),
    MaxBytes(usize, usize),
    Send { topic: usize, partition: Option<i32>, key: Option<u8>, bytes: usize },
}

const TOPICS: [&str; 3] = ["a", "b", "c"];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let topic = 0..TOPICS.len();
    let send = (topic.clone(), prop::option::of(0..5), prop::option::of(any::<u8>()), 0..50usize);
    let op = prop_oneof![
        1 => (topic.clone(), 1..5u32).prop_map(|(t, n)| Op::Create(t, n)),
        1 => (topic, 0..50usize).prop_map(|(t, n)| Op::MaxBytes(t, n)),
        20 => send.prop_map(|(topic, partition, key, bytes)| Op::Send { topic, partition, key, bytes }),
    ];
    prop::collection::vec(op, 1..100)
}

/// The model: a flat list of accepted records, and the numbers of partitions.
#[derive(Default)]
struct Model {
    counts: [Option<u32>; 3],
    limits: [Option<usize>; 3],
    taken: Vec<(usize, i32, Record)>,
}

impl Model {
    /// Returns the partition and offset, or the kind of the error.
    fn send(&mut self, topic: usize, record: &Record, turn: u32) -> Result<(i32, i64), ErrorKind> {
        let count = self.counts[topic].ok_or(ErrorKind::UnknownTopicOrPartition)?;
        let partition = match (record.partition, &record.key) {
            (Some(p), _) if p >= count as i32 => return Err(ErrorKind::UnknownTopicOrPartition),
            (Some(p), _) => p,
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => (turn % count) as i32,
        };
        if self.limits[topic].is_some_and(|limit| record.size() > limit) {
            return Err(ErrorKind::RecordTooLarge);
        }
        let before = self.taken.iter().filter(|(t, p, _)| (*t, *p) == (topic, partition));
        let offset = before.count() as i64;
        self.taken.push((topic, partition, record.clone()));
        Ok((partition, offset))
    }
}

proptest! {
    #[test]
    fn the_log_agrees_with_a_naive_model(ops in ops()) {
        let (mut log, mut model) = (Log::default(), Model::default());
        for (turn, op) in (0..).zip(ops) {
            match op {
                Op::Create(topic, count) => {
                    let expected = model.counts[topic].filter(|have| *have != count).map_or(Ok(()), Err);
                    prop_assert_eq!(log.create(TOPICS[topic].into(), count), expected);
                    model.counts[topic].get_or_insert(count);
                }
                Op::MaxBytes(topic, bytes) => {
                    let found = log.set_max_record_bytes(TOPICS[topic], bytes);
                    prop_assert_eq!(found, model.counts[topic].is_some());
                    if found {
                        model.limits[topic] = Some(bytes);
                    }
                }
                Op::Send { topic, partition, key, bytes } => {
                    let mut record = Record::new(TOPICS[topic]).with_value(vec![turn as u8; bytes]);
                    record.partition = partition;
                    record.key = key.map(|key| Bytes::from(vec![key]));
                    let time = Timestamp::from_millis(i64::from(turn));
                    let got = log.route(&record, || turn).and_then(|p| log.append(&record, p, time, Origin::default()));
                    let got = got.map(|d| (d.partition, d.offset.unwrap())).map_err(|e| e.kind());
                    prop_assert_eq!(got, model.send(topic, &record, turn));
                }
            }
        }
        for (topic, name) in TOPICS.into_iter().enumerate() {
            let mut expected: Vec<_> = model.taken.iter().filter(|(t, ..)| *t == topic).collect();
            expected.sort_by_key(|(_, partition, _)| *partition); // stable sort: keeps the call order
            let got: Vec<_> = log.records(name).collect();
            prop_assert_eq!(got.len(), expected.len());
            for (stored, (_, partition, record)) in got.into_iter().zip(expected) {
                prop_assert_eq!((&stored.record, stored.partition), (record, *partition));
                prop_assert_eq!(&log.partition(name, *partition).unwrap().records()[stored.offset as usize], stored);
            }
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let mut log = Log::default();
    log.create("orders".into(), 3).unwrap();
    let route = |log: &mut Log, record: Record| log.route(&record, || 0).unwrap_err();
    let error = route(&mut log, Record::new("orders").with_partition(7));
    assert_eq!(error.message(), "orders has no partition 7: it has 3");
    let error = route(&mut log, Record::new("bills"));
    assert_eq!(error.message(), "topic bills does not exist");
    assert_eq!(error.persistence(), kafka_tower_core::Persistence::NotPersisted);
    assert!(log.set_max_record_bytes("orders", 3));
    let record = Record::new("orders").with_value("1234");
    let error = log.append(&record, 0, Timestamp::from_millis(0), Origin::default()).unwrap_err();
    assert_eq!(error.message(), "a record of 4 bytes is larger than the 3 bytes that orders accepts");
}

#[test]
fn an_unknown_topic_is_created_by_its_first_record_by_opt_in() {
    let mut log = Log::default();
    log.set_auto_create(4);
    assert_eq!(log.route(&Record::new("new"), || 6).unwrap(), 2);
    assert_eq!(log.partition_count("new"), Some(4));
}
