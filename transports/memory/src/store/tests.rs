use proptest::prelude::*;

use super::*;
use crate::log::StoredRecord;

#[derive(Clone, Copy, Debug)]
enum Op {
    Init(usize),
    /// By one of the producers so far, including old ones.
    Send {
        producer: usize,
        partition: i32,
    },
    Offsets {
        producer: usize,
    },
    End {
        producer: usize,
        commit: bool,
    },
    Abort(usize),
    Plain(i32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => (0..2usize).prop_map(Op::Init),
        10 => (0..6usize, 0..2i32).prop_map(|(producer, partition)| Op::Send { producer, partition }),
        2 => (0..6usize).prop_map(|producer| Op::Offsets { producer }),
        6 => (0..6usize, any::<bool>()).prop_map(|(producer, commit)| Op::End { producer, commit }),
        1 => (0..2usize).prop_map(Op::Abort),
        2 => (0..2i32).prop_map(Op::Plain),
    ];
    prop::collection::vec(op, 1..120)
}

const IDS: [&str; 2] = ["one", "two"];
const MINUTE: Duration = Duration::from_secs(60);

/// A write in a transaction, or outside of one.
struct Write {
    partition: i32,
    number: i64,
    /// Number of the transaction.
    of: Option<usize>,
}

/// All writes, and the end of each transaction.
#[derive(Default)]
struct Naive {
    writes: Vec<Write>,
    /// By transaction: whether it was committed, if it has ended, and its offset.
    transactions: Vec<(Option<bool>, Option<i64>)>,
    /// By id: its producer, and that producer's open transaction.
    owners: [Option<(usize, Option<usize>)>; 2],
    offset: Option<i64>,
}

impl Naive {
    /// Returns the transaction of a producer, and opens one if needed; `None` if another producer owns the id.
    fn open(&mut self, id: usize, producer: usize) -> Option<usize> {
        let (owner, open) = self.owners[id].as_mut()?;
        if *owner != producer {
            return None;
        }
        Some(*open.get_or_insert_with(|| {
            self.transactions.push((None, None));
            self.transactions.len() - 1
        }))
    }

    fn end(&mut self, id: usize, commit: bool) {
        let open = self.owners[id].as_mut().and_then(|(_, open)| open.take());
        if let Some(transaction) = open {
            self.transactions[transaction].0 = Some(commit);
            if commit {
                self.offset = self.transactions[transaction].1.or(self.offset);
            }
        }
    }

    /// The numbers that `read_committed` consumers see: all up to the first open transaction, except aborted ones.
    fn visible(&self, partition: i32) -> Vec<i64> {
        let fate = |write: &Write| write.of.map_or(Some(true), |of| self.transactions[of].0);
        let all = self.writes.iter().filter(|write| write.partition == partition);
        let known = all.take_while(|write| fate(write).is_some());
        known.filter(|write| fate(write) == Some(true)).map(|write| write.number).collect()
    }
}

proptest! {
    /// Coordinator, log and groups together: consumers see what the whole history implies.
    #[test]
    fn transactions_are_all_or_nothing(ops in ops()) {
        let (mut store, mut naive, now) = (Store::default(), Naive::default(), Instant::now());
        store.log.create("t".into(), 2).unwrap();
        let mut producers: Vec<(usize, TxnClient)> = Vec::new();
        for (number, op) in (0..).zip(ops) {
            let record = Record::new("t").with_value(format!("{number}"));
            let time = Timestamp::from_millis(number);
            let chosen = |producer: usize| producer.checked_rem(producers.len());
            match op {
                Op::Init(id) => {
                    let mut client = TxnClient::new(IDS[id].into(), MINUTE);
                    client.initialized(store.init(&IDS[id].into(), MINUTE));
                    client.begin().unwrap();
                    naive.end(id, false);
                    naive.owners[id] = Some((producers.len(), None));
                    producers.push((id, client));
                }
                Op::Plain(partition) => {
                    store.append(None, None, &record, partition, time, now).unwrap();
                    naive.writes.push(Write { partition, number, of: None });
                }
                Op::Send { producer, partition } => if let Some(at) = chosen(producer) {
                    let (id, client) = &mut producers[at];
                    let sent = store.append(Some(client), None, &record, partition, time, now);
                    // Partitions registered before an operator's abort no longer belong to a transaction.
                    let of = naive.open(*id, at);
                    prop_assert_eq!(sent.is_ok(), of.is_some());
                    match sent {
                        Ok(_) => naive.writes.push(Write { partition, number, of }),
                        Err(error) => prop_assert_eq!(error.persistence(), Persistence::NotPersisted),
                    }
                },
                Op::Offsets { producer } => if let Some(at) = chosen(producer) {
                    let (id, client) = &mut producers[at];
                    let offsets = [TopicOffset { topic: "in".into(), partition: 0, offset: number }];
                    let who = client.ask_offsets().unwrap();
                    let added = store.add_offsets(IDS[*id], who, "g", &offsets, now);
                    let of = naive.open(*id, at);
                    prop_assert_eq!(added.is_ok(), of.is_some());
                    of.into_iter().for_each(|of| naive.transactions[of].1 = Some(number));
                },
                Op::End { producer, commit } => if let Some(at) = chosen(producer) {
                    let (id, client) = &mut producers[at];
                    let who = client.ask_offsets().unwrap();
                    let open = naive.owners[*id].filter(|(owner, _)| *owner == at).map(|(_, open)| open);
                    let ended = store.end(IDS[*id], who, commit);
                    match open {
                        None => prop_assert_eq!(ended, Err(Refusal::Fenced)),
                        Some(Some(_)) => prop_assert_eq!(ended, Ok(())),
                        // Repeated or not, it changes nothing.
                        Some(None) => prop_assert_ne!(ended, Err(Refusal::Fenced)),
                    }
                    if open.is_some() {
                        naive.end(*id, commit);
                        // The next transaction: nothing is registered yet.
                        *client = renewed(IDS[*id], who);
                    }
                },
                Op::Abort(id) => {
                    let open = naive.owners[id].is_some_and(|(_, open)| open.is_some());
                    prop_assert_eq!(store.abort(IDS[id]), open);
                    naive.end(id, false);
                    if open {
                        naive.owners[id] = None;
                    }
                }
            }
            for partition in 0..2 {
                let number = |stored: &StoredRecord| stored.timestamp.as_millis();
                let log = store.log.partition("t", partition).unwrap();
                prop_assert_eq!(log.committed().map(number).collect::<Vec<_>>(), naive.visible(partition));
                let all = naive.writes.iter().filter(|write| write.partition == partition).map(|write| write.number);
                prop_assert_eq!(log.records().iter().map(number).collect::<Vec<_>>(), all.collect::<Vec<_>>());
            }
            prop_assert_eq!(store.groups.committed("g", "in", 0), naive.offset);
        }
    }
}

fn renewed(id: &str, who: Identity) -> TxnClient {
    let mut client = TxnClient::new(id.into(), MINUTE);
    client.initialized(who);
    client.begin().unwrap();
    client
}
