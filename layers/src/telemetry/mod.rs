//! OpenTelemetry for each send: a span, its context in the record's headers, and metrics.
//!
//! # Names
//!
//! All are constants in [`semconv`], of OpenTelemetry's messaging conventions where those have a name.
//!
//! | span | kind | what |
//! |---|---|---|
//! | `send {topic}` | PRODUCER; CLIENT if the message came with a context of its own | one message, from its call to its delivery report |
//! | `send {topic}` of a batch | CLIENT; PRODUCER without `create` spans | `send_batch`, linked to what it sends |
//! | `create {topic}` | PRODUCER | a message of a batch, from its call to its delivery report: its context is what the headers carry |
//! | `transaction` | INTERNAL | from begin to the end of a transaction; sends link to it |
//!
//! | attribute | on | when |
//! |---|---|---|
//! | `messaging.system`, `messaging.operation.name`, `messaging.operation.type` | spans | start |
//! | `messaging.destination.name` | spans; of a batch, if all its messages have one topic | start; of a batch, end |
//! | `messaging.client.id`, `server.address`, `server.port`, `messaging.kafka.cluster.id` | spans, where the application tells them | start |
//! | `messaging.kafka.message.tombstone` | messages without a value | start |
//! | `messaging.kafka.message.key` | only by choice | start |
//! | `messaging.destination.partition.id`, `messaging.kafka.offset` | messages that were delivered | end |
//! | `messaging.batch.message_count`, `kafka_tower.batch.failed` | batches | end |
//! | `error.type`, `kafka_tower.persistence` | what failed, with status `Error` | end |
//! | `kafka_tower.attempts` | what was tried more than once | end |
//! | `kafka_tower.transaction.outcome`, `kafka_tower.transaction.messages` | transactions | end |
//!
//! | event | on | attributes |
//! |---|---|---|
//! | `kafka_tower.retry` | the send, or its batch | `kafka_tower.retry.attempt`, `kafka_tower.retry.delay`, `kafka_tower.retry.alone`, `error.type`, `kafka_tower.persistence`, `kafka_tower.batch.index` |
//! | `kafka_tower.circuit_breaker.rejection` | the send that was refused, or its batch | `kafka_tower.batch.index` |
//! | `kafka_tower.circuit_breaker.transition` | the send whose result moved the breaker, or its batch | `kafka_tower.circuit_breaker.from`, `kafka_tower.circuit_breaker.state` |
//! | `kafka_tower.transaction.begin`, `.commit`, `.abort` | the transaction | `error.type` of one that failed |
//!
//! | metric | instrument | attributes beside `messaging.system` |
//! |---|---|---|
//! | `messaging.client.operation.duration` | histogram, s | operation name and type, destination, `error.type`, server |
//! | `messaging.client.sent.messages` | counter, `{message}` | operation name, destination, `error.type`, server |
//! | `kafka_tower.client.retries` | counter, `{retry}` | destination, `error.type`, `kafka_tower.retry.alone` |
//! | `kafka_tower.client.queue.duration` | histogram, s | destination |
//! | `kafka_tower.client.in_flight.records`, `.bytes`, `kafka_tower.client.parked.records` | up-down counters | |
//! | `kafka_tower.client.batch.messages` | histogram, `{message}` | destination |
//! | `kafka_tower.circuit_breaker.state` | gauge: 0 closed, 1 half-open, 2 open | destination |
//! | `kafka_tower.circuit_breaker.transitions` | counter, `{transition}` | destination, `kafka_tower.circuit_breaker.state` |
//! | `kafka_tower.circuit_breaker.rejections` | counter, `{message}` | destination |
//! | `kafka_tower.transactions` | counter, `{transaction}` | destination, `kafka_tower.transaction.outcome` |
//! | `kafka_tower.transaction.duration` | histogram, s | destination, `kafka_tower.transaction.outcome` |

pub mod semconv;
