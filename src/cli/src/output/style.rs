//! Colours. `anstream` removes them where they are not wanted: no terminal, `NO_COLOR`, `TERM=dumb`.

use anstyle::{AnsiColor, Style};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const DOUBT: Style = AnsiColor::Yellow.on_default().bold();

/// `passed` or `FAILED`.
pub(crate) fn verdict(passed: bool) -> String {
    if passed { format!("{GOOD}passed{GOOD:#}") } else { format!("{BAD}FAILED{BAD:#}") }
}
