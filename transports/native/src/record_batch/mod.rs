//! Record batches of format 2 (KIP-98), the only format that Kafka 4 accepts.
//!
//! | module | content |
//! |---|---|
//! | [`header`] | the 61 bytes before the records |
//! | [`record`] | the layout of one record, and its exact size before it is written |
//! | [`builder`] | appends records to a buffer |
//! | [`sealed`] | a batch that is ready to be sent |
//! | [`reader`] | reads batches and their records |
//!
//! A record is written once, straight into the buffer that is sent, behind room for the header. Sealing compresses the records if
//! that makes them smaller, writes the header and computes the checksum.

pub mod builder;
pub mod header;
pub mod reader;
pub mod record;
pub mod sealed;

#[cfg(test)]
mod tests;
