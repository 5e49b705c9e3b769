//! Calls of librdkafka that block: a thread of their own makes them work on any runtime.

use std::thread;

use kafka_tower_core::{Error, ErrorKind, Persistence, Result};
use tokio::sync::oneshot;

/// Runs calls that block. `run` gets whether the caller has stopped waiting. `failed` says what did not happen if it panics.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    failed: &str,
    run: impl FnOnce(&dyn Fn() -> bool) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    let runs = move || {
        let done = run(&|| sender.is_closed());
        drop(sender.send(done));
    };
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(runs).map_err(|error| no_thread(error).without_record())?;
    receiver.await.unwrap_or_else(|_| Err(panicked(failed))).map_err(Error::without_record)
}

/// Error of a call for which the system started no thread.
pub(crate) fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Fatal, "the system could not start a thread")
        .with_persistence(Persistence::NotPersisted)
        .with_source(error)
}

/// Error of a call whose thread panicked, so that its outcome is unknown.
pub(crate) fn panicked(what: &str) -> Error {
    Error::new(ErrorKind::Fatal, format!("{what}: its thread panicked"))
}
