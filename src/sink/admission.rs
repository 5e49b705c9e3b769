//! Admission: how a message gets into the stack, for `send`, `send_batch`, `send_stream` and `Service::call` alike.
//!
//! Check whether the sink rejects every send, poll the stack for readiness, stamp the deadline, attach the message to the
//! transaction, call. Readiness is used in the poll that got it, so that no handle is ready and idle.

use std::time::Instant;

use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Result, SinkMessage};

use super::called::ObservedCall;
use super::deadline;
use super::inner::SinkInner;

impl<T> SinkInner<T> {
    /// Prepares a message for its call: takes the key from its type, writes its deadline, counted from `since`, and its tenant,
    /// and attaches it to the transaction.
    ///
    /// # Errors
    ///
    /// If it may not join the open transaction. Then drop the handle whose readiness was not used.
    #[inline]
    pub(super) fn admit(&self, message: &mut SinkMessage<T>, since: Instant) -> Result<Option<Ticket>> {
        if let Some(complete) = self.complete {
            complete(message);
        }
        deadline::stamp(message, since, self.parts.send_timeout);
        let envelope = message.envelope_mut();
        envelope.set_tenant(self.parts.tenant);
        envelope.set_profile(self.profile);
        self.ticket(message)
    }

    /// Observes the call of an admitted message, to be made next. The message is not passed through here: each helper
    /// that it is passed to would copy it once more.
    #[inline(always)]
    pub(super) fn observe(&self, message: &SinkMessage<T>) -> ObservedCall {
        ObservedCall::begin(self.known(message))
    }
}
