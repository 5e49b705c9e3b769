//! The ledger under a transport whose reports arrive at the worst moment.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use crate::gate::{Gated, Limits, Permit};
use crate::{Delivery, Error, ErrorKind, Record, Result};

type Call = Arc<Slot<Delivery>>;

/// Transport with a report that arrives while it learns of a failure, as from another thread.
struct Wire {
    ledger: Ledger<Delivery>,
    arrives: Mutex<Option<Call>>,
    /// Permits that the report returned.
    returned: Mutex<usize>,
}

impl Gated for Wire {
    type Item = Call;

    fn gate(&self) -> &Gate<Call> {
        self.ledger.gate()
    }

    fn enqueue(self: &Arc<Self>, slot: Call, permit: Permit) -> Result<(), Permit> {
        slot.admit(permit);
        Ok(())
    }
}

impl RecordTransport for Wire {
    type Acknowledgement = Delivery;

    fn ledger(&self) -> &Ledger<Delivery> {
        &self.ledger
    }

    fn failed(&self, _slot: &Slot<Delivery>, _error: &Error) {
        if let Some(slot) = self.arrives.lock().unwrap().take() {
            let permit = self.settle(&slot, Ok(Delivery::new("orders", 0)));
            *self.returned.lock().unwrap() += usize::from(permit.is_some());
        }
    }
}

#[test]
fn two_outcomes_at_once_count_as_one() {
    for closing in [false, true] {
        let ledger = Ledger::new(Limits { records: 1, bytes: 100 }, None);
        let wire = Arc::new(Wire { ledger, arrives: Mutex::default(), returned: Mutex::default() });
        let slot = Arc::new(Slot::new(Record::new("orders"), Instant::now()));
        wire.handle().call(Arc::clone(&slot), 1).unwrap();
        let close = closing.then(|| wire.ledger.closing().begin(None));
        *wire.arrives.lock().unwrap() = Some(Arc::clone(&slot));
        let permit = wire.settle(&slot, Err(Error::new(ErrorKind::Closed, "given up")));
        assert_eq!(*wire.returned.lock().unwrap() + usize::from(permit.is_some()), 1, "the permit returns once");
        wire.release(permit);
        assert!(slot.has_failed(), "the transport was told that it failed");
        if let Some(close) = close {
            let report = close.report();
            assert_eq!((report.delivered, report.failed + report.unknown), (0, 1), "{report}");
        }
    }
}

/// An error needs other locks, which another thread may hold while it waits for the record's.
#[test]
fn errors_of_overdue_records_are_made_without_the_records_lock() {
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let ledger = Ledger::new(Limits { records: 1, bytes: 100 }, None);
        let wire = Arc::new(Wire { ledger, arrives: Mutex::default(), returned: Mutex::default() });
        let slot = Arc::new(Slot::new(Record::new("orders"), Instant::now()));
        wire.handle().call(Arc::clone(&slot), 1).unwrap();
        let error = |slot: &Slot<Delivery>, handed_over: bool| {
            assert!(slot.is_awaited(), "locks the record");
            Error::new(ErrorKind::Timeout, if handed_over { "handed over" } else { "held" })
        };
        wire.time_out(&[Arc::clone(&slot)], Instant::now(), error);
        let outcome = slot.poll(&std::task::Context::from_waker(std::task::Waker::noop()));
        done.send(outcome.map(|outcome| outcome.unwrap_err().message().to_owned())).unwrap();
    });
    let outcome = end.recv_timeout(std::time::Duration::from_secs(60)).expect("a deadlock");
    assert_eq!(outcome, std::task::Poll::Ready("handed over".to_owned()));
}
