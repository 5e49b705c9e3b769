//! Seeded randomness: a failing run prints its seed, and `KAFKA_TOWER_SEED` replays it.

/// xorshift64*: enough to shuffle.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From `KAFKA_TOWER_SEED`, else from the clock. Prints the seed, which the test harness shows on a failure.
    ///
    /// # Panics
    ///
    /// If `KAFKA_TOWER_SEED` is no number.
    #[must_use]
    #[allow(clippy::print_stdout)]
    pub fn new() -> Self {
        let seed = match std::env::var("KAFKA_TOWER_SEED") {
            Ok(seed) => seed.parse().expect("KAFKA_TOWER_SEED is a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |now| now.as_nanos() as u64),
        };
        println!("replay with KAFKA_TOWER_SEED={seed}");
        Self(seed | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.below(i + 1));
        }
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
