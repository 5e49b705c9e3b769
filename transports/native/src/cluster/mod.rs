//! What a client knows of its cluster, and whom it asks next. Pure: time and randomness are arguments.
//!
//! | module | content |
//! |---|---|
//! | [`metadata`] | brokers, topics, partitions and their leaders |
//! | [`problem`] | what an error code of a topic means |
//! | [`next_broker`] | which broker to ask, and when to try again |
//! | [`backoff`] | how long to wait before an attempt is repeated |

pub mod backoff;
pub mod metadata;
pub mod next_broker;
pub mod problem;

#[cfg(test)]
mod tests;
