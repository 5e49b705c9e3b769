//! The Collector's binary, built if it is missing or its sources have changed.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use kafka_tower_testkit::kafka as cluster;

use crate::Error;
use crate::otlp::Metric;

/// Sources of the binary. `go.sum` has the checksums of everything that is fetched.
const SOURCES: [&str; 3] = [
    include_str!("../assets/collector/main.go"),
    include_str!("../assets/collector/go.mod"),
    include_str!("../assets/collector/go.sum"),
];

pub(crate) fn cache_dir() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    cluster::target_dir().join(format!("collector-{:016x}", hasher.finish()))
}

/// Returns the binary. `None` without a Go that can build it; a line has been printed.
///
/// # Panics
///
/// If there is no Go and `KAFKA_TOWER_REQUIRE_KAFKA=1`.
pub(crate) fn binary() -> Result<Option<PathBuf>, Error> {
    static SAID: Once = Once::new();
    let cache = cache_dir();
    fs::create_dir_all(&cache).map_err(Error::with(cache.display()))?;
    // Test binaries run in parallel.
    let lock = File::create(cache.join("lock")).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.map_err(Error::with(format!("cannot lock {}", cache.display())))?;
    let binary = cache.join("collector");
    if binary.is_file() {
        return Ok(Some(binary));
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/collector");
    // Also checks whether this Go is new enough, or may fetch one that is.
    let suits = Command::new("go").args(["mod", "download"]).current_dir(&sources).stdin(Stdio::null()).output();
    let missing = match suits {
        Err(_) => "no Go".to_owned(),
        Ok(output) if output.status.success() => String::new(),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    };
    if !missing.is_empty() {
        let line = format!("no OpenTelemetry Collector: {missing}. Install Go 1.24; the first time it needs a network");
        cluster::stand_aside(&SAID, &line);
        return Ok(None);
    }
    let fresh = cache.join("collector.new");
    let output = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"])
        .arg(&fresh)
        .arg(".")
        .current_dir(&sources)
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(Error::with("go build"))?;
    if !output.status.success() {
        return Err(Error::new(format!("go build: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    // Renamed in one step: complete or not there.
    fs::rename(&fresh, &binary).map_err(Error::with(binary.display()))?;
    Ok(Some(binary))
}

/// Returns the names of metrics in Prometheus, from the library that the Collector and Prometheus use. `None` as for
/// [`Collector::start`](crate::Collector::start).
///
/// # Errors
///
/// If the binary cannot be built, or rejects a metric.
pub fn prometheus_names(metrics: &[Metric]) -> Result<Option<Vec<String>>, Error> {
    let Some(binary) = binary()? else { return Ok(None) };
    let mut child = Command::new(binary)
        .arg("prometheus-names")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::with("cannot start the translation"))?;
    let lines: String =
        metrics.iter().map(|metric| format!("{}\t{}\t{}\n", metric.name, metric.unit, metric.kind.as_str())).collect();
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early reports the reason by its status.
        let _ = stdin.write_all(lines.as_bytes());
    }
    let output = child.wait_with_output().map_err(Error::with("the translation"))?;
    let names: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if !output.status.success() || names.len() != metrics.len() {
        return Err(Error::new(format!("{} metrics, {} names", metrics.len(), names.len())));
    }
    Ok(Some(names))
}
