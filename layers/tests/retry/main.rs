//! What `Retry` promises: what may be sent again is, when it may; nothing else is; each attempt is made on a ready service.
#![cfg(feature = "retry")]
#![allow(clippy::unwrap_used)]

mod persistence;
mod service;
mod support;
mod time;
