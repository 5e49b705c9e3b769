//! Reads the events of librdkafka's consumer, and passes on those that are not the group's.

use std::time::Instant;

use kafka_tower_core::{Error, GroupEvent};

use super::shared::Shared;
use crate::classify;
use crate::codes;
use crate::events::ClientError;
use crate::ffi::Event;
use crate::ffi::consumer::{ConsumerInstance, Place};
use crate::log::Source;
use crate::tokens;
use crate::wrong_protocol;

/// librdkafka's codes of the two kinds of a rebalance.
const ASSIGN_PARTITIONS: i32 = -175;

/// An event of the group.
pub(super) enum Happened {
    Assigned(Vec<Place>),
    Revoked(Vec<Place>),
    Committed {
        number: u64,
        code: i32,
        places: Vec<Place>,
    },
    /// The consumer cannot read at present.
    Unable(GroupEvent),
    /// The consumer cannot go on.
    Ended(Error),
}

pub(super) fn read(shared: &Shared, instance: &ConsumerInstance, event: Event<'_>) -> Option<Happened> {
    match event {
        Event::Rebalance { code: ASSIGN_PARTITIONS, partitions } => Some(Happened::Assigned(partitions)),
        // Every other code, also an unknown one: librdkafka then waits for the same answer as to a revocation.
        Event::Rebalance { partitions, .. } => Some(Happened::Revoked(partitions)),
        Event::Committed { number, code, partitions } => Some(Happened::Committed { number, code, places: partitions }),
        Event::Error { code, fatal, text } => error(shared, instance, code, fatal, &text.to_string_lossy()),
        Event::Statistics(json) => {
            shared.hooks.event(&shared.log, "statistics", |events| {
                events.statistics(&json.to_string_lossy());
            });
            None
        }
        Event::TokenRefresh => {
            shared.hooks.refresh_token(instance.tokens());
            None
        }
        // The log comes by another way: see `logs`.
        Event::Log { .. } | Event::Reports(_) | Event::Other(_) => None,
    }
}

fn error(shared: &Shared, instance: &ConsumerInstance, code: i32, fatal: bool, text: &str) -> Option<Happened> {
    let cause = (fatal || code == codes::LOCAL_FATAL).then(|| instance.fatal_error()).flatten();
    let fatal = cause.is_some();
    let (code, text) = match cause {
        Some(cause) => cause,
        None => (code, wrong_protocol::explain(text).unwrap_or_else(|| text.to_owned())),
    };
    let name = codes::find(code).map(|row| row.name);
    let all_down = code == codes::LOCAL_ALL_BROKERS_DOWN;
    // Nothing keeps it from reading until the token that it has expires.
    let of_provider = tokens::is_failure(&text);
    let unable = if fatal || of_provider { None } else { unable(shared, instance, code, &text) };
    if fatal {
        tracing::error!(code, name, text, "the consumer has ended");
    } else if !all_down && unable.is_none() {
        shared.log.write(Source::Client { code }, &text, Instant::now());
    }
    if !all_down && !of_provider {
        shared.state().last_error = Some((code, text.clone()));
    }
    shared.hooks.event(&shared.log, "error", |events| {
        events.error(&ClientError { code, name, text: &text, fatal });
    });
    if fatal {
        return Some(Happened::Ended(ended(code, "the consumer has ended", Some(&text))));
    }
    unable.map(Happened::Unable)
}

fn unable(shared: &Shared, instance: &ConsumerInstance, code: i32, text: &str) -> Option<GroupEvent> {
    let now = Instant::now();
    let token = match code {
        codes::LOCAL_AUTHENTICATION => instance.tokens().facts().refused(now),
        codes::LOCAL_ALL_BROKERS_DOWN => instance.token_trouble(now),
        _ => None,
    };
    if let Some(text) = token {
        return shared.unable(codes::LOCAL_AUTHENTICATION, &text, None);
    }
    // Its text has no cause, which came before.
    let last = shared.state().last_error.clone().filter(|_| code == codes::LOCAL_ALL_BROKERS_DOWN);
    let with_cause = last.map(|(_, last)| format!("{text}; last error: {last}"));
    shared.unable(code, with_cause.as_deref().unwrap_or(text), None)
}

pub(crate) fn ended(code: i32, what: &str, text: Option<&str>) -> Error {
    classify::client_error(code, what, text).without_record()
}
