//! What is known of the tokens of one client. Pure: the time is an argument.

use std::time::{Duration, Instant};

use kafka_tower_core::text::seconds;

/// Delay after a failure. It doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct TokenFacts {
    /// Whether a task gets a token, or waits to try it again.
    is_served: bool,
    /// When the present call of the provider began.
    called: Option<Instant>,
    /// The last failure since the last token.
    failed: Option<(String, Instant)>,
    /// Number of failures since the last token.
    failures: u32,
    /// When the last token expires.
    expires: Option<Instant>,
}

impl TokenFacts {
    /// Returns whether a task is to get a token, and none does yet.
    pub(crate) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.is_served, true)
    }

    pub(crate) fn called(&mut self, now: Instant) {
        self.called = Some(now);
    }

    /// Returns the delay before the next call.
    pub(crate) fn failed(&mut self, why: &str, now: Instant) -> Duration {
        self.called = None;
        self.failed = Some((why.to_owned(), now));
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        pause.min(MAX_PAUSE)
    }

    /// The task was cancelled, or panicked.
    pub(crate) fn ended(&mut self, why: &str, now: Instant) {
        self.failed(why, now);
        self.is_served = false;
    }

    pub(crate) fn succeeded(&mut self, expires: Instant) {
        *self = Self { expires: Some(expires), ..Self::default() };
    }

    /// Why the client has no valid token, if it has none.
    pub(crate) fn trouble(&self, now: Instant) -> Option<String> {
        if self.expires.is_some_and(|at| now < at) {
            return None;
        }
        let waits = |at: Instant| {
            format!("the token provider has not returned for {}", seconds(now.saturating_duration_since(at)))
        };
        let why = self.failure(now).or_else(|| self.called.map(waits))?;
        Some(format!("there is no valid token: {why}"))
    }

    /// The last failure since the last token, which may still be valid.
    fn failure(&self, now: Instant) -> Option<String> {
        let (why, at) = self.failed.as_ref()?;
        Some(format!("{why} ({:.1} s ago)", now.saturating_duration_since(*at).as_secs_f64()))
    }

    /// Why brokers refuse to log the client in, if that is for its token. librdkafka logs in again when 90 % of the token's
    /// lifetime are over, and so on: at the end of it so often that brokers refuse that.
    pub(crate) fn refused(&self, now: Instant) -> Option<String> {
        self.trouble(now).or_else(|| Some(format!("there is no new token: {}", self.failure(now)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_task_at_a_time_gets_a_token() {
        let (mut facts, now) = (TokenFacts::default(), Instant::now());
        assert!(facts.begin() && !facts.begin());
        facts.failed("down", now);
        assert!(!facts.begin(), "it tries again");
        facts.succeeded(now + SECOND);
        assert!(facts.begin() && !facts.begin());
        facts.ended("the runtime has ended", now);
        assert!(facts.begin());
    }

    #[test]
    fn pauses_grow_until_a_success() {
        let (mut facts, now) = (TokenFacts::default(), Instant::now());
        let pauses = |facts: &mut TokenFacts| [0; 7].map(|_| facts.failed("down", now).as_millis());
        assert_eq!(pauses(&mut facts), [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        for _ in 0..100 {
            facts.failed("down", now);
        }
        facts.succeeded(now);
        assert_eq!(facts.failed("down", now), FIRST_PAUSE);
    }

    #[test]
    fn only_a_client_without_a_valid_token_is_in_trouble() {
        let (mut facts, now) = (TokenFacts::default(), Instant::now());
        assert_eq!(facts.trouble(now), None, "librdkafka has not asked yet");
        facts.called(now);
        let text = "there is no valid token: the token provider has not returned for 2 s";
        assert_eq!(facts.trouble(now + 2 * SECOND).as_deref(), Some(text));
        facts.failed("the token provider failed: down", now);
        facts.called(now);
        let text = "there is no valid token: the token provider failed: down (1.0 s ago)";
        assert_eq!(facts.trouble(now + SECOND).as_deref(), Some(text));
        facts.succeeded(now + 10 * SECOND);
        assert_eq!(facts.trouble(now + SECOND), None);
        facts.failed("down", now + 8 * SECOND);
        assert_eq!(facts.trouble(now + 9 * SECOND), None, "the token is still valid");
        assert_eq!(facts.refused(now + 9 * SECOND).as_deref(), Some("there is no new token: down (1.0 s ago)"));
        assert!(facts.trouble(now + 10 * SECOND).is_some());
    }
}
