use std::ffi::{CString, c_char};
use std::sync::{Arc, Mutex, MutexGuard};

use kafka_tower_core::sync::lock;
use rdkafka_sys as sys;
use tokio::task::AbortHandle;

use super::instance::text_of;
use super::raw;
use crate::tokens::facts::TokenFacts;
use crate::tokens::native::NativeToken;

/// Where the tokens of one instance of librdkafka go. It may outlive the instance, and keeps nothing alive.
pub(crate) struct TokenTarget {
    state: Mutex<State>,
    /// Locked before `state`.
    facts: Mutex<TokenFacts>,
}

struct State {
    /// `None` once the instance is about to be destroyed.
    client: Option<ClientPointer>,
    /// The task that gets the next token.
    task: Option<AbortHandle>,
}

struct ClientPointer(*mut sys::rd_kafka_t);

// SAFETY: librdkafka's clients are thread safe.
unsafe impl Send for ClientPointer {}

impl TokenTarget {
    /// # Safety
    ///
    /// The client lives until [`end`](Self::end) has returned.
    pub(super) unsafe fn new(rk: *mut sys::rd_kafka_t) -> Arc<Self> {
        let state = Mutex::new(State { client: Some(ClientPointer(rk)), task: None });
        Arc::new(Self { state, facts: Mutex::default() })
    }

    /// Called before the client is destroyed: no token is set any more, and the task that gets one is cancelled. Waits for
    /// the present call to librdkafka, which only copies the token, and not for the task.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.client = None;
        // A separate statement: the task is not cancelled under the lock.
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.abort();
        }
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, TokenFacts> {
        lock(&self.facts)
    }

    /// Keeps the task that gets the next token, so that it ends with the client.
    pub(crate) fn is_served_by(&self, task: AbortHandle) {
        let mut state = lock(&self.state);
        if state.client.is_some() {
            let before = state.task.replace(task);
            drop(state);
            drop(before);
        } else {
            drop(state);
            task.abort();
        }
    }

    /// Gives the client a token, if it lives.
    pub(crate) fn set(&self, token: &NativeToken) -> Result<(), String> {
        let state = lock(&self.state);
        let Some(client) = &state.client else { return Ok(()) };
        let mut extensions: Vec<_> = token.extensions.iter().map(|text| text.as_ptr()).collect();
        let mut text: [c_char; 512] = [0; 512];
        // SAFETY: the client lives, because `end` waits for the lock. Strings are terminated and live through the call, which
        // copies them; the lengths passed are those of the list and of the buffer.
        let code = unsafe {
            raw::rd_kafka_oauthbearer_set_token(
                client.0,
                token.value.as_ptr(),
                token.expires_ms,
                token.principal.as_ptr(),
                extensions.as_mut_ptr(),
                extensions.len(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        // librdkafka's text is not used: it may contain the token.
        if code == 0 { Ok(()) } else { Err(format!("librdkafka refused the token: {}", text_of(code))) }
    }

    /// Tells the client, if it lives, why it gets no token: an error event, unless it was told the same before. It asks again
    /// after 10 s.
    pub(crate) fn fail(&self, why: &str) {
        let why = CString::new(why.replace('\0', " ")).unwrap_or_default();
        let state = lock(&self.state);
        let Some(client) = &state.client else { return };
        // SAFETY: the client lives, because `end` waits for the lock; the string is terminated and lives through the call.
        unsafe { raw::rd_kafka_oauthbearer_set_token_failure(client.0, why.as_ptr()) };
    }
}
