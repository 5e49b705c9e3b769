//! State of the previous transaction: whether a request of it may still arrive, and the rebuild that prevents it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Result};

use super::end_lines::{EndLines, Verdict};
use super::pace::Pace;

/// Maximum time to wait for the log lines of a call that has returned. They are queued before it returns.
const LINES_TIME: Duration = Duration::from_secs(1);
/// Time for the event loop to serve them, even if the caller gave less.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// Shared by the transactional calls, the event loop, and the rebuild.
#[derive(Debug, Default)]
pub(crate) struct PreviousTransaction {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Lines since `begin`.
    lines: EndLines,
    /// When the transaction ended; `None` while it is open, and before the first one of a producer.
    ended: Option<Instant>,
    pace: Pace,
    rebuild: Rebuild,
    /// No rebuild may start any more.
    is_closing: bool,
    /// Only for tests: the producer is used further whatever the lines say.
    is_ignored: bool,
}

#[derive(Debug, Default)]
enum Rebuild {
    #[default]
    None,
    Running,
    Failed(Error),
}

/// The state of the present producer.
#[derive(Debug)]
pub(crate) enum Present {
    Works,
    /// It has ended, and `begin` reports that.
    Ended,
    /// It has ended, and a new one may go on; with the reason.
    Replaceable(String),
}

/// What `begin` does next.
#[derive(Debug)]
pub(crate) enum Next {
    Begin,
    /// Start a rebuild, for this reason. Its end is reported with [`rebuilt`](PreviousTransaction::rebuilt).
    Rebuild(String),
    /// The rebuild failed.
    Fail(Error),
    /// The time is up.
    TimeOut,
}

impl PreviousTransaction {
    /// Reads a line of librdkafka's log. Returns at once for facilities that say nothing about ends.
    pub(crate) fn read(&self, facility: &str, text: &str) {
        if facility == "ADDPARTS" {
            lock(&self.state).pace.read(text);
        } else if matches!(facility, "ENDTXN" | "TXNCOMMIT" | "TXNABORT" | "TXNERR") {
            let mut state = lock(&self.state);
            state.lines.read(facility, text);
            if state.lines.is_complete() {
                self.changed.notify_all();
            }
        }
    }

    /// A transaction was begun.
    pub(crate) fn begun(&self) {
        let mut state = lock(&self.state);
        state.lines = EndLines::default();
        state.ended = None;
    }

    /// The call that ended the transaction returned `Ok` at `now`. `doubt` is a reason why an earlier request to end it
    /// may still arrive.
    pub(crate) fn ended(&self, doubt: Option<&str>, now: Instant) {
        let mut state = lock(&self.state);
        if let Some(doubt) = doubt {
            state.lines.trouble(doubt.to_owned());
        }
        state.ended = Some(now);
        state.pace.ended();
    }

