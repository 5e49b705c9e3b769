//! What a gate costs: records that are admitted, and whose room is returned in hundreds.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Waker};

use kafka_tower_core::gate::{Gate, Gated, Limits, Permit};

use crate::cases::Run;

/// Records whose room is returned together.
const BATCH: usize = 100;

thread_local! {
    static PERMITS: RefCell<Vec<Permit>> = const { RefCell::new(Vec::new()) };
}

struct Wire(Gate<u64>);

impl Gated for Wire {
    type Item = u64;

    fn gate(&self) -> &Gate<u64> {
        &self.0
    }

    fn enqueue(self: &Arc<Self>, item: u64, permit: Permit) -> Result<(), Permit> {
        black_box(item);
        PERMITS.with_borrow_mut(|permits| permits.push(permit));
        Ok(())
    }
}

/// Asks a handle for room, calls it, and returns the room.
pub(crate) fn round() -> Run {
    let wire = Arc::new(Wire(Gate::new(Limits { records: 1_000, bytes: 1 << 20 })));
    let mut handle = wire.handle();
    Box::new(move |n| {
        let mut cx = Context::from_waker(Waker::noop());
        for i in 0..n {
            assert!(handle.poll_ready(&mut cx).is_ready());
            handle.call(i as u64, 100).expect("there is room");
            if i % BATCH == BATCH - 1 {
                PERMITS.with_borrow_mut(|permits| wire.release(permits.drain(..)));
            }
        }
        PERMITS.with_borrow_mut(|permits| wire.release(permits.drain(..)));
    })
}
