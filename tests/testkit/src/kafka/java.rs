//! Runs Kafka's own Java code, for golden vectors and for functions that librdkafka lacks. Each call runs a JVM on a
//! source file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::kafka::launcher::Launcher;
use crate::kafka::provision::{self, Source};
use crate::kafka::{Error, client, jars};

/// `org.apache.kafka.common.utils.Utils.murmur2` of each key. `None` without Java or its compiler.
///
/// # Errors
///
/// If the Java program fails.
pub async fn murmur2<K: AsRef<[u8]>>(keys: &[K]) -> Result<Option<Vec<i32>>, Error> {
    let mut input = String::new();
    for key in keys {
        input.push_str(&hex(key.as_ref()));
        input.push('\n');
    }
    let Some(output) = run("Murmur2.java", Vec::new(), input).await? else {
        provision::skip_java();
        return Ok(None);
    };
    let hashes: Vec<_> = output.lines().filter_map(|line| line.parse().ok()).collect();
    if hashes.len() == keys.len() {
        return Ok(Some(hashes));
    }
    Err(Error::new(format!("{} keys, {} hashes", keys.len(), hashes.len())))
}

/// Returns the partition that Java's default partitioner gives to a key with this hash.
#[must_use]
pub fn partition(hash: i32, partitions: i32) -> i32 {
    // `Utils.toPositive` clears the sign bit, which is not the absolute value.
    (hash & 0x7fff_ffff) % partitions
}

/// The lag of a group by topic and partition.
pub type GroupLag = BTreeMap<(String, i32), Option<u64>>;

/// Trace context that OpenTelemetry's Java propagators found in the headers of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// In hex; zeros if there was no context.
    pub trace_id: String,
    /// In hex; zeros if there was no context.
    pub span_id: String,
    /// `01`: sampled.
    pub flags: String,
    /// `key=value`, decoded and sorted.
    pub baggage: Vec<String>,
}

/// Reads a topic with Kafka's Java consumer, and extracts W3C trace context and baggage from each record with
/// OpenTelemetry's Java propagators. `None` without Java or its compiler.
///
/// # Errors
///
/// If the jars are not available, or the Java program fails.
pub async fn extract(bootstrap: &str, topic: &str) -> Result<Option<Vec<Extracted>>, Error> {
    let arguments = vec![bootstrap.to_owned(), topic.to_owned()];
    let more = || jars::opentelemetry().map_err(Error::new);
    let Some(output) = run_with("Extract.java", more, arguments, String::new()).await? else {
        provision::skip_java();
        return Ok(None);
    };
    let parse = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [partition, offset, trace_id, span_id, flags, baggage] = fields.as_slice() else { return None };
        Some(Extracted {
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
            trace_id: (*trace_id).to_owned(),
            span_id: (*span_id).to_owned(),
            flags: (*flags).to_owned(),
            baggage: baggage.split('\u{1}').filter(|entry| !entry.is_empty()).map(str::to_owned).collect(),
        })
    };
    let records: Option<Vec<_>> = output.lines().map(parse).collect();
    records.map(Some).ok_or_else(|| Error::new(format!("Extract.java printed {output:?}")))
}

/// Returns the lag of a group in each partition of its topics, as `kafka-consumer-groups.sh --describe` shows it. `None` as
/// the lag if the group has committed nothing, and as the result without Java.
///
/// # Errors
///
/// If the jars are not available, or the tool fails.
pub async fn lag(bootstrap: &str, group: &str) -> Result<Option<GroupLag>, Error> {
    const TOOL: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let arguments = ["--bootstrap-server", bootstrap, "--describe", "--group", group].map(str::to_owned);
    let output = client::blocking(move || {
        let Some(mut command) = command_with(|| jars::tools().map_err(Error::new))? else { return Ok(None) };
        command.arg(TOOL).args(arguments).output().map(Some).map_err(Error::with("cannot start java"))
    });
    let Some(output) = output.await? else {
        provision::skip_java();
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&output.stdout);
    // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        Some(((fields.get(1)?.to_string(), fields.get(2)?.parse().ok()?), fields.get(5)?.parse().ok()))
    };
    let lag: GroupLag = text.lines().filter_map(parse).collect();
    if lag.is_empty() {
        return Err(Error::new(format!("{TOOL}: {text}{}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(Some(lag))
}

/// Lower case, without separators.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A command that runs Java with Kafka's jars on its class path and warnings of Kafka's clients off; it needs a class or
/// a source file. `None` without Java or its jars.
#[must_use]
pub fn command() -> Option<Command> {
    command_with(|| Ok(OsString::new())).ok().flatten()
}

/// The same with `more` on the class path.
fn command_with(more: impl FnOnce() -> Result<OsString, Error>) -> Result<Option<Command>, Error> {
    let Ok(Source::Java(Launcher::Java { jars, .. })) = Source::find() else { return Ok(None) };
    let (more, mut classpath) = (more()?, jars.classpath.clone());
    if !more.is_empty() {
        classpath.push(":");
        classpath.push(more);
    }
    let mut command = Command::new(&jars.java);
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", QUIET, "-cp"]).arg(classpath);
    Ok(Some(command))
}

/// Suppresses the client's log on stderr, which would hide an exception.
const QUIET: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error";

/// Runs a source file of `assets` with the jars of Kafka.
pub(crate) async fn run(source: &'static str, arguments: Vec<String>, input: String) -> Result<Option<String>, Error> {
    run_with(source, || Ok(OsString::new()), arguments, input).await
}

/// The same with `more` on the class path.
async fn run_with(
    source: &'static str,
    more: impl FnOnce() -> Result<OsString, Error> + Send + 'static,
    arguments: Vec<String>,
    input: String,
) -> Result<Option<String>, Error> {
    client::blocking(move || {
        let Some(mut command) = command_with(more)? else { return Ok(None) };
        let mut child = command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(source))
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::with("cannot start java"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A JVM that ends early reports the reason by its status.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(Error::with("java"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        if errors.contains("jdk.compiler") {
            return Ok(None);
        }
        Err(Error::new(format!("{source}: {errors}")))
    })
    .await
}
