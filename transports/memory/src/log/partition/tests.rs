use std::collections::BTreeSet;

use kafka_tower_core::Record;
use proptest::prelude::*;

use super::*;

/// A write or an end, by one of three producers or outside a transaction.
#[derive(Clone, Copy, Debug)]
enum Op {
    Plain,
    Write(i64),
    End(i64, bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => Just(Op::Plain),
        6 => (0..3i64).prop_map(Op::Write),
        2 => (0..3i64, any::<bool>()).prop_map(|(p, committed)| Op::End(p, committed)),
    ];
    prop::collection::vec(op, 0..80)
}

/// The model scans the whole history for each record: the first end after it decides.
fn visible(ops: &[Op]) -> Vec<i64> {
    let fate = |at: usize, producer: i64| {
        ops[at..].iter().find_map(|op| match op {
            Op::End(p, committed) if *p == producer => Some(*committed),
            _ => None,
        })
    };
    let undecided = ops.iter().enumerate().find_map(|(at, op)| match op {
        Op::Write(p) if fate(at, *p).is_none() => Some(at),
        _ => None,
    });
    let seen = |at: &usize| match ops[*at] {
        Op::Plain => true,
        Op::Write(p) => fate(*at, p) == Some(true),
        Op::End(..) => false,
    };
    (0..undecided.unwrap_or(ops.len())).filter(seen).map(|at| at as i64).collect()
}

proptest! {
    #[test]
    fn what_readers_see_agrees_with_a_naive_model(ops in ops()) {
        let mut partition = Partition::default();
        let write = |producer| StoredRecord::new(0, Timestamp::from_millis(0), Record::new("t"), producer);
        for op in &ops {
            match *op {
                Op::Plain => drop(partition.append(write(None))),
                Op::Write(producer) => drop(partition.append(write(Some(producer)))),
                Op::End(producer, committed) => partition.end(producer, committed),
            }
        }
        let seen: Vec<_> = partition.committed().map(|record| record.offset).collect();
        prop_assert_eq!(&seen, &visible(&ops));
        let mut from = 0;
        let mut read = Vec::new();
        while let Some(record) = partition.from(from, true) {
            read.push(record.offset);
            from = record.offset + 1;
        }
        prop_assert_eq!(&read, &seen, "record by record");
        prop_assert_eq!(partition.high_watermark(), ops.len() as i64, "markers take offsets");
        let all = partition.records().iter().map(|r| r.offset).chain(partition.markers().iter().map(|m| m.offset));
        prop_assert_eq!(all.collect::<BTreeSet<_>>().len(), ops.len());
        prop_assert!(partition.last_stable_offset() <= partition.high_watermark());
    }
}
