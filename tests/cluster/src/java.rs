//! Kafka's own Java code, for golden vectors and what librdkafka cannot do. Each call runs a JVM on
//! a source file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::launcher::Launcher;
use crate::provision::{self, Source};
use crate::{Error, client};

/// `org.apache.kafka.common.utils.Utils.murmur2` of each key. `None`: there is no Java here, or one
/// without its compiler.
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

/// The partition that Java's default partitioner gives to a key with this hash.
#[must_use]
pub fn partition(hash: i32, partitions: i32) -> i32 {
    // `Utils.toPositive`: the sign bit is cleared, which is not the absolute value.
    (hash & 0x7fff_ffff) % partitions
}

/// Lower case, without separators.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The client's chatter on stderr, which would bury an exception.
const QUIET: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error";

/// Runs a source file of `assets` with the jars of Kafka.
pub(crate) async fn run(source: &'static str, arguments: Vec<String>, input: String) -> Result<Option<String>, Error> {
    client::blocking(move || {
        let Ok(Source::Java(Launcher::Java { jars, .. })) = Source::find() else {
            return Ok(None);
        };
        let mut child = Command::new(&jars.java)
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", QUIET, "-cp"])
            .arg(&jars.classpath)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(source))
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::with("cannot start java"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A JVM that ends early says why by its status.
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
