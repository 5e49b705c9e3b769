//! Tests of connections: the pure parts by properties, the rest against scripted peers.

mod calls;
mod connection;
mod frames;
mod handshake;
mod in_flight;
mod peer;
