//! CPU time of this process, the broker, and other processes.

use std::fs;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Returns the CPU time of this process so far: user and system, all threads.
///
/// # Panics
///
/// Never: the system knows the calling process.
#[must_use]
pub fn own() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a value of the type that `getrusage` fills in; all zeros are a value of it as well.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Linux counts in hundredths of a second, whatever its own clock does.
fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// Returns the fields of a process from its state on; field 0 is the state.
fn fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.rfind(')')? + 2..];
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Returns the CPU time of other processes so far. Zero without `/proc`.
#[must_use]
pub fn of(pids: &[u32]) -> Duration {
    let used = |pid: &u32| {
        let fields = fields(*pid)?;
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    ticks(pids.iter().filter_map(used).sum())
}

/// Returns the CPU time of the whole machine so far, without idle time. None without `/proc`.
#[must_use]
pub fn machine() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = text.lines().next()?.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq
    Some(ticks([0, 1, 2, 5, 6].iter().filter_map(|i| fields.get(*i)).sum()))
}

/// Returns the child processes of this one.
#[must_use]
pub fn descendants() -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, fields(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut found = vec![std::process::id()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}
