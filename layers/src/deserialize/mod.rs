//! Decodes the values of records that were read: the counterpart of [`serialize`](crate::serialize).
//!
//! | deserializer | feature | reads | content types |
//! |---|---|---|---|
//! | `JsonDeserializer` | `json` (default) | JSON | `application/json`, `text/json` |
//! | `PostcardDeserializer` | `postcard` | postcard 1 | `application/x-postcard` |
//! | `BincodeDeserializer` | `bincode` | the format of bincode 1 | `application/x-bincode` |
//! | [`BytesDeserializer`] | | the bytes as they are | any |
//!
//! A [`MessageDeserializer`] of your own reads any other format. A tombstone has no value, so the deserializer is not
//! called.
//!
//! # Hostile bytes
//!
//! [`DecodeLimits`] apply to JSON, postcard and bincode alike: a record can claim neither memory nor time that its bytes do not
//! justify, and cannot overflow the stack. A panic is caught by the source and becomes an error.
//!
//! # Errors
//!
//! [`ErrorKind::Serialization`](kafka_tower_core::ErrorKind::Serialization), with the cause. Bytes that are left over after
//! the value are an error.

#[cfg(feature = "bincode")]
mod bincode;
mod bytes;
mod content_type;
mod deserializer;
#[cfg(feature = "json")]
mod json;
mod limits;
#[cfg(feature = "postcard")]
mod postcard;

pub use self::bytes::BytesDeserializer;
#[cfg(feature = "bincode")]
#[cfg_attr(docsrs, doc(cfg(feature = "bincode")))]
pub use bincode::BincodeDeserializer;
pub use content_type::check_content_type;
pub use deserializer::MessageDeserializer;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use json::JsonDeserializer;
pub use limits::DecodeLimits;
#[cfg(feature = "postcard")]
#[cfg_attr(docsrs, doc(cfg(feature = "postcard")))]
pub use postcard::PostcardDeserializer;
