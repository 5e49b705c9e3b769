//! Tests of the pure parts, by properties.

mod frames;
mod in_flight;
mod peer;
