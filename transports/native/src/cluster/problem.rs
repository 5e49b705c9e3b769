//! What an error code of a topic or partition in metadata means.

use kafka_tower_core::codes;
use kafka_tower_core::error::Recovery;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// Why a topic cannot be sent to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The broker does not know the topic. It may have been created a moment ago, so this counts only after a time.
    Missing,
    /// The cluster cannot say it now: ask again.
    Again(i16),
    /// Asking again does not help: what waits for the topic fails.
    Fails(i16),
}

impl Problem {
    /// What a code means; `None` for 0.
    #[must_use]
    pub fn of(code: i16) -> Option<Self> {
        match code {
            0 => None,
            UNKNOWN_TOPIC_OR_PARTITION | UNKNOWN_TOPIC_ID => Some(Self::Missing),
            INVALID_TOPIC | TOPIC_AUTHORIZATION_FAILED => Some(Self::Fails(code)),
            // An unknown code may be one of a newer broker that passes.
            _ => match codes::find(code.into()) {
                Some(facts) if !matches!(facts.recovery, Recovery::Retry | Recovery::Wait) => Some(Self::Fails(code)),
                _ => Some(Self::Again(code)),
            },
        }
    }
}
