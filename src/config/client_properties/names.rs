//! What the names in a properties file mean: those of Java's clients, of librdkafka, and of what is configured beside them.

use crate::config::overlay::Setting;
use crate::config::properties::property::Client;
use crate::config::properties::{self, find, set_by};
use crate::config::side::{SINK, SOURCE, Side};

/// What to do with a setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Sets(Setting<'static>, String),
    /// It has no effect here, for this reason: a phrase that follows "which".
    Ignored(&'static str),
    /// What is wrong, a phrase that follows the name, and what to do.
    Wrong(String, String),
    /// The same for a name that may be a secret: it is in the phrase if it is none.
    Unknown(String, String),
}

const REGISTRY: &str = "is for a schema registry";
const BOUNDED: &str = "other limits bound";
const CODE: &str = "is chosen in code";

/// Names that begin like this, or are this, belong to clients of a schema registry.
const OF_REGISTRIES: [&str; 14] = [
    "apicurio.",
    "auto.register.schemas",
    "aws.region",
    "basic.auth.",
    "bearer.auth.",
    "json.fail.invalid.schema",
    "json.value.type",
    "key.subject.name.strategy",
    "latest.compatibility.strict",
    "normalize.schemas",
    "schema.registry.",
    "specific.avro.reader",
    "use.latest.version",
    "value.subject.name.strategy",
];

/// Java's names of settings that change nothing of what is sent or read.
const WITHOUT_EFFECT: [(&str, &str); 12] = [
    ("auto.include.jmx.reporter", "is for Java's metrics"),
    ("exclude.internal.topics", CODE),
    ("key.deserializer", CODE),
    ("key.serializer", CODE),
    ("max.block.ms", "is a part of the time of a send"),
    ("max.poll.records", BOUNDED),
    ("metric.reporters", "is for Java's metrics"),
    ("metrics.num.samples", "is for Java's metrics"),
    ("metrics.recording.level", "is for Java's metrics"),
    ("metrics.sample.window.ms", "is for Java's metrics"),
    ("value.deserializer", CODE),
    ("value.serializer", CODE),
];

pub(super) fn meaning(side: &Side, name: &str, value: &str) -> Meaning {
    if let Some(problem) = placeholder(value) {
        return Meaning::Wrong(problem.to_owned(), "write the value itself".to_owned());
    }
    let known = renamed(side.client, name, value).or_else(|| {
        let field = set_by(side, name);
        let field = field.map(|field| Meaning::Sets(Setting::Field(field), as_field(field, value)));
        field.or_else(|| {
            find(name).filter(|property| property.is_of(side.client)).map(|property| of(property.name, value))
        })
    });
    if let Some(known) = known {
        return known;
    }
    let without_effect = WITHOUT_EFFECT.iter().find(|(known, _)| *known == name);
    if let Some((_, why)) = without_effect.filter(|_| !is_of_other(side, name)) {
        return Meaning::Ignored(why);
    }
    if OF_REGISTRIES.iter().any(|known| name == *known || known.ends_with('.') && name.starts_with(known)) {
        return Meaning::Ignored(REGISTRY);
    }
    if is_of_other(side, name) {
        return Meaning::Ignored(if side.client == Client::Producer { "is for consumers" } else { "is for producers" });
    }
    let stands_alone = value.is_empty() && properties::java::cure(side.client, name).is_none();
    if find(value).is_none() && (stands_alone || !is_name(name)) {
        let cure = "end each line of a longer value but the last with a backslash, or remove it";
        return Meaning::Unknown("this is not a setting".to_owned(), cure.to_owned());
    }
    let (problem, cure) = properties::refusal(side, name, value);
    Meaning::Unknown(problem, cure)
}

