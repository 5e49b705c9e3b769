//! The Collector's process, and the files that it writes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::otlp::{self, Metric, Span};
use crate::{Error, build};

/// Maximum time for the Collector's start, and for expected data to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Another process may take the port between its choice and the Collector's start.
const TRIES: usize = 3;

/// Ends the Collector when this process ends for any reason, because the pipe closes.
const JANITOR: &str = r#"
trap '' INT TERM HUP
"$0" --config "$1/config.yaml" >"$1/log" 2>&1 </dev/null &
read -r _
kill -TERM $!
wait
rm -rf "$1"
"#;

/// A running Collector. It ends when this is dropped, or when the process ends.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    dir: PathBuf,
    janitor: Child,
}

impl Collector {
    /// Builds the Collector if necessary, and starts it on a free port. `None` without Go; a line has been printed.
    ///
    /// # Errors
    ///
    /// If it cannot be built or does not start, with the end of its log.
    ///
    /// # Panics
    ///
    /// If there is no Go and `KAFKA_TOWER_REQUIRE_KAFKA=1`.
    pub async fn start() -> Result<Option<Self>, Error> {
        let built = tokio::task::spawn_blocking(build::binary).await.map_err(Error::with("the build"))??;
        let Some(binary) = built else { return Ok(None) };
        let mut last = Error::new("not tried");
        for _ in 0..TRIES {
            let collector = Self::spawn(&binary)?;
            match collector.ready().await {
                Ok(()) => return Ok(Some(collector)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn spawn(binary: &Path) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = build::cache_dir().join("run").join(format!("{}-{number}", std::process::id()));
        // Left over from a process with this pid that was not cleaned up.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(Error::with(dir.display()))?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.map_err(Error::with("no free port"))?.port();
        let config = dir.join("config.yaml");
        fs::write(&config, configuration(port, &dir)).map_err(Error::with(config.display()))?;
        let janitor = Command::new("sh")
            .args(["-c", JANITOR])
            .arg(binary)
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::with("cannot start `sh`"))?;
        Ok(Self { endpoint: format!("http://127.0.0.1:{port}"), dir, janitor })
    }

    async fn ready(&self) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if log.contains("Everything is ready") {
                return Ok(());
            }
            if Instant::now() > end || log.contains("Error: ") {
                return Err(Error::new(format!("the Collector did not start:\n{log}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Value for `OTEL_EXPORTER_OTLP_ENDPOINT`, with the protocol `http/protobuf`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns all spans received so far.
    ///
    /// # Errors
    ///
    /// If the Collector's files cannot be read.
    pub fn spans(&self) -> Result<Vec<Span>, Error> {
        self.lines("traces.json")?.iter().try_fold(Vec::new(), |mut spans, line| {
            spans.extend(otlp::spans(line)?);
            Ok(spans)
        })
    }

    /// Returns all metrics received so far, once per report.
    ///
    /// # Errors
    ///
    /// If the Collector's files cannot be read.
    pub fn metrics(&self) -> Result<Vec<Metric>, Error> {
        self.lines("metrics.json")?.iter().try_fold(Vec::new(), |mut metrics, line| {
            metrics.extend(otlp::metrics(line)?);
            Ok(metrics)
        })
    }

    /// Waits for spans until `there` accepts them, and returns them.
    ///
    /// # Errors
    ///
    /// If that does not happen within 60 s, with the spans received.
    pub async fn spans_when(&self, there: impl Fn(&[Span]) -> bool) -> Result<Vec<Span>, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let spans = self.spans()?;
            if there(&spans) {
                return Ok(spans);
            }
            if Instant::now() > end {
                let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
                return Err(Error::new(format!("the expected items are not among {names:?}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits for metrics until `there` accepts them, and returns them.
    ///
    /// # Errors
    ///
    /// If that does not happen within 60 s, with the metrics received.
    pub async fn metrics_when(&self, there: impl Fn(&[Metric]) -> bool) -> Result<Vec<Metric>, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics()?;
            if there(&metrics) {
                return Ok(metrics);
            }
            if Instant::now() > end {
                let names: std::collections::BTreeSet<_> = metrics.iter().map(|metric| &metric.name).collect();
                return Err(Error::new(format!("the expected items are not among {names:?}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// One JSON object per line; the last line may be incomplete.
    fn lines(&self, file: &str) -> Result<Vec<String>, Error> {
        let path = self.dir.join(file);
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let text = File::open(&path).and_then(std::io::read_to_string).map_err(Error::with(path.display()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole.lines().map(str::to_owned).collect())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

fn configuration(port: u16, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{port}
exporters:
  file/traces:
    path: {dir}/traces.json
    flush_interval: 100ms
  file/metrics:
    path: {dir}/metrics.json
    flush_interval: 100ms
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [file/traces]
    metrics:
      receivers: [otlp]
      exporters: [file/metrics]
"
    )
}
