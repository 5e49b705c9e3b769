use std::sync::Arc;

use super::{Flush, Gate, GateHandle, Limits, Permit};

/// Transport behind a [`Gate`]: takes the records that the gate admits.
///
/// The handles and the delivery reports of one transport all hand records over here, so that a record which had to
/// wait takes the same way as any other.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use kafka_tower_core::gate::{Gate, Gated, Limits, Permit};
///
/// struct Wire {
///     gate: Gate<&'static str>,
///     sent: Mutex<Vec<(&'static str, Permit)>>,
/// }
///
/// impl Gated for Wire {
///     type Item = &'static str;
///
///     fn gate(&self) -> &Gate<&'static str> {
///         &self.gate
///     }
///
///     fn enqueue(self: &Arc<Self>, name: &'static str, permit: Permit) -> Result<(), Permit> {
///         self.sent.lock().unwrap().push((name, permit));
///         Ok(())
///     }
/// }
///
/// let gate = Gate::new(Limits { records: 1, bytes: 100 });
/// let wire = Arc::new(Wire { gate, sent: Mutex::default() });
/// let mut handle = wire.handle();
/// handle.call("first", 10).unwrap();
/// handle.call("second", 10).unwrap();
/// let (name, permit) = wire.sent.lock().unwrap().remove(0);
/// assert_eq!(name, "first");
/// assert!(wire.sent.lock().unwrap().is_empty(), "the second is parked");
///
/// // The report of the first one hands over the second one.
/// wire.release([permit]);
/// assert_eq!(wire.sent.lock().unwrap()[0].0, "second");
/// ```
pub trait Gated: Send + Sync + Sized + 'static {
    /// What the gate parks: a record together with whatever settles it.
    type Item;

    /// The gate of this transport.
    fn gate(&self) -> &Gate<Self::Item>;

    /// Takes an admitted record. It is called outside the gate's lock and must not panic.
    ///
    /// # Errors
    ///
    /// Returns the permit of a record that takes no room any more, because it was settled at once.
    fn enqueue(self: &Arc<Self>, item: Self::Item, permit: Permit) -> Result<(), Permit>;

    /// Takes an admitted record that was parked before, as [`enqueue`](Self::enqueue) does, which is the default.
    ///
    /// # Errors
    ///
    /// As `enqueue`.
    fn enqueue_parked(self: &Arc<Self>, item: Self::Item, permit: Permit) -> Result<(), Permit> {
        self.enqueue(item, permit)
    }

    /// Creates a handle. Each handle of the transport needs its own.
    fn handle(self: &Arc<Self>) -> GateHandle<Self> {
        GateHandle::new(Arc::clone(self))
    }

    /// Returns the room of settled records: the delivery report calls it. Hands over parked records, then wakes
    /// waiting handles.
    fn release(self: &Arc<Self>, permits: impl IntoIterator<Item = Permit>) {
        self.gate().settle(permits, 0, |item, permit| self.enqueue_parked(item, permit));
    }

    /// Changes the limits, for example when a topic's partitions become known. Hands over parked records that now
    /// fit, then wakes all waiting handles if there is room left.
    fn set_limits(self: &Arc<Self>, limits: Limits) {
        self.gate().set_limits(limits);
        self.gate().settle([], usize::MAX, |item, permit| self.enqueue_parked(item, permit));
    }

    /// Withdraws the parked records for which `which` returns true, in order, and returns their number. Each one is
    /// passed to `settle` and counts as settled afterwards, so that a [`flush`](Self::flush) resolves only after its
    /// outcome is known. `which` runs under the gate's lock.
    fn withdraw(self: &Arc<Self>, which: impl FnMut(&Self::Item) -> bool, settle: impl FnMut(Self::Item)) -> usize {
        let count = self.gate().take_parked(which, settle);
        if count > 0 {
            // A withdrawn record may have been the head of the queue, which did not fit and blocked the others.
            self.gate().settle([], count, |item, permit| self.enqueue_parked(item, permit));
        }
        count
    }

    /// Resolves when all records called before are settled.
    fn flush(self: &Arc<Self>) -> Flush<Self> {
        Flush::new(Arc::clone(self))
    }
}
