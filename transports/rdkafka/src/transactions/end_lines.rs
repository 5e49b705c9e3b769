//! Decides whether a transaction ended cleanly: from librdkafka's log, and from whether a request had no answer.
//! Pure.
//!
//! An end is clean if every request of the transaction was answered, and librdkafka sent one `EndTxn` request that the
//! coordinator answered with success, or none because the transaction was empty. After any other end a copy of a request
//! may still reach a broker, which takes it for a request of the *next* transaction, because with librdkafka's protocol
//! the epoch stays the same:
//!
//! - A late `EndTxn` ends the next transaction (KAFKA-17754).
//! - A record that was given up in flight may be in the log, and librdkafka uses its sequence number again: the broker
//!   takes the next record for a copy of it, answers with success, and does not write it.
//!
//! A missing line counts as a missing answer.
//!
//! The lines are those of librdkafka 2.12.1 for the facet `eos`, all written by its main thread. The last one, by which
//! the lines are complete, is written when the call returns `Ok`.

use crate::log_lines::without_thread;

/// What the log says about the end of the present transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndLines {
    /// Number of successful answers to `EndTxn` requests.
    answers: usize,
    /// librdkafka sent no request, because no partition took part.
    not_sent: bool,
    /// The first sign that a request may be on its way without an answer.
    trouble: Option<String>,
    complete: bool,
}

/// Whether a request of the transaction may still arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Clean,
    /// With the reason.
    Unclean(String),
}

impl EndLines {
    /// Reads a line. Lines about other things change nothing.
    pub(crate) fn read(&mut self, facility: &str, line: &str) {
        let line = without_thread(line);
        match facility {
            "ENDTXN" => {
                let name = line.strip_prefix("EndTxn returned ").and_then(|rest| rest.split(' ').next());
                match name {
                    Some("NO_ERROR") => self.answers += 1,
                    Some(name) => self.trouble(format!("EndTxn returned {name}")),
                    None => self.trouble(line.to_owned()),
                }
            }
            "TXNCOMMIT" | "TXNABORT" => {
                self.not_sent |= line == "No partitions registered: not sending EndTxn";
                self.complete |= line.ends_with("ed transaction now acked by application");
            }
            // In these states a request was sent, and its answer would have no line.
            "TXNERR" if ["CommittingTransaction", "AbortingTransaction"].iter().any(|state| line.contains(state)) => {
                self.trouble(line.to_owned());
            }
            _ => {}
        }
    }

    /// Records a reason from elsewhere. The first one counts.
    pub(crate) fn trouble(&mut self, why: String) {
        self.trouble.get_or_insert(why);
    }

    /// Returns whether no further line is to come.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns whether no further line changes the verdict.
    pub(crate) fn is_decided(&self) -> bool {
        self.complete || self.trouble.is_some()
    }

