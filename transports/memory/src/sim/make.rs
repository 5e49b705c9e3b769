use std::future::Future;
use std::sync::Arc;

use kafka_tower_core::{Control, Delivery, Error, Record, Result};
use tower_service::Service;

use crate::MemoryTransport;

/// Makes the stack that a check runs. Each function from a transport to a service of records does.
pub trait MakeStack {
    /// The stack.
    type Stack: Service<Record, Response = Delivery, Error: Into<Error>> + Clone;

    /// Makes the stack of one run, inside the run's runtime.
    ///
    /// A stack that has a control of its own is closed by it, and with transactions also begins and ends them by it. Without
    /// one these are the transport's.
    ///
    /// # Errors
    ///
    /// Faults also hit this call: if it fails, it is called again with a new transport.
    fn make(&self, transport: MemoryTransport) -> impl Future<Output = Result<Made<Self::Stack>>>;
}

/// A stack, and its own control if it has one.
pub type Made<S> = (S, Option<Arc<dyn Control>>);

impl<F, S> MakeStack for F
where
    F: Fn(MemoryTransport) -> S,
    S: Service<Record, Response = Delivery, Error: Into<Error>> + Clone,
{
    type Stack = S;

    async fn make(&self, transport: MemoryTransport) -> Result<Made<S>> {
        Ok((self(transport), None))
    }
}

/// Number of times that a failed connect is tolerated.
pub(super) const CONNECTS: u32 = 100;

/// Ends a run whose stack cannot be made.
#[track_caller]
pub(super) fn not_made(error: &Error) -> ! {
    panic!("no stack was made: {error:#}")
}
