//! Calls the callbacks of the application, which may panic.

use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, SystemTime};

use crate::events::ClientEvents;
use crate::log::{Log, Source};

pub(crate) fn user(
    log: &Log,
    events: Option<&dyn ClientEvents>,
    what: &'static str,
    call: impl FnOnce(&dyn ClientEvents),
) {
    if let Some(events) = events {
        if catch_unwind(AssertUnwindSafe(|| call(events))).is_err() {
            log.write(Source::Panic { of: what }, "a panic in a callback of the user was caught", Instant::now());
        }
    }
}

/// Gets a token for a client that asks for one, in the form that `set_token` takes.
pub(crate) fn token(
    events: Option<&dyn ClientEvents>,
    config: Option<&CStr>,
) -> Result<(CString, CString, i64), String> {
    let config = config.map(CStr::to_string_lossy);
    let asked = match events {
        Some(events) => catch_unwind(AssertUnwindSafe(|| events.oauth_token(config.as_deref())))
            .unwrap_or_else(|_| Err("the callback oauth_token panicked".into())),
        None => Err("SASL/OAUTHBEARER needs a token: implement ClientEvents::oauth_token".into()),
    };
    asked.map_err(|error| error.to_string()).and_then(|token| {
        let lifetime = token.expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let text = |s: String| CString::new(s).map_err(|_| "a NUL in the token or its principal".to_owned());
        Ok((text(token.token)?, text(token.principal)?, i64::try_from(lifetime).unwrap_or(i64::MAX)))
    })
}
