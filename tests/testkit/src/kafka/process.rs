//! External views of a process, for stopping it reliably and for error texts.

use std::fs;
use std::path::Path;

/// Returns the states of a process's threads in Linux's notation; `T` is stopped.
pub(crate) fn threads(pid: u32) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    // The name before the state is in parentheses, and may contain some.
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

/// Returns the last lines of a file. Empty if there is none.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Shortens long words, because the class path is longer than everything else together.
pub(crate) fn shorten(word: &str) -> String {
    if word.len() > 300 { format!("{}…", word.chars().take(60).collect::<String>()) } else { word.to_owned() }
}
