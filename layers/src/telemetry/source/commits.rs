//! Commits, from the request to the answer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use kafka_tower_core::sync::lock;
use kafka_tower_core::{CommitAnswer, CommitTicket, TopicPartition};
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::SourceTelemetry;
use crate::telemetry::{attributes, semconv};

/// Maximum number of commits whose answer is waited for. One that never comes is forgotten.
const OPEN: usize = 16;

/// When each commit was sent.
#[derive(Debug, Default)]
pub(super) struct Commits(Mutex<BTreeMap<CommitTicket, (Instant, SystemTime)>>);

impl SourceTelemetry {
    /// A commit is sent.
    pub fn commit_sent(&self, ticket: CommitTicket) {
        if self.live().is_none() && !self.0.telemetry.0.spans.are_made() {
            return;
        }
        let mut open = lock(&self.0.commits.0);
        if open.len() == OPEN {
            open.pop_first();
        }
        open.insert(ticket, (Instant::now(), SystemTime::now()));
    }

    /// A commit was answered.
    pub fn commit_answered(&self, ticket: CommitTicket, answers: &[(TopicPartition, CommitAnswer)]) {
        let Some((sent, begun)) = lock(&self.0.commits.0).remove(&ticket) else { return };
        for (at, answer) in answers {
            self.answered(at, answer, sent, begun);
        }
    }

    fn answered(&self, at: &TopicPartition, answer: &CommitAnswer, sent: Instant, begun: SystemTime) {
        let (inner, topic) = (&self.0.telemetry.0, self.topic(&at.topic));
        let (outcome, error) = match answer {
            CommitAnswer::Committed => ("committed", None),
            CommitAnswer::Retry(error) => ("retried", Some(error)),
            CommitAnswer::NotAMember(error) => ("not_a_member", Some(error)),
            CommitAnswer::Refused(error) => ("refused", Some(error)),
            _ => ("other", None),
        };
        let error = error.map(attributes::error_type);
        if let Some(instruments) = self.live() {
            let outcome = KeyValue::new(semconv::COMMIT_OUTCOME, outcome);
            instruments.commits.add(1, &attributes::with(&topic.own, [Some(outcome)]));
            let set = attributes::with(&topic.commit_duration, [error.clone()]);
            inner.instruments.live().into_iter().for_each(|all| all.duration(sent.elapsed(), &set));
        }
        let root = Context::new();
        if !inner.makes_spans(&root) {
            return;
        }
        let more = [attributes::partition(at.partition)].into_iter().chain(error.clone());
        let builder = topic.commit().span(more, Vec::new()).with_start_time(begun);
        if let Some(context) = inner.spans.start(builder, &root) {
            if error.is_some() {
                context.span().set_status(Status::error("not committed"));
            }
            context.span().end();
        }
    }
}
