//! A typed message becomes a record: `Service<SinkMessage<T>>` over `Service<Record>`.
//!
//! The value is encoded by a [`MessageSerializer`]; key, headers, partition, time stamp and deadline pass through. A
//! message's own topic goes before the layer's. A tombstone has no value, so no serializer is asked.
//!
//! # Place in the stack
//!
//! Outside of all layers that speak of records: retry keeps the encoded record and encodes nothing twice. Inside of
//! layers that want to see the typed message.
//!
//! # Order
//!
//! The values of a synchronous serializer ([`serialize_now`](MessageSerializer::serialize_now), as JSON has it), and of
//! an `async` one that does not wait, are encoded inside `call`, and the record takes its place there: call order is
//! log order. When a serializer waits, the encoding goes on in the response future, several at a time, and the record
//! takes its place when it is done; [`in_order`](SerializeLayer::in_order) keeps call order then too, one value at a
//! time.
//!
//! # Cancellation
//!
//! A future that is dropped while its serializer waits sends nothing. Later, dropping it does what it does in the
//! service below: a transport goes on with the record. A message's deadline counts while the serializer waits.
//!
//! # Errors
//!
//! [`ErrorKind::Serialization`](kafka_tower_core::ErrorKind::Serialization), with the serializer's error as its source,
//! and [`ErrorKind::Timeout`](kafka_tower_core::ErrorKind::Timeout) for a deadline that passed while the serializer
//! waited. Nothing was sent then. A panic of a serializer is the caller's; the service can be used after it.
//!
//! # Memory
//!
//! Each handle writes into blocks of its own, of 1 to 16 KiB, and cuts the values from them: a value keeps no more than
//! its block. A larger value has its own memory.
//!
//! # Formats
//!
//! | serializer | feature | content type | |
//! |---|---|---|---|
//! | `JsonSerializer` | `json` (default) | `application/json` | readable everywhere |
//! | `PostcardSerializer` | `postcard` | `application/x-postcard` | small; both sides need the same struct |
//! | `BincodeSerializer` | `bincode` | `application/x-bincode` | for those who have bincode 1 data; its crate is unmaintained |
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::SinkMessage;
//! use kafka_tower_layers::serialize::SerializeLayer;
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! #[derive(serde::Serialize)]
//! struct Order { id: u32 }
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! let sink = ServiceBuilder::new().layer(SerializeLayer::json("orders")).service(kafka.transport());
//!
//! sink.oneshot(SinkMessage::new(Order { id: 42 }).with_key("42")).await?;
//! assert_eq!(kafka.records("orders")[0].value().unwrap(), r#"{"id":42}"#);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! ```

#[cfg(feature = "bincode")]
mod bincode;
mod blocks;
#[cfg(any(feature = "bincode", feature = "postcard"))]
mod decode;
mod future;
#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
mod gather;
#[cfg(feature = "json")]
mod json;
mod layer;
#[cfg(feature = "postcard")]
mod postcard;
mod serializer;
mod service;
mod turn;

pub use async_trait::async_trait;

#[cfg(feature = "bincode")]
#[cfg_attr(docsrs, doc(cfg(feature = "bincode")))]
pub use bincode::BincodeSerializer;
pub use future::SerializeFuture;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use json::JsonSerializer;
pub use layer::SerializeLayer;
#[cfg(feature = "postcard")]
#[cfg_attr(docsrs, doc(cfg(feature = "postcard")))]
pub use postcard::PostcardSerializer;
pub use serializer::MessageSerializer;
pub use service::Serialize;
