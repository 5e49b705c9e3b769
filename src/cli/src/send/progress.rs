//! The progress bar, on a terminal only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::summary::Counts;
use crate::output::BARS;

#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    read: Arc<AtomicU64>,
    is_file: bool,
}

impl Progress {
    pub(super) fn start(size: Option<u64>, read: Arc<AtomicU64>) -> Self {
        let template = match size {
            Some(_) => "{bar:30} {percent:>3} % {msg} {elapsed_precise}, {eta} left",
            None => "{spinner} {msg} {elapsed_precise}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = BARS.add(size.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, read, is_file: size.is_some() }
    }

    pub(super) fn show(&self, counts: &Counts) {
        if self.bar.is_hidden() {
            return;
        }
        if self.is_file {
            self.bar.set_position(self.read.load(Ordering::Relaxed));
        }
        let sent = counts.delivered + counts.unacknowledged;
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        let failed = if counts.failed() > 0 { format!(", {} failed", counts.failed()) } else { String::new() };
        self.bar.set_message(format!("{sent} lines, {:.0}/s{failed}", sent as f64 / seconds));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
