use std::future::Future;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Waker;

use super::*;
use crate::ledger::wait::{Wait, Waiting};
use crate::outstanding::Outstanding;
use crate::{ErrorKind, Persistence, Tenant};

fn expired(now: Instant, unseen: &Outstanding<Tenant>) -> Slot<Delivery> {
    let slot = Slot::new(Record::new("orders").with_expires_at(now), now);
    slot.admit(permit());
    slot.expire(now, |_| Error::new(ErrorKind::Timeout, "late"), unseen);
    slot
}

fn permit() -> Permit {
    Permit { bytes: 1, epoch: NonZeroU64::MIN }
}

fn poll(slot: &Slot<Delivery>) -> Poll<Result<Delivery>> {
    slot.poll(&Context::from_waker(Waker::noop()))
}

#[test]
fn an_outcome_that_arrives_before_the_time_out_is_read_takes_its_place() {
    let (now, unseen) = (Instant::now(), Outstanding::new());
    let slot = expired(now, &unseen);
    assert_eq!(unseen.count(), 1);
    assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen), wake).is_some(), "its room comes back");
    assert_eq!(unseen.count(), 0, "no failure is left");
    assert!(poll(&slot).map(|outcome| outcome.is_ok()) == Poll::Ready(true));

    let slot = expired(now, &unseen);
    let refused = Error::new(ErrorKind::Rejected, "refused");
    assert!(slot.settle(Err(refused), Some(&unseen), wake).is_some());
    assert_eq!(unseen.count(), 1, "until it is read");
    assert!(poll(&slot).map(|outcome| outcome.unwrap_err().kind()) == Poll::Ready(ErrorKind::Rejected));
}

#[test]
fn an_outcome_that_arrives_after_the_time_out_was_read_changes_nothing() {
    let (now, unseen) = (Instant::now(), Outstanding::new());
    let slot = expired(now, &unseen);
    let Poll::Ready(Err(error)) = poll(&slot) else { panic!("it has expired") };
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen), wake).is_some());
    assert!(poll(&slot).is_pending());
}

#[test]
fn a_record_that_is_admitted_after_it_was_settled_keeps_its_outcome_and_returns_its_room() {
    let unseen = Outstanding::new();
    let slot = Slot::new(Record::new("orders"), Instant::now());
    assert!(slot.settle(Err(Error::new(ErrorKind::Closed, "given up")), Some(&unseen), wake).is_none());
    slot.admit(permit());
    assert!(slot.is_settled());
    assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen), wake).is_some());
    assert!(poll(&slot).map(|outcome| outcome.unwrap_err().kind()) == Poll::Ready(ErrorKind::Closed));
}

#[test]
fn the_wait_for_room_is_not_time_in_the_client() {
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    let slot = || Slot::<Delivery>::new(Record::new("orders"), now);
    let time = |slot: &Slot<Delivery>| slot.unanswered(after(9)).handed_over_for().map(|time| time.as_secs());
    let at_once = slot();
    at_once.admit(permit());
    let parked = slot();
    assert_eq!((time(&at_once), time(&parked)), (Some(9), None));
    parked.leave_gate(after(2));
    parked.admit(permit());
    let held = slot();
    held.admit_held(permit());
    assert_eq!((time(&parked), time(&held), held.is_in_producer()), (Some(7), None, false));
    assert!(held.hand_over(after(5)) && !held.hand_over(after(6)));
    assert_eq!((time(&held), held.is_in_producer()), (Some(4), true));
}

#[test]
fn a_lost_record_keeps_its_room_for_the_transport() {
    let unseen = Outstanding::new();
    let slot = Slot::new(Record::new("orders"), Instant::now());
    slot.admit(permit());
    slot.lose(Error::new(ErrorKind::Closed, "lost"));
    assert!(poll(&slot).map(|outcome| outcome.unwrap_err().kind()) == Poll::Ready(ErrorKind::Closed));
    let again = || slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen), wake);
    assert!(again().is_some());
    assert!(again().is_none(), "once");
}

#[test]
fn a_parked_record_does_not_expire_here() {
    let (now, unseen) = (Instant::now(), Outstanding::new());
    let slot: Slot<Delivery> = Slot::new(Record::new("orders"), now);
    slot.expire(now + Duration::from_secs(1), |_| unreachable!("the gate withdraws it"), &unseen);
    assert!(slot.is_parked());
}

#[test]
fn a_flush_whose_future_was_dropped_is_not_kept() {
    let (now, unseen) = (Instant::now(), Outstanding::new());
    let slot = Slot::<Delivery>::new(Record::new("orders"), now);
    slot.admit(permit());
    for _ in 0..1_000 {
        slot.attach(&Wait::new(None));
    }
    let lasting = Wait::new(None);
    slot.attach(&lasting);
    lasting.end();
    assert_eq!(slot.state().rare().waits.len(), 1);
    let mut waiting = Waiting(lasting);
    let mut poll = || std::pin::Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen), wake).is_some());
    assert!(poll().is_ready());
}

/// Source of an error, as an application may make it: it looks at the record's lock when it is dropped.
#[derive(Debug)]
struct Source(std::sync::Weak<Slot<Delivery>>, std::sync::mpsc::Sender<bool>);

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("planted")
    }
}

impl std::error::Error for Source {}

impl Drop for Source {
    fn drop(&mut self) {
        let _nobody_looks = self.1.send(self.0.upgrade().is_some_and(|slot| slot.state.try_lock().is_ok()));
    }
}

#[test]
fn a_time_out_that_an_outcome_replaces_is_dropped_without_the_lock() {
    let (now, unseen) = (Instant::now(), Outstanding::new());
    let slot = Arc::new(Slot::new(Record::new("orders").with_expires_at(now), now));
    slot.admit(permit());
    let (dropped, unlocked) = std::sync::mpsc::channel();
    let error = Error::new(ErrorKind::Timeout, "late").with_source(Source(Arc::downgrade(&slot), dropped));
    slot.expire(now, |_| error, &unseen);
    assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen), wake).is_some());
    assert_eq!(unlocked.try_recv(), Ok(true));
}
