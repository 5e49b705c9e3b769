//! The metrics of a Collector as Prometheus would store them, with the part of its query language that the dashboard
//! and the alerts use. Shows without a Prometheus server that their queries match the exported metrics.

mod expr;
mod store;

pub use expr::{Expr, Selector};
pub use store::{Labels, Store};
