//! Random numbers that a seed determines.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Xorshift64*.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Creates the numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Creates the numbers of `KAFKA_TOWER_SEED`, or of the time; prints the seed.
    ///
    /// # Panics
    ///
    /// If the variable is not a number.
    #[must_use]
    #[allow(clippy::print_stdout)] // the seed repeats a failed run
    pub fn of_environment() -> Self {
        let seed = std::env::var("KAFKA_TOWER_SEED").map_or_else(
            |_| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::from(now.subsec_nanos())),
            |seed| seed.parse().expect("KAFKA_TOWER_SEED is a number"),
        );
        println!("KAFKA_TOWER_SEED={seed}");
        Self::new(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    /// A time below `bound`, in microseconds.
    pub fn time_below(&mut self, bound: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)))
    }
}
