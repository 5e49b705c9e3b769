use std::future::Future;

use tower_service::Service;

use crate::{Delivery, Error, Record};

/// A tower service that takes records and answers with their fate: the seam between layers and Kafka.
///
/// It is an alias: every `Service<Record, Response = Delivery, Error = Error>` that can be cloned and sent
/// is one, a stack of layers over a transport too. What the types cannot say are the laws:
///
/// 1. **Call order is log order.** `call` fixes the record's place before it returns: two calls on one handle reach
///    a partition in the order of the calls, in whatever order their futures are polled.
/// 2. **The future resolves** when the record's fate is known or its time is up. Dropping it cancels nothing;
///    the record's room is given back by its delivery report, not by its future.
/// 3. **Back-pressure is `Poll::Pending`** with a registered waker, exact in records and in bytes, and woken by
///    delivery reports. No sleep, no polling. The [`Gate`](crate::gate::Gate) does it.
/// 4. **`poll_ready` does not fail** for a condition that passes: an error there means that the service is finished
///    for good, and `Buffer` makes it permanent.
/// 5. **Every error says its [persistence](crate::Persistence).** What cannot be known is `PossiblyPersisted`.
/// 6. **Connecting means connected**: making a transport finds a broker, the topics and, for an idempotent producer,
///    its id within a time-out, or fails with the cause.
/// 7. **A refusal says its [scope](crate::Scope)**: `Batch` unless it is known to be this record's own.
/// 8. **Nothing is lost silently**: `close` delivers or reports, and dropping the last handle without `close` warns
///    with the number of undelivered records. It says what it has [taken](crate::handover::taken) and when its future has
///    [answered](crate::handover::returned). With transactions, no [commit](crate::TransactionControl) goes well without what was taken, and a
///    close, or the drop of the last handle, [aborts](crate::Control::close) what is open.
///
/// One suite runs them on each transport of this project.
pub trait Transport:
    Service<
        Record,
        Response = Delivery,
        Error = Error,
        Future: Future<Output = Result<Delivery, Error>> + Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Transport for S where
    S: Service<
            Record,
            Response = Delivery,
            Error = Error,
            Future: Future<Output = Result<Delivery, Error>> + Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}
