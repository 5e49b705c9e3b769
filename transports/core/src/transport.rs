use std::future::Future;

use tower_service::Service;

use crate::{Delivery, Error, Record};

/// A tower service that sends records to Kafka and returns their outcome.
///
/// It is an alias for every `Service<Record, Response = Delivery, Error = Error>` that is `Clone` and `Send`,
/// including a stack of layers over a transport. The types cannot express these laws:
///
/// 1. **Call order is log order.** `call` fixes the record's position before it returns: two calls on one handle
///    reach a partition in the order of the calls, whatever the order in which their futures are polled.
/// 2. **The future resolves** when the record's outcome is known or its deadline passes. Dropping it cancels nothing:
///    the record's delivery report, not its future, returns the room.
/// 3. **Back-pressure is `Poll::Pending`** with a registered waker, exact in records and in bytes, and woken by
///    delivery reports, without sleeping or polling. The [`Gate`](crate::gate::Gate) implements it.
/// 4. **`poll_ready` does not fail** for a temporary condition: an error means that the service cannot be used any
///    more, and `Buffer` makes it permanent.
/// 5. **Every error states its [persistence](crate::Persistence).** If it cannot be known, it is `PossiblyPersisted`.
///    [`codes`](crate::codes) and [`error::transport`](crate::error::transport) make such errors.
/// 6. **Connecting means connected**: creating a transport finds a broker, the topics and, for an idempotent
///    producer, its producer id within a time-out, or fails with the cause.
/// 7. **A refusal states its [scope](crate::Scope)**: `Batch` unless the broker is known to have refused this record.
/// 8. **Nothing is lost silently**: `close` delivers or reports, and dropping the last handle without `close` logs a
///    warning with the number of undelivered records. The transport reports when it has
///    [accepted](crate::handover::taken) a record and when its future has [resolved](crate::handover::returned). With
///    transactions, it accounts for the record's [ticket](crate::ticket) when it accepts the record, and no [commit](crate::TransactionControl) succeeds without every accepted record, and a close or the
///    drop of the last handle [aborts](crate::Control::close) an open transaction.
///
/// The package `kafka-tower-testkit` has a test for each law that a test can check, and `docs/transport.md` explains how
/// to write a transport.
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
