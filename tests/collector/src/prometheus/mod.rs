//! What a Prometheus would have of the metrics that a Collector received, and as much of its query language as the dashboard
//! and the alerts use. No server of its own is needed to see that their queries fit what is exported.

mod expr;
mod store;

pub use expr::{Expr, Selector};
pub use store::{Labels, Store};
