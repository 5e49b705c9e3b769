//! The ledger under a transport whose reports arrive at the worst moment.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::gate::{Gated, Limits, Permit};
use crate::{
    CloseReport, Control, ControlFuture, Delivery, Error, ErrorKind, InFlight, Persistence, Record, Result,
    TransactionControl,
};

mod giving_up;

type Call = Arc<Slot<Delivery>>;

/// Transport with a report that arrives while it learns of a failure, as from another thread.
struct Wire {
    ledger: Ledger<Delivery>,
    arrives: Mutex<Option<Call>>,
    /// Permits that the report returned.
    returned: Mutex<usize>,
    /// How often it was asked for reasons.
    asked: AtomicUsize,
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

    fn reasons(&self) -> impl Fn(&Slot<Delivery>) -> Option<String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        |_: &Slot<Delivery>| Some("the wire is cut".to_owned())
    }
}

#[test]
fn two_outcomes_at_once_count_as_one() {
    for closing in [false, true] {
        let wire = wire(1);
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
        let wire = wire(1);
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

/// Control of a transport whose flush never ends.
#[derive(Debug)]
struct Whole;

impl Control for Whole {
    fn flush(&self) -> ControlFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn close(&self, _: Duration) -> ControlFuture<'_, CloseReport> {
        unreachable!("a tenant closes nothing else")
    }

    fn partition_count(&self, _: &str) -> Option<u32> {
        None
    }

    fn in_flight(&self) -> InFlight {
        InFlight::default()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}

fn wire(records: usize) -> Arc<Wire> {
    let ledger = Ledger::new(Limits { records, bytes: 100 }, None);
    Arc::new(Wire { ledger, arrives: Mutex::default(), returned: Mutex::default(), asked: AtomicUsize::new(0) })
}

fn call(wire: &Arc<Wire>, control: &Arc<dyn Control>) -> Result<Call> {
    let at = Instant::now() + Duration::from_secs(60);
    let record = Record::new("orders").with_expires_at(at).with_tenant(control.tenant());
    let slot = Arc::new(Slot::new(record, Instant::now()));
    wire.ledger.watch(&slot)?;
    wire.handle().call(Arc::clone(&slot), 1).unwrap();
    Ok(slot)
}

fn poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn a_tenant_ends_at_its_deadline_and_the_others_go_on() {
    let wire = wire(2);
    let [one, other] = [(); 2].map(|()| TenantControl::open(&wire, Arc::new(Whole)).unwrap());
    assert_ne!(one.tenant(), other.tenant());
    let (handed_over, _of_the_other, parked) =
        (call(&wire, &one).unwrap(), call(&wire, &other).unwrap(), call(&wire, &one).unwrap());
    let (now, hour) = (Instant::now(), Duration::from_secs(3600));
    let mut close = one.close(hour);
    assert!(poll(&mut close).is_pending());
    assert_eq!(call(&wire, &one).unwrap_err().message(), "not sent to orders: its sink was closed");
    assert!(wire.ledger.next_deadline().is_some());
    let mut sooner = one.close(Duration::from_secs(1));
    let time_out = |_: &Slot<Delivery>, _| Error::new(ErrorKind::Timeout, "late");
    wire.expire(now, time_out);
    assert!(poll(&mut close).is_pending() && poll(&mut sooner).is_pending(), "not before its time");
    wire.expire(now + Duration::from_secs(2), time_out);
    let std::task::Poll::Ready(Ok(report)) = poll(&mut close) else { panic!("its time is over") };
    assert_eq!((report.failed, report.unknown), (1, 1), "{report:?}");
    let std::task::Poll::Ready(Ok(report)) = poll(&mut sooner) else { panic!("the same end") };
    assert!(report.is_complete(), "reported once");
    for (slot, persistence) in [(&parked, Persistence::NotPersisted), (&handed_over, Persistence::PossiblyPersisted)] {
        let outcome = slot.poll(&std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(matches!(outcome, std::task::Poll::Ready(Err(error)) if error.persistence() == persistence));
    }
    assert_eq!((one.in_flight(), other.in_flight().records), (InFlight::default(), 1));
    assert!(call(&wire, &other).is_ok());
}

#[test]
fn a_record_that_the_gate_refuses_after_all_is_not_waited_for() {
    let wire = wire(2);
    let one = TenantControl::open(&wire, Arc::new(Whole)).unwrap();
    let record = Record::new("orders").with_tenant(one.tenant());
    let slot = Arc::new(Slot::new(record, Instant::now()));
    wire.ledger.watch(&slot).unwrap();
    let mut flush = one.flush();
    assert!(poll(&mut flush).is_pending());
    assert!(wire.handle().call(slot, 101).is_err(), "larger than the gate");
    assert!(poll(&mut flush).is_ready());
}

#[test]
fn numbers_of_tenants_are_used_again_when_nothing_has_them() {
    let wire = wire(2);
    let open = || TenantControl::open(&wire, Arc::new(Whole)).unwrap();
    let first = open();
    let kept = call(&wire, &first).unwrap();
    let (used, mut close) = (first.tenant(), first.close(Duration::ZERO));
    assert!(poll(&mut close).is_ready());
    drop(close);
    drop(first);
    let all = (1..u16::MAX).map(|_| open()).collect::<Vec<_>>();
    assert!(all.iter().all(|control| control.tenant() != used), "its record is in flight");
    assert!(TenantControl::open(&wire, Arc::new(Whole)).is_none());
    wire.release(wire.settle(&kept, Ok(Delivery::new("orders", 0))));
    drop(kept);
    let again = open();
    assert_eq!(again.tenant(), used);
    assert!(call(&wire, &again).is_ok(), "it is not closed any more");
}
