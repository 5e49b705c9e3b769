//! Tests of `Retry`: it retries exactly the records that may be sent again, when they may, and makes each attempt on
//! a ready service.
#![cfg(feature = "retry")]
#![allow(clippy::unwrap_used)]

mod persistence;
mod service;
mod support;
mod time;
