//! Calls the callbacks of the application, which may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::events::ClientEvents;
use crate::ffi::TokenTarget;
use crate::log::{Log, Source};
use crate::tokens::Tokens;

/// What the application has given to a client.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) events: Option<Arc<dyn ClientEvents>>,
    pub(crate) tokens: Option<Tokens>,
}

impl Hooks {
    pub(crate) fn event(&self, log: &Log, what: &'static str, call: impl FnOnce(&dyn ClientEvents)) {
        if let Some(events) = self.events.as_deref() {
            if catch_unwind(AssertUnwindSafe(|| call(events))).is_err() {
                log.write(Source::Panic { of: what }, "a panic in a callback of the user was caught", Instant::now());
            }
        }
    }

    /// Starts to get a token for this client, and does not wait. Without a provider librdkafka makes the token itself, an
    /// unsigned one.
    pub(crate) fn refresh_token(&self, target: &Arc<TokenTarget>) {
        if let Some(tokens) = &self.tokens {
            tokens.refresh(target);
        }
    }
}
