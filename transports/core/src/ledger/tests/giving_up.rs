//! What a tenant's close gives up, and what is left of it.

use std::sync::Weak;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::*;
use crate::Tenant;

fn time_out(_: &Slot<Delivery>, _: bool) -> Error {
    Error::new(ErrorKind::Timeout, "late")
}

fn watched(wire: &Arc<Wire>, record: Record) -> Call {
    let slot = Arc::new(Slot::new(record, Instant::now()));
    wire.ledger.watch(&slot).unwrap();
    slot
}

/// Value of a record whose owner is the application's: it looks at the lock when it is dropped.
struct Owner {
    wire: Weak<Wire>,
    unlocked: Arc<Mutex<Vec<bool>>>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        b"value"
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let unlocked = self.wire.upgrade().is_some_and(|wire| wire.ledger.deadlines.try_lock().is_ok());
        self.unlocked.lock().unwrap().push(unlocked);
    }
}

#[test]
fn a_report_that_nobody_took_is_dropped_without_the_lock() {
    let (wire, unlocked) = (wire(2), Arc::<Mutex<Vec<bool>>>::default());
    let one = TenantControl::open(&wire, Arc::new(Whole)).unwrap();
    let owner = Owner { wire: Arc::downgrade(&wire), unlocked: Arc::clone(&unlocked) };
    let record = Record::new("orders").with_value(Bytes::from_owner(owner)).with_tenant(one.tenant());
    let slot = watched(&wire, record);
    wire.handle().call(Arc::clone(&slot), 1).unwrap();
    drop(one.close(Duration::from_secs(60)));
    wire.release(wire.settle(&slot, Err(Error::new(ErrorKind::Rejected, "refused"))));
    drop((one, slot));
    assert!(unlocked.lock().unwrap().is_empty(), "the report has it");
    assert_eq!(wire.ledger.next_deadline(), None);
    assert_eq!(*unlocked.lock().unwrap(), [true]);
}

#[test]
fn a_close_that_is_called_again_and_again_is_kept_once() {
    let wire = wire(2);
    let one = TenantControl::open(&wire, Arc::new(Whole)).unwrap();
    let _unanswered = call(&wire, &one).unwrap();
    let now = Instant::now();
    for seconds in [60, 30, 90, 45] {
        drop(one.close(Duration::from_secs(seconds)));
    }
    let due = |seconds: u64| wire.ledger.due_closes(now + Duration::from_secs(seconds)).len();
    assert_eq!((due(20), due(3_600)), (0, 1));
}

#[test]
fn a_record_that_is_being_handed_over_is_looked_at_again_a_little_later() {
    let wire = wire(2);
    let one = TenantControl::open(&wire, Arc::new(Whole)).unwrap();
    // Watched, and not called yet: another thread is about to call it.
    let of_the_tenant = watched(&wire, Record::new("orders").with_tenant(one.tenant()));
    let mut close = one.close(Duration::from_secs(1));
    let now = Instant::now() + Duration::from_secs(2);
    wire.expire(now, time_out);
    assert!(wire.ledger.next_deadline().unwrap() > now, "its driver would spin");
    wire.handle().call(Arc::clone(&of_the_tenant), 1).unwrap();
    let later = wire.ledger.next_deadline().unwrap();
    wire.expire(later, time_out);
    assert!(matches!(poll(&mut close), Poll::Ready(Ok(report)) if report.unknown == 1));

    let of_none = watched(&wire, Record::new("orders").with_expires_at(now));
    wire.expire(later, time_out);
    let again = wire.ledger.next_deadline().unwrap();
    assert!(again > later, "its driver would spin");
    wire.handle().call(Arc::clone(&of_none), 1).unwrap();
    wire.expire(again, time_out);
    assert!(of_none.poll(&Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn records_that_are_given_up_share_one_look_at_the_transport() {
    let wire = wire(2);
    let one = TenantControl::open(&wire, Arc::new(Whole)).unwrap();
    let _calls = [(); 3].map(|()| call(&wire, &one).unwrap());
    let mut close = one.close(Duration::ZERO);
    let Poll::Ready(Ok(report)) = poll(&mut close) else { panic!("its time is over") };
    assert_eq!((report.failed, report.unknown), (1, 2), "one of them waited for room");
    assert!(report.undelivered.iter().all(|left| left.error.message().contains("the wire is cut")), "{report:?}");
    assert_eq!(wire.asked.load(Ordering::Relaxed), 1);
    // What the application sends again belongs to whatever sink it sends it with.
    assert!(report.undelivered.iter().all(|left| left.record.tenant() == Tenant::default()));
}
