//! Encodes typed messages as records: `Service<SinkMessage<T>>` over `Service<Record>`.
//!
//! A [`MessageSerializer`] encodes the value; key, headers, partition, timestamp and deadline are passed on. A
//! message's own topic takes precedence over the layer's. A tombstone has no value, so the serializer is not called.
//!
//! # Place in the stack
//!
//! Outside of all layers over records: retry keeps the encoded record and encodes nothing twice. Inside of layers
//! over the typed message.
//!
//! # Order
//!
//! If the serializer is synchronous ([`serialize_now`](MessageSerializer::serialize_now), as JSON is), or `async` and
//! does not wait, the value is encoded inside `call` and the service below is called there: call order is log order.
//! If the serializer waits, the response future continues the encoding and then calls the service below; several
//! values are encoded at a time. [`in_order`](SerializeLayer::in_order) keeps call order also in that case, one value
//! at a time.
//!
//! # Cancellation
//!
//! Dropping a future while its serializer waits sends nothing. Dropping it later drops the future of the service
//! below: a transport continues with the record. A message's deadline also applies while the serializer waits.
//!
//! # Errors
//!
//! [`ErrorKind::Serialization`](kafka_tower_core::ErrorKind::Serialization), with the serializer's error as its
//! source, and [`ErrorKind::Timeout`](kafka_tower_core::ErrorKind::Timeout) if the deadline passes while the
//! serializer waits. In both cases nothing was sent. A panic of a serializer reaches the caller; the service remains
//! usable.
//!
//! # Memory
//!
//! Each handle writes values into its own blocks of 1 to 16 KiB: a value retains at most its block. A larger value
//! has its own memory.
//!
//! # Formats
//!
//! | serializer | feature | content type | notes |
//! |---|---|---|---|
//! | `JsonSerializer` | `json` (default) | `application/json` | readable everywhere |
//! | `PostcardSerializer` | `postcard` | `application/x-postcard` | small; both sides need the same struct |
//! | `BincodeSerializer` | `bincode` | `application/x-bincode` | for existing bincode 1 data; its crate is unmaintained |
//! | [`BytesSerializer`] | | `application/octet-stream` | the bytes as they are |
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
pub(crate) mod bincode;
mod buffer_pool;
mod bytes;
#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
pub(crate) mod decode;
mod errors;
mod future;
#[cfg(feature = "json")]
mod json;
mod layer;
#[cfg(feature = "postcard")]
mod postcard;
mod serializer;
mod service;
#[cfg(any(feature = "bincode", feature = "json", feature = "postcard"))]
mod small_writes;

pub use async_trait::async_trait;

/// Name of the header that states the format of a value.
pub(crate) const CONTENT_TYPE: &str = "content-type";

pub use self::bytes::BytesSerializer;
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
