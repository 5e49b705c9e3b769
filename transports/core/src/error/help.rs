//! Default help text of an error, by kind, persistence and recovery.

use super::{ErrorKind, Persistence, Recovery};

impl ErrorKind {
    pub(super) const fn help(self, persistence: Persistence, recovery: Recovery) -> &'static str {
        use Persistence::{NotPersisted, Persisted, PossiblyPersisted};
        use Recovery::{AbortTransaction, Fatal, Reject, Retry, Wait};
        match (self, persistence, recovery) {
            (_, Persisted, _) => {
                "the error cannot be NotPersisted, because the record is in the log: do not send another one"
            }

            (Self::Transaction, PossiblyPersisted, AbortTransaction) => {
                "abort the transaction; its records may be visible, so read the topic before they are sent again"
            }
            (Self::Transaction, NotPersisted, AbortTransaction) => "abort the transaction and replay it",
            (Self::Transaction, NotPersisted, Fatal) => "create a new sink and send the transaction's records again",
            (Self::Transaction, PossiblyPersisted, Fatal) => {
                "create a new sink; the transaction's records may be visible, so read the topic before they are sent again"
            }
            (Self::Transaction, NotPersisted, Reject) => "call in order: begin, send, commit or abort",
            (Self::Transaction, PossiblyPersisted, Reject) => {
                "the transaction's records may be visible: read the topic before they are sent again"
            }
            (Self::Transaction, _, Retry | Wait) => "make the same call again",

            (Self::Rejected, NotPersisted, Retry | Wait) => "send it again: another record in its batch was refused",
            (Self::Rejected, PossiblyPersisted, Retry | Wait) => "read the topic before the record is sent again",

            _ if self.has_its_cure() => match recovery {
                AbortTransaction => "correct what the message names, abort the transaction and replay it",
                _ => self.facts().help,
            },
            (_, NotPersisted, AbortTransaction) => "abort the transaction and replay it",
            (_, PossiblyPersisted, AbortTransaction) => {
                "abort the transaction; unless a commit was called, its records are not visible and can be replayed"
            }

            (Self::Fenced, NotPersisted, _) => {
                "create a new sink; make the transactional id unique per producer, or the transaction shorter than its time-out"
            }
            (Self::Fenced, PossiblyPersisted, _) => {
                "create a new sink, and read the topic before records are sent again; make the transactional id unique per \
                 producer, or the transaction shorter than its time-out"
            }
            (Self::Closed, PossiblyPersisted, _) | (_, PossiblyPersisted, Fatal) => {
                "create a new sink; send the record again only if a duplicate does no harm"
            }
            (_, NotPersisted, Fatal) => "create a new sink",

            (Self::Timeout, NotPersisted, Reject) => "allow more time or room",
            (Self::Timeout, NotPersisted, _) => "allow more time or room, or send it again",
            (Self::Timeout, PossiblyPersisted, _) => {
                "the record may still arrive: send it again only if a duplicate does no harm"
            }
            (Self::Connection, PossiblyPersisted, _) => {
                "check that the broker runs and is reachable; a record that is sent again may be written twice"
            }
            (Self::Broker, _, Reject) => "check the broker's health",
            (Self::Broker, NotPersisted, _) => "try again later; check the broker's health",
            (Self::Broker, PossiblyPersisted, _) => {
                "check the broker's health; a record that is sent again may be written twice"
            }
            (Self::Fatal, PossiblyPersisted, _) => {
                "create a new sink; a record that is sent again may be written twice"
            }
            _ => self.facts().help,
        }
    }

    /// Help text for an error that concerns no record, such as a failed connect.
    pub(super) const fn help_of_call(self, recovery: Recovery) -> &'static str {
        match (self, recovery) {
            (Self::Timeout, Recovery::Fatal) | (Self::Transaction, Recovery::Fatal) => "create a new sink",
            (Self::Timeout, _) => "allow more time",
            _ => self.help(Persistence::NotPersisted, recovery),
        }
    }

    /// Whether the kind's own help is right for every recovery.
    const fn has_its_cure(self) -> bool {
        matches!(
            self,
            Self::Config
                | Self::Serialization
                | Self::InvalidRecord
                | Self::RecordTooLarge
                | Self::Rejected
                | Self::UnknownTopicOrPartition
                | Self::Authorization
                | Self::Authentication
                | Self::Refused
        )
    }
}
