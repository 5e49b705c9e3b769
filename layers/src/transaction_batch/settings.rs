use std::time::Duration;

use kafka_tower_core::gate;

use super::cut;

/// What a layer is built with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) cut: cut::Limits,
    /// Records that were called and whose transaction has not ended.
    pub(super) room: gate::Limits,
    pub(super) replays: u32,
    /// Time for one attempt, from begin to the answer of the commit, and again for an abort.
    pub(super) timeout: Duration,
    /// The producers' `transaction.timeout.ms`.
    pub(super) transaction_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cut: cut::Limits { records: 1_000, bytes: 1 << 20, age: Duration::from_millis(50) },
            room: gate::Limits { records: 10_000, bytes: 32 << 20 },
            replays: 3,
            timeout: Duration::from_secs(20),
            transaction_timeout: Duration::from_secs(60),
        }
    }
}
