use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::log::{Log, Origin};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Late(u64),
    Hold,
    HoldAppend,
    LoseAnswer,
    LoseRequest,
}

#[derive(Clone, Debug)]
enum Op {
    Send(Kind),
    Release(usize),
    Pass(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let kind = prop_oneof![
        4 => Just(Kind::Plain),
        1 => (1..50u64).prop_map(Kind::Late),
        1 => Just(Kind::Hold),
        1 => Just(Kind::HoldAppend),
        1 => Just(Kind::LoseAnswer),
        1 => Just(Kind::LoseRequest),
    ];
    let op = prop_oneof![
        4 => kind.prop_map(Op::Send),
        1 => any::<usize>().prop_map(Op::Release),
        1 => (1..30u64).prop_map(Op::Pass),
    ];
    prop::collection::vec(op, 1..100)
}

/// A log whose clients do not retry.
struct Plain<'a>(&'a mut Log);

/// A numbered record.
#[derive(Debug)]
struct Numbered(usize, Record);

impl Sent for Numbered {
    fn record(&self) -> &Record {
        &self.1
    }
}

impl Leader<Numbered> for Plain<'_> {
    fn judge(&mut self, _: &[&Record]) -> Option<Error> {
        None
    }

    fn number(&mut self, _: &Numbered, _: &Record, _: &mut Tries) {}

    fn write(&mut self, _: &Numbered, record: &Record, timestamp: Timestamp, _: &Tries) -> Result<Delivery> {
        self.0.append(record, 0, timestamp, Origin::default())
    }

    fn again(&mut self, _: &Numbered, _: &Record, _: &Tries, _: &Error) -> Option<Action> {
        None
    }
}

/// A queue with its clock.
struct Bench {
    log: Log,
    waits: Waits,
    queue: PartitionQueue<Numbered>,
    now: Instant,
    holds: Vec<WaitId>,
    kinds: Vec<Kind>,
    settled: Vec<Settled<Numbered>>,
}

impl Bench {
    fn new() -> Self {
        let mut log = Log::default();
        log.create("t".into(), 1).unwrap();
        Self {
            log,
            waits: Waits::default(),
            queue: PartitionQueue::new(0),
            now: Instant::now(),
            holds: Vec::new(),
            kinds: Vec::new(),
            settled: Vec::new(),
        }
    }

    fn send(&mut self, kind: Kind) {
        let mut action = Action::default();
        match kind {
            Kind::Plain => {}
            Kind::Late(millis) => action.late = Duration::from_millis(millis),
            Kind::Hold | Kind::HoldAppend => {
                let wait = self.waits.hold();
                self.holds.push(wait);
                let hold = if matches!(kind, Kind::Hold) { &mut action.answer_hold } else { &mut action.append_hold };
                *hold = Some(wait);
            }
            Kind::LoseAnswer => action.answer = Answer::Lost,
            Kind::LoseRequest => {
                action.answer = Answer::Lost;
                action.write = false;
            }
        }
        let n = self.kinds.len();
        self.kinds.push(kind);
        let record = Record::new("t").with_value(n.to_string());
        let entry = Entry::new(Numbered(n, record), Timestamp::from_millis(0), action, self.now);
        self.queue.push(entry, &mut self.waits);
        self.advance();
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.waits.end_until(self.now);
        self.advance();
    }

    fn release(&mut self, wait: WaitId) {
        self.waits.end(wait);
        self.advance();
    }

    fn advance(&mut self) {
        let Self { log, waits, queue, now, settled, .. } = self;
        queue.advance(&mut Plain(log), waits, *now, &mut |entry| settled.push(entry));
    }

    fn written(&self) -> Vec<usize> {
        let number = |r: &crate::StoredRecord| std::str::from_utf8(r.value().unwrap()).unwrap().parse().unwrap();
        self.log.partition("t", 0).unwrap().records().iter().map(number).collect()
    }
}

proptest! {
    /// Log order and answer order are call order, no record waits for ever, and each answer is that of its action.
    #[test]
    fn a_partition_keeps_order_and_answers_all(ops in ops()) {
        let mut bench = Bench::new();
        for op in ops {
            match op {
                Op::Send(kind) => bench.send(kind),
                Op::Release(which) if !bench.holds.is_empty() => {
                    let wait = bench.holds.swap_remove(which % bench.holds.len());
                    bench.release(wait);
                }
                Op::Release(_) => {}
                Op::Pass(millis) => bench.pass(millis),
            }
            // Only a held append may block records from reaching the log.
            let blocked = bench.queue.queue.get(bench.queue.arrived);
            prop_assert!(blocked.is_none_or(|entry| bench.waits.is_open(entry.action.append_hold)));
        }
        for wait in std::mem::take(&mut bench.holds) {
            bench.release(wait);
        }
        bench.pass(1_000);
        let sent = bench.kinds.len();
        prop_assert_eq!(bench.settled.iter().map(|s| s.who.0).collect::<Vec<_>>(), (0..sent).collect::<Vec<_>>());
        let expected: Vec<_> = (0..sent).filter(|n| !matches!(bench.kinds[*n], Kind::LoseRequest)).collect();
        prop_assert_eq!(bench.written(), expected);
        for Settled { who, outcome, .. } in &bench.settled {
            let lost = matches!(bench.kinds[who.0], Kind::LoseAnswer | Kind::LoseRequest);
            prop_assert_eq!(outcome.is_err(), lost);
        }
    }
}

#[test]
fn a_delay_counts_from_the_arrival() {
    let mut bench = Bench::new();
    bench.send(Kind::HoldAppend);
    bench.send(Kind::Late(10));
    bench.pass(100);
    assert!(bench.written().is_empty());
    let wait = bench.holds.remove(0);
    bench.release(wait);
    assert_eq!((bench.written(), bench.settled.len()), (vec![0, 1], 1));
    bench.pass(9);
    assert_eq!(bench.settled.len(), 1);
    bench.pass(1);
    assert_eq!(bench.settled.len(), 2);
}

#[test]
fn the_end_of_a_runtime_settles_only_the_records_that_it_delayed() {
    let mut bench = Bench::new();
    bench.send(Kind::Late(5));
    bench.send(Kind::Late(10));
    bench.send(Kind::Plain);
    let dead = bench.waits.end_at(bench.now + Duration::from_millis(10));
    bench.queue.fail_timers(&dead);
    bench.advance();
    assert!(bench.settled.is_empty(), "the first one's runtime still runs");
    bench.pass(5);
    let errors: Vec<_> = bench.settled.iter().map(|s| s.outcome.is_err()).collect();
    assert_eq!(errors, [false, true, false]);
}
