//! Directory of one cluster, and the janitor process that ends the cluster with the test process.
//!
//! Statics are not dropped and a test process may be killed, so a child process cleans up: a shell that reads from a
//! pipe of the test process. The pipe closes when the test process ends for any reason; the shell then kills the
//! remaining processes by their pid and container files, and removes the directory. [`Drop`] closes the pipe earlier.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kafka::{Error, jars};

/// In its own process group and with traps: Ctrl-C ends the tests, not the janitor.
const JANITOR: &str = r#"
trap '' INT TERM HUP
read -r _
for file in "$0"/*/pid; do [ -f "$file" ] && kill -KILL "$(cat "$file")"; done
for file in "$0"/*/container; do [ -f "$file" ] && docker rm -f "$(cat "$file")"; done
for try in 1 2 3 4 5; do rm -rf "$0" && break; sleep 0.1; done
"#;

#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    janitor: Child,
}

impl Home {
    pub(crate) fn new() -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = jars::cache_dir().join("run").join(format!("{}-{number}", std::process::id()));
        // Left over from a process with the same pid that was not cleaned up (a power cut).
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(Error::with(dir.display()))?;
        let janitor = Command::new("sh")
            .args(["-c", JANITOR])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::with("cannot start `sh`"))?;
        Ok(Self { dir, janitor })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
