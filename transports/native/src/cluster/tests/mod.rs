//! Tests of what is known of a cluster.

mod metadata;
mod next_broker;