    /// `any_lost`: whether a request of a transaction ended without an answer.
    pub(crate) fn verdict(&self, any_lost: bool) -> Verdict {
        let why = match (&self.trouble, self.answers, self.not_sent) {
            (Some(why), _, _) => why.clone(),
            _ if any_lost => "a request had no answer".to_owned(),
            _ if !self.complete => "librdkafka's log did not show the answer in time".to_owned(),
            (None, 1, false) | (None, 0, true) => return Verdict::Clean,
            (None, 0, false) => "librdkafka's log shows no answer".to_owned(),
            (None, _, _) => "librdkafka's log shows more than one answer".to_owned(),
        };
        Verdict::Unclean(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: (&str, &str) = ("TXNCOMMIT", "[thrd:main]: Committed transaction now acked by application");
    const ABORTED: (&str, &str) = ("TXNABORT", "[thrd:main]: Aborted transaction now acked by application");

    fn answer(name: &str) -> String {
        format!("[thrd:main]: EndTxn returned {name} in state CommittingTransaction (may_retry=true)")
    }

    fn read(lines: &[(&str, &str)]) -> EndLines {
        let mut seen = EndLines::default();
        lines.iter().for_each(|(facility, line)| seen.read(facility, line));
        seen
    }

    fn reason(lines: &[(&str, &str)]) -> String {
        match read(lines).verdict(false) {
            Verdict::Unclean(why) => why,
            Verdict::Clean => panic!("clean: {lines:?}"),
        }
    }

    #[test]
    fn one_successful_answer_is_clean() {
        for end in [COMMITTED, ABORTED] {
            let seen = read(&[
                ("TXNAPI", "Transactional API called: commit_transaction (in txn state InTransaction, …)"),
                ("TXNCOMMIT", "[thrd:app]: Flushing 3 outstanding message(s) prior to commit"),
                ("TXNCOMMIT", "[thrd:app]: Transaction commit message flush complete"),
                ("ENDTXN", &answer("NO_ERROR")),
                end,
            ]);
            assert!(seen.is_complete());
            assert_eq!(seen.verdict(false), Verdict::Clean);
        }
    }

    #[test]
    fn an_empty_transaction_is_clean_without_an_answer() {
        for (facility, end) in [("TXNCOMMIT", COMMITTED), ("TXNABORT", ABORTED)] {
            let not_sent = (facility, "[thrd:main]: No partitions registered: not sending EndTxn");
            assert_eq!(read(&[not_sent, end]).verdict(false), Verdict::Clean);
            assert!(reason(&[not_sent, ("ENDTXN", &answer("NO_ERROR")), end]).contains("more than one"));
        }
    }

    #[test]
    fn an_answer_after_a_retry_is_unclean_and_names_the_first_result() {
        for name in ["_TRANSPORT", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "NOT_COORDINATOR", "CONCURRENT_TRANSACTIONS"] {
            let why = reason(&[("ENDTXN", &answer(name)), ("ENDTXN", &answer("NO_ERROR")), COMMITTED]);
            assert_eq!(why, format!("EndTxn returned {name}"));
            // Also after a commit that was given up, and in the other order.
            reason(&[("ENDTXN", &answer("NO_ERROR")), ("ENDTXN", &answer(name)), ABORTED]);
        }
        let twice = [("ENDTXN", &*answer("NO_ERROR")), ("ENDTXN", &*answer("NO_ERROR")), COMMITTED];
        assert!(reason(&twice).contains("more than one"));
    }

    #[test]
    fn a_request_without_an_answer_is_unclean() {
        let seen = read(&[("ENDTXN", &answer("NO_ERROR")), COMMITTED]);
        assert_eq!(seen.verdict(true), Verdict::Unclean("a request had no answer".to_owned()));
    }

    #[test]
    fn a_missing_line_is_unclean() {
        let good = answer("NO_ERROR");
        let lines = [("ENDTXN", &*good), COMMITTED];
        for left_out in 0..lines.len() {
            let rest: Vec<_> = (0..lines.len()).filter(|at| *at != left_out).map(|at| lines[at]).collect();
            assert!(reason(&rest).starts_with("librdkafka's log"));
        }
        reason(&[]);
    }

    #[test]
    fn a_transaction_that_failed_while_its_end_was_requested_is_unclean() {
        for state in ["CommittingTransaction", "AbortingTransaction"] {
            let failed = format!("[thrd:main]: Current transaction failed in state {state}: timed out (_TIMED_OUT)");
            reason(&[("TXNERR", &failed), ("ENDTXN", &answer("NO_ERROR")), ABORTED]);
        }
        // A record was refused before: no end was requested then.
        let failed = "[thrd:main]: Current transaction failed in state InTransaction: refused (MSG_SIZE_TOO_LARGE)";
        let seen = read(&[("TXNERR", failed), ("ENDTXN", &answer("NO_ERROR")), ABORTED]);
        assert_eq!(seen.verdict(false), Verdict::Clean);
    }

    #[test]
    fn a_line_that_is_not_understood_is_unclean() {
        reason(&[("ENDTXN", "EndTxn answered"), ("ENDTXN", &answer("NO_ERROR")), COMMITTED]);
    }
}