    /// Waits until nothing of the previous transaction can arrive, or returns what to do about it. Waits until `end`.
    /// `present` returns the state of the present producer, and `any_lost` whether a request of its transactions ended
    /// without an answer.
    pub(crate) fn next(&self, end: Instant, present: impl Fn() -> Present, any_lost: impl Fn() -> bool) -> Next {
        let mut state = lock(&self.state);
        if matches!(state.rebuild, Rebuild::Failed(_)) {
            // Of an earlier call, whose time was up.
            state.rebuild = Rebuild::None;
        }
        let lines_end = end.max(Instant::now() + MIN_WAIT);
        loop {
            let until = match std::mem::take(&mut state.rebuild) {
                Rebuild::Failed(error) => return Next::Fail(error),
                Rebuild::Running => {
                    state.rebuild = Rebuild::Running;
                    end
                }
                Rebuild::None => {
                    match present() {
                        Present::Replaceable(why) if !state.is_closing => {
                            state.rebuild = Rebuild::Running;
                            return Next::Rebuild(why);
                        }
                        Present::Works => {}
                        Present::Ended | Present::Replaceable(_) => return Next::Begin,
                    }
                    let Some(ended) = state.ended.filter(|_| !state.is_ignored) else { return Next::Begin };
                    if state.lines.is_decided() || ended + LINES_TIME <= Instant::now() {
                        let now = Instant::now();
                        let due = state.pace.due(ended).min(end);
                        match state.lines.verdict(any_lost()) {
                            Verdict::Clean if now < due && !state.is_closing => {
                                state.pace.wait();
                                due
                            }
                            Verdict::Clean => return Next::Begin,
                            // `begin` is refused.
                            Verdict::Unclean(_) if state.is_closing => return Next::Begin,
                            Verdict::Unclean(why) => {
                                state.rebuild = Rebuild::Running;
                                return Next::Rebuild(why);
                            }
                        }
                    } else if lines_end <= Instant::now() {
                        return Next::TimeOut;
                    } else {
                        lines_end.min(ended + LINES_TIME)
                    }
                }
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && matches!(state.rebuild, Rebuild::Running) {
                return Next::TimeOut;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The rebuild has ended. After success nothing of the previous transaction can arrive.
    pub(crate) fn rebuilt(&self, outcome: Result<()>) {
        let mut state = lock(&self.state);
        state.rebuild = match outcome {
            Ok(()) => {
                state.lines = EndLines::default();
                state.ended = None;
                Rebuild::None
            }
            Err(error) => Rebuild::Failed(error),
        };
        self.changed.notify_all();
    }

    /// Lets no rebuild start any more. Returns whether one is running.
    pub(crate) fn close(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_closing = true;
        matches!(state.rebuild, Rebuild::Running)
    }

    /// Returns whether a rebuild is running.
    pub(crate) fn is_rebuilding(&self) -> bool {
        matches!(lock(&self.state).rebuild, Rebuild::Running)
    }

    /// Waits for the end of a rebuild that is running, until `end`.
    pub(crate) fn wait_for_rebuild(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let is_running = |state: &mut State| matches!(state.rebuild, Rebuild::Running);
        drop(self.changed.wait_timeout_while(lock(&self.state), left, is_running));
    }

    /// Uses the producer further whatever the lines say. Only for tests.
    pub(crate) fn ignore(&self) {
        lock(&self.state).is_ignored = true;
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;

    use super::*;

    const GOOD: &str = "EndTxn returned NO_ERROR in state CommittingTransaction (may_retry=true)";
    const BAD: &str = "EndTxn returned _TRANSPORT in state CommittingTransaction (may_retry=true)";
    const END: &str = "Committed transaction now acked by application";

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn works() -> Present {
        Present::Works
    }

    /// All requests were answered.
    fn none() -> bool {
        false
    }

    /// A transaction that ended with these answers.
    fn ended(answers: &[&str]) -> PreviousTransaction {
        let previous = PreviousTransaction::default();
        previous.begun();
        answers.iter().for_each(|line| previous.read("ENDTXN", line));
        previous.read("TXNCOMMIT", END);
        previous.ended(None, Instant::now());
        previous
    }

    #[test]
    fn after_a_clean_end_the_next_transaction_begins_at_once() {
        let now = Instant::now();
        assert!(matches!(PreviousTransaction::default().next(now, works, none), Next::Begin), "the first one");
        assert!(matches!(ended(&[GOOD]).next(now, works, none), Next::Begin));
        // One that is open: librdkafka refuses the call.
        let open = ended(&[BAD, GOOD]);
        open.begun();
        assert!(matches!(open.next(now, works, none), Next::Begin));
    }

    #[test]
    fn the_next_transaction_begins_after_the_time_that_the_markers_need() {
        let previous = PreviousTransaction::default();
        let pause = || {
            let now = Instant::now();
            lock(&previous.state).pace.due(now) - now
        };
        let end = |at| {
            previous.read("ENDTXN", GOOD);
            previous.read("TXNCOMMIT", END);
            previous.ended(None, at);
        };
        previous.begun();
        let refused =
            "Producer attempted to update a transaction while another concurrent operation on the same transaction";
        previous.read("ADDPARTS", &format!("AddPartitionsToTxn response: partition \"t\": [0]: Broker: {refused}"));
        let later = Instant::now() + Duration::from_millis(50);
        end(later);
        let learned = pause();
        assert!(!learned.is_zero());
        assert!(matches!(previous.next(soon(), works, none), Next::Begin));
        assert!(Instant::now() >= later + learned);
        previous.begun();
        end(Instant::now());
        assert!(pause() < learned, "it waited, and was not refused");
        // The caller has less time.
        previous.ended(None, soon());
        assert!(matches!(previous.next(Instant::now(), works, none), Next::Begin));
    }

    #[test]
    fn lines_that_come_after_the_call_are_waited_for() {
        let previous = PreviousTransaction::default();
        previous.begun();
        previous.ended(None, Instant::now());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| previous.next(soon(), works, none));
            previous.read("ENDTXN", GOOD);
            previous.read("TXNCOMMIT", END);
            assert!(matches!(waits.join().unwrap(), Next::Begin));
        });
    }

    #[test]
    fn without_its_lines_an_end_is_unclean_after_a_time() {
        let previous = PreviousTransaction::default();
        previous.begun();
        previous.ended(None, Instant::now().checked_sub(LINES_TIME).unwrap());
        assert!(matches!(previous.next(Instant::now(), works, none), Next::Rebuild(_)));
        previous.begun();
        previous.rebuilt(Ok(()));
        previous.begun();
        previous.ended(None, soon());
        assert!(matches!(previous.next(Instant::now(), works, none), Next::TimeOut), "they may still come");
    }

    #[test]
    fn one_call_starts_the_rebuild_and_others_wait_for_it() {
        let previous = ended(&[BAD, GOOD]);
        assert!(
            matches!(previous.next(soon(), works, none), Next::Rebuild(why) if why == "EndTxn returned _TRANSPORT")
        );
        assert!(matches!(previous.next(Instant::now(), works, none), Next::TimeOut), "it takes longer");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| previous.next(soon(), works, none));
            previous.rebuilt(Ok(()));
            assert!(matches!(waits.join().unwrap(), Next::Begin));
        });
    }

    #[test]
    fn a_rebuild_that_failed_is_repeated_by_the_next_call() {
        let previous = ended(&[BAD, GOOD]);
        for _ in 0..2 {
            assert!(matches!(previous.next(soon(), works, none), Next::Rebuild(_)));
            previous.rebuilt(Err(Error::new(ErrorKind::Authorization, "denied")));
        }
        assert!(matches!(previous.next(soon(), works, none), Next::Rebuild(_)), "not the error of an earlier call");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| previous.next(soon(), works, none));
            // Whether it waits already makes no difference: it starts another rebuild, or gets the error.
            previous.rebuilt(Err(Error::new(ErrorKind::Authorization, "denied")));
            assert!(matches!(waits.join().unwrap(), Next::Fail(_) | Next::Rebuild(_)));
        });
    }

    #[test]
    fn a_close_waits_for_the_rebuild_and_lets_no_other_start() {
        let previous = ended(&[BAD, GOOD]);
        assert!(matches!(previous.next(soon(), works, none), Next::Rebuild(_)));
        assert!(previous.close());
        previous.wait_for_rebuild(Instant::now());
        assert!(previous.is_rebuilding(), "it took longer");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| previous.wait_for_rebuild(soon()));
            previous.rebuilt(Err(Error::new(ErrorKind::Closed, "closed")));
            waits.join().unwrap();
        });
        assert!(matches!(previous.next(soon(), works, none), Next::Begin), "which is refused");
        assert!(!previous.close());
    }

    #[test]
    fn a_doubt_of_the_caller_is_a_reason() {
        let previous = PreviousTransaction::default();
        previous.begun();
        previous.read("ENDTXN", GOOD);
        previous.read("TXNABORT", "Aborted transaction now acked by application");
        previous.ended(Some("a commit was requested before"), Instant::now());
        assert!(matches!(previous.next(soon(), works, none), Next::Rebuild(why) if why.contains("a commit")));
    }

    #[test]
    fn an_unclean_end_is_ignored_on_request() {
        let previous = ended(&[BAD, GOOD]);
        previous.ignore();
        assert!(matches!(previous.next(soon(), works, none), Next::Begin));
    }

    #[test]
    fn a_producer_that_has_ended_is_replaced_if_it_may_be() {
        let previous = PreviousTransaction::default();
        previous.begun();
        assert!(matches!(previous.next(soon(), || Present::Ended, none), Next::Begin));
        let replaceable = || Present::Replaceable("it ended".to_owned());
        assert!(matches!(previous.next(soon(), replaceable, none), Next::Rebuild(why) if why == "it ended"));
        assert!(matches!(previous.next(Instant::now(), replaceable, none), Next::TimeOut), "one rebuild at a time");
        previous.rebuilt(Ok(()));
        assert!(matches!(previous.next(soon(), works, none), Next::Begin));
        // Also after an unclean end.
        assert!(matches!(ended(&[BAD, GOOD]).next(soon(), || Present::Ended, none), Next::Begin));
        previous.close();
        assert!(matches!(previous.next(soon(), replaceable, none), Next::Begin), "which is refused");
    }
}
