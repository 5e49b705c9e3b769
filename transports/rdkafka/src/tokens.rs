//! Gets OAUTHBEARER tokens from the application's provider, for clients that ask for one.
//!
//! librdkafka asks by an event when a client is made, when 80 % of a token's lifetime are over, and 10 s after it was told of a
//! failure. It does not ask again before it was answered, so every question needs an answer: the task that calls the provider
//! gives one even if it is cancelled.

pub(crate) mod facts;
pub(crate) mod native;

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use kafka_tower_core::text::seconds;
use kafka_tower_core::{Error, ErrorKind, OauthToken, Recovery, Result, TokenProvider};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::ffi::TokenTarget;
use crate::properties::{self, Properties};
use native::NativeToken;

/// Maximum time of one call of the provider.
const CALL: Duration = Duration::from_secs(30);
const PANICKED: &str = "the token provider panicked";
const RUNTIME_ENDED: &str = "the tokio runtime that connected has ended, and the token provider with it";

/// The provider, and the runtime on which it is called.
#[derive(Clone)]
pub(crate) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    runtime: Handle,
}

impl Tokens {
    /// For the caller's runtime. `None` if these properties need no token.
    pub(crate) fn new(provider: Option<&Arc<dyn TokenProvider>>, properties: &Properties) -> Result<Option<Self>> {
        if !properties::needs_token(properties) {
            return Ok(None);
        }
        let provider = Arc::clone(provider.ok_or_else(no_provider)?);
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        // Tokio says it by a panic only. Without this check it would end the task that calls the provider, each time.
        catch_unwind(|| drop(sleep(Duration::ZERO))).map_err(|_| no_timers())?;
        Ok(Some(Self { provider, runtime }))
    }

    /// Starts to get a token for this client. Does not wait.
    pub(crate) fn refresh(&self, target: &Arc<TokenTarget>) {
        if !target.facts().begin() {
            return;
        }
        let (provider, task) = (Arc::clone(&self.provider), Task { target: Arc::clone(target), is_done: false });
        let task = self.runtime.spawn(task.run(provider));
        target.is_served_by(task.abort_handle());
    }
}

struct Task {
    target: Arc<TokenTarget>,
    is_done: bool,
}

impl Task {
    async fn run(mut self, provider: Arc<dyn TokenProvider>) {
        loop {
            self.target.facts().called(Instant::now());
            let token = call(&*provider).await;
            let Err(why) = token.and_then(|token| self.set(&token)) else {
                self.is_done = true;
                return;
            };
            let pause = self.target.facts().failed(&why, Instant::now());
            self.target.fail(&why);
            sleep(pause).await;
        }
    }

    fn set(&self, token: &OauthToken) -> std::result::Result<(), String> {
        let now = SystemTime::now();
        let native = NativeToken::new(token, now)?;
        let lifetime = token.expires_at().duration_since(now).unwrap_or_default();
        // Until the token is set and that is known: librdkafka may ask for the next one at once.
        let mut facts = self.target.facts();
        self.target.set(&native)?;
        facts.succeeded(kafka_tower_core::clock::later(Instant::now(), lifetime));
        Ok(())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_done {
            let why = if std::thread::panicking() { PANICKED } else { RUNTIME_ENDED };
            self.target.facts().ended(why, Instant::now());
            self.target.fail(why);
        }
    }
}

/// Calls the provider once. The error is its failure, panic or time-out.
async fn call(provider: &dyn TokenProvider) -> std::result::Result<OauthToken, String> {
    let panicked = |_| PANICKED.to_owned();
    let mut token = catch_unwind(AssertUnwindSafe(|| provider.token())).map_err(panicked)?;
    let answer = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            token.as_mut().poll(cx).map(|answer| answer.map_err(|error| with_sources(&*error)))
        }));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic))))
    });
    timeout(CALL, answer)
        .await
        .unwrap_or_else(|_| Err(format!("the token provider did not return within {}", seconds(CALL))))
}

/// "the token provider failed: no answer: connection refused". Many errors leave their cause to their sources.
fn with_sources(error: &(dyn StdError + 'static)) -> String {
    let mut text = "the token provider failed".to_owned();
    let mut next = Some(error);
    while let Some(error) = next {
        let own = error.to_string();
        if !text.contains(&own) {
            let _ = write!(text, ": {own}");
        }
        next = error.source();
    }
    text
}

/// Beginning of librdkafka's error event after a failure.
const EVENT: &str = "Failed to acquire SASL OAUTHBEARER token";

/// Whether this error event says only that a provider failed. The client goes on with the token that it has.
pub(crate) fn is_failure(text: &str) -> bool {
    text.starts_with(EVENT)
}

/// What to do about a send without a token.
pub(crate) const HELP: &str = "find out why the token provider gives no token; the client calls it again by itself";

/// Error of a connection that is not made in time because there is no token.
pub(crate) fn not_connected(text: String) -> Error {
    Error::new(ErrorKind::Authentication, text)
        .with_recovery(Recovery::Wait)
        .with_help("find out why the token provider gives no token, then connect again")
}

pub(crate) fn no_provider() -> Error {
    Error::new(ErrorKind::Config, "sasl.mechanism is OAUTHBEARER, and there is no token provider")
        .with_help("give the transport a `TokenProvider`")
        .without_record()
}

pub(crate) fn no_timers() -> Error {
    Error::new(
        ErrorKind::Config,
        "the token provider is called on the tokio runtime that connects, which has no timers",
    )
    .with_help("enable the runtime's timers, with `enable_time` or `enable_all` of its builder")
    .without_record()
}

pub(crate) fn no_runtime() -> Error {
    Error::new(ErrorKind::Config, "the token provider is called on the tokio runtime that connects, and there is none")
        .with_help("connect inside a tokio runtime")
        .without_record()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Never;

    impl TokenProvider for Never {
        fn token(&self) -> kafka_tower_core::TokenFuture<'_> {
            unreachable!("not called by these tests")
        }
    }

    #[test]
    fn a_runtime_without_timers_is_refused_when_the_client_connects() {
        let properties = [("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "OAUTHBEARER")];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let provider: Arc<dyn TokenProvider> = Arc::new(Never);
        let connect = || Tokens::new(Some(&provider), &properties).map(|tokens| tokens.is_some());
        assert_eq!(connect().unwrap_err().message(), no_runtime().message());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        assert_eq!(
            builder.build().unwrap().block_on(async { connect() }).unwrap_err().message(),
            no_timers().message()
        );
        assert!(builder.enable_time().build().unwrap().block_on(async { connect() }).unwrap());
    }
}
