//! Messages of the benchmarks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Number of different payloads, used in turn.
pub const POOL: usize = 1024;

/// A small message: 63 to 71 bytes of JSON, one allocation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reading {
    service: String,
    avg_latency: f64,
    count: u64,
}

impl Reading {
    /// Returns the `i`-th message.
    #[must_use]
    pub fn new(i: usize) -> Self {
        let i = (i % POOL) as u32;
        Self {
            service: String::from("checkout-eu-1"),
            avg_latency: f64::from(i) + 0.123_456,
            count: 1_000 + u64::from(i),
        }
    }
}

/// A message with a given size in bytes of JSON, half of it noise.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    service: &'static str,
    avg_latency: f64,
    count: u64,
    detail: String,
}

/// An [`Event`] as its readers know it.
#[derive(Clone, Debug, Deserialize)]
pub struct Received {
    /// Name of the service.
    pub service: String,
    /// A number.
    pub avg_latency: f64,
    /// Another one.
    pub count: u64,
    /// The rest.
    pub detail: String,
}

/// Returns messages of `size` bytes each.
#[must_use]
pub fn events(size: usize) -> Vec<Event> {
    let mut noise = Noise::default();
    let event = |i| {
        let mut event = Event {
            service: "checkout",
            avg_latency: i as f64 + 0.125,
            count: 1_000 + i as u64,
            detail: String::new(),
        };
        let rest = size.saturating_sub(json(&event).len());
        event.detail = noise.text(rest, rest.min(size / 2));
        event
    };
    (0..POOL).map(event).collect()
}

/// Returns values of `size` bytes each, half of them hexadecimal noise.
#[must_use]
pub fn values(size: usize) -> Vec<Bytes> {
    let mut noise = Noise::default();
    (0..POOL).map(|_| noise.text(size, size / 2).into()).collect()
}

/// Encodes a message as JSON, as a user of `FutureProducer` does.
///
/// # Panics
///
/// Never: these messages can be expressed in JSON.
#[must_use]
pub fn json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("a message")
}

/// Noise that is the same in each run.
struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Noise {
    /// Returns `digits` hexadecimal digits, filled up to `len`.
    fn text(&mut self, len: usize, digits: usize) -> String {
        let digit = |_| {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            char::from(b"0123456789abcdef"[(self.0 >> 60) as usize])
        };
        (0..digits).map(digit).chain("a line of plain text, ".chars().cycle()).take(len).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_sizes() {
        for size in [100, 1024] {
            assert!(events(size).iter().all(|event| json(event).len() == size));
            assert!(values(size).iter().all(|value| value.len() == size));
        }
        assert!((0..POOL).all(|i| (63..=71).contains(&json(&Reading::new(i)).len())));
    }
}