/// Whether it may be shown: it is no part of a key or password that stands on a line of its own.
pub(super) fn is_name(text: &str) -> bool {
    find(text).is_some()
        || text.contains('.')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// Whether only the other client has it, as one of librdkafka's properties or of Java's.
fn is_of_other(side: &Side, name: &str) -> bool {
    let (own, other) = match side.client {
        Client::Producer => (Client::Producer, &SOURCE),
        Client::Consumer => (Client::Consumer, &SINK),
    };
    let of_java = |client| properties::java::cure(client, name).is_some();
    side.foreign().any(|foreign| foreign == name)
        || !of_java(own) && (of_java(other.client) || renamed(other.client, name, "").is_some())
}

/// Names that set something under another name here.
fn renamed(client: Client, name: &str, value: &str) -> Option<Meaning> {
    use Client::{Consumer, Producer};
    let field = |name, value: &str| Some(Meaning::Sets(Setting::Field(name), value.to_owned()));
    match (client, name) {
        (_, "receive.buffer.bytes") => Some(of("socket.receive.buffer.bytes", system_default(value))),
        (_, "send.buffer.bytes") => Some(of("socket.send.buffer.bytes", system_default(value))),
        (_, "ssl.endpoint.identification.algorithm") => {
            Some(of("ssl.endpoint.identification.algorithm", if value.is_empty() { "none" } else { value }))
        }
        (Producer, "buffer.memory") => field("buffer_memory", value),
        (Producer, "delivery.timeout.ms") => field("send_timeout_ms", value),
        (Producer, "max.request.size") => Some(of("message.max.bytes", value)),
        (Producer, "queue.buffering.max.kbytes") => field("buffer_memory", &kbytes(value)),
        (Producer, "queue.buffering.max.messages") => Some(Meaning::Ignored(BOUNDED)),
        (Consumer, "auto.commit.interval.ms") => field("commit_interval_ms", value),
        (Consumer, "default.api.timeout.ms") => field("connect_timeout_ms", value),
        (Consumer, "enable.auto.commit") => match properties::value::flag(value) {
            Some(false) => field("commit", "manual"),
            Some(true) => field("commit", "automatic"),
            None => Some(Meaning::Wrong(" is neither true nor false".to_owned(), "write true or false".to_owned())),
        },
        (Consumer, "fetch.max.bytes") => Some(Meaning::Ignored(BOUNDED)),
        (Consumer, "fetch.max.wait.ms") => field("fetch_max_wait_ms", value),
        (Consumer, "request.timeout.ms") => Some(of("socket.timeout.ms", value)),
        (Consumer, "queued.max.messages.kbytes") => field("buffer_bytes", &kbytes(value)),
        _ => None,
    }
}

fn of(property: &'static str, value: &str) -> Meaning {
    Meaning::Sets(Setting::Property(property), value.to_owned())
}

/// The value as its field names it.
fn as_field(field: &str, value: &str) -> String {
    let value = match (field, value) {
        ("start", "smallest" | "beginning") => "earliest",
        ("start", "largest" | "end") => "latest",
        ("assignor", class) => match class.strip_prefix("org.apache.kafka.clients.consumer.") {
            Some("CooperativeStickyAssignor") => "cooperative-sticky",
            Some("RangeAssignor") => "range",
            Some("RoundRobinAssignor") => "roundrobin",
            _ => class,
        },
        _ => value,
    };
    value.to_owned()
}

/// Java's clients use -1 for the system's default, librdkafka 0.
fn system_default(value: &str) -> &str {
    if value == "-1" { "0" } else { value }
}

/// A number of kB in bytes.
fn kbytes(value: &str) -> String {
    let bytes = value.parse().ok().and_then(|kbytes: u64| kbytes.checked_mul(1024));
    bytes.map_or_else(|| value.to_owned(), |bytes| bytes.to_string())
}

/// A value that somebody or something has still to fill in.
pub(super) fn placeholder(value: &str) -> Option<&'static str> {
    if value.contains("{{") && value.contains("}}") || value.starts_with('<') && value.ends_with('>') {
        return Some(" has a placeholder in place of a value");
    }
    (value.contains("${") && value.contains('}'))
        .then_some(" has a `${…}`, which only Java's `config.providers` replace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_meaning() {
        let field = |name, value: &str| Meaning::Sets(Setting::Field(name), value.to_owned());
        for (name, value, meant) in [
            ("acks", "-1", field("acks", "-1")),
            ("bootstrap.servers", "a:1", field("brokers", "a:1")),
            ("max.in.flight.requests.per.connection", "3", field("max_in_flight_requests", "3")),
            ("delivery.timeout.ms", "120000", field("send_timeout_ms", "120000")),
            ("queue.buffering.max.kbytes", "64", field("buffer_memory", "65536")),
            ("buffer.memory", "65536", field("buffer_memory", "65536")),
            ("batch.size", "65536", of("batch.size", "65536")),
            ("send.buffer.bytes", "-1", of("socket.send.buffer.bytes", "0")),
            ("ssl.endpoint.identification.algorithm", "", of("ssl.endpoint.identification.algorithm", "none")),
            ("key.serializer", "x", Meaning::Ignored(CODE)),
            ("session.timeout.ms", "45000", Meaning::Ignored("is for consumers")),
            ("max.poll.records", "5", Meaning::Ignored("is for consumers")),
            ("enable.auto.commit", "true", Meaning::Ignored("is for consumers")),
            ("default.api.timeout.ms", "5", Meaning::Ignored("is for consumers")),
            ("schema.registry.url", "https://a", Meaning::Ignored(REGISTRY)),
            ("basic.auth.user.info", "a:b", Meaning::Ignored(REGISTRY)),
        ] {
            assert_eq!(meaning(&SINK, name, value), meant, "{name}");
        }
        for (name, value, meant) in [
            ("auto.offset.reset", "smallest", field("start", "earliest")),
            ("enable.auto.commit", "false", field("commit", "manual")),
            ("queued.max.messages.kbytes", "1", field("buffer_bytes", "1024")),
            ("request.timeout.ms", "60000", of("socket.timeout.ms", "60000")),
            ("max.poll.records", "5", Meaning::Ignored(BOUNDED)),
            ("acks", "all", Meaning::Ignored("is for producers")),
            ("buffer.memory", "5", Meaning::Ignored("is for producers")),
            ("max.request.size", "5", Meaning::Ignored("is for producers")),
            (
                "partition.assignment.strategy",
                "org.apache.kafka.clients.consumer.RangeAssignor",
                field("assignor", "range"),
            ),
        ] {
            assert_eq!(meaning(&SOURCE, name, value), meant, "{name}");
        }
    }

    #[test]
    fn tables_do_not_hide_settings_that_have_an_effect() {
        for (name, _) in WITHOUT_EFFECT {
            assert!(find(name).is_none(), "{name}");
        }
        for property in [&SINK, &SOURCE].into_iter().flat_map(Side::properties) {
            let of_registry = OF_REGISTRIES.iter().any(|known| property.name.starts_with(known));
            assert!(!of_registry, "{}", property.name);
        }
    }
}
