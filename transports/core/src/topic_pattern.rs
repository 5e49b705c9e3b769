//! Regular expressions over the names of topics.

use std::fmt;

use regex_lite::Regex;

use crate::{Error, ErrorKind, Result};

/// Longest pattern, in bytes.
const MAX_LENGTH: usize = 1_000;

/// A regular expression that the whole name of a topic has to match.
///
/// It has what all implementations of Kafka's clients and brokers have in common: characters, `.`, sets like `[a-z0-9]` and `[^a]`,
/// `*`, `+`, `?`, `|`, parentheses, and `\` before a character that stands for itself. A `^` at the beginning and a `$` at the
/// end change nothing.
///
/// ```
/// use kafka_tower_core::TopicPattern;
///
/// let pattern = TopicPattern::new(r"orders-(eu|us)(\.v[0-9]+)?")?;
/// assert!(pattern.matches("orders-eu") && pattern.matches("orders-us.v12"));
/// assert!(!pattern.matches("orders-eu-archive"));
/// # Ok::<(), kafka_tower_core::Error>(())
/// ```
#[derive(Clone)]
pub struct TopicPattern {
    text: String,
    regex: Regex,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is none, or has something that not all implementations understand alike.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() > MAX_LENGTH {
            return Err(no_pattern(text, "it is too long"));
        }
        let inner = text.strip_prefix('^').unwrap_or(text);
        let inner = inner.strip_suffix('$').filter(|inner| !inner.ends_with('\\')).unwrap_or(inner);
        understood_alike(inner).map_err(|why| no_pattern(text, why))?;
        // Read without the parentheses first, which would complete a `)` without a `(`.
        let whole = Regex::new(inner).and_then(|_| Regex::new(&format!("^(?:{inner})$")));
        let regex = whole.map_err(|error| no_pattern(text, &error.to_string()))?;
        Ok(Self { text: inner.to_owned(), regex })
    }

    /// The pattern without `^` and `$`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches a name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

/// Refuses what this crate, librdkafka's POSIX expressions and the brokers' RE2 may read in different ways.
fn understood_alike(text: &str) -> std::result::Result<(), &'static str> {
    let (mut before, mut in_set, mut chars) = (None, false, text.chars());
    while let Some(c) = chars.next() {
        match (c, before) {
            (']', Some('[')) => return Err("a `[…]` is empty"),
            (']', _) if in_set => in_set = false,
            ('^', Some('[')) if in_set => continue,
            (c, _) if in_set && !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) => {
                return Err("a `[…]` has something else than letters, digits, '.', '_' and '-'");
            }
            _ if in_set => {}
            ('[', _) => in_set = true,
            ('\\', _) => {
                if !chars.next().is_some_and(|c| c.is_ascii_punctuation()) {
                    return Err("a `\\` has to stand before `.` or another special character");
                }
                before = Some('.');
                continue;
            }
            ('^' | '$' | '{' | '}' | ']', _) => return Err("`^`, `$`, `{`, `}` and `]` are not understood by all"),
            ('*' | '+' | '?', Some('*' | '+' | '?')) => return Err("two of `*`, `+` and `?` follow each other"),
            ('*' | '+' | '?', None | Some('(' | '|')) => return Err("there is nothing to repeat"),
            ('|' | ')', None | Some('(' | '|')) => return Err("a part of it is empty"),
            _ => {}
        }
        before = Some(c);
    }
    if matches!(before, None | Some('|')) { Err("a part of it is empty") } else { Ok(()) }
}

fn no_pattern(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(100).collect();
    Error::new(ErrorKind::Config, format!("{shown:?} is no pattern of topics: {why}"))
        .with_help("use characters, `.`, `[a-z]`, `*`, `+`, `?`, `|`, parentheses, and `\\` before `.`")
        .without_record()
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicPattern {}

/// Prints the pattern without `^` and `$`.
impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicPattern({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        TopicPattern::new(pattern).unwrap_or_else(|error| panic!("{error}")).matches(name)
    }

    #[test]
    fn the_whole_name_is_matched() {
        for (pattern, yes, no) in [
            ("orders", &["orders"][..], &["orders-eu", "my-orders", ""][..]),
            ("^orders.*$", &["orders", "orders-eu"], &["my-orders"]),
            ("orders-.+", &["orders-eu"], &["orders-", "orders"]),
            (r"a\.b", &["a.b"], &["axb"]),
            ("(a|b|cd)e?", &["a", "be", "cd", "cde"], &["", "ab", "e", "c"]),
            ("[a-c_]+[^0-9]", &["a_bx", "cc"], &["a", "a1", "d"]),
            ("[a-]+", &["a-a"], &["b"]),
            ("(a*)*b", &["b", "aaab"], &["a"]),
            ("(ab?)+|x", &["aab", "x"], &["b", "xx"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        }
        assert!(!matches("(a?)*(a?)*(a?)*(a?)*b", &"a".repeat(249)), "it takes no time");
    }

    #[test]
    fn what_not_all_understand_alike_is_refused() {
        for (pattern, why) in [
            ("", "a part of it is empty"),
            ("a||b", "a part of it is empty"),
            ("()", "a part of it is empty"),
            ("(a", "found open group without closing ')'"),
            ("a)", "found closing ')' without matching '('"),
            ("*a", "there is nothing to repeat"),
            ("a+?", "two of `*`, `+` and `?` follow each other"),
            ("a{2}", "`^`, `$`, `{`, `}` and `]` are not understood by all"),
            ("(^a)", "`^`, `$`, `{`, `}` and `]` are not understood by all"),
            (r"\d+", "a `\\` has to stand before `.` or another special character"),
            ("[", "unclosed character class"),
            ("[z-a]", "invalid range in character class"),
            ("[]", "a `[…]` is empty"),
            ("(?i)a", "there is nothing to repeat"),
            ("[[:alpha:]]", "a `[…]` has something else than letters, digits, '.', '_' and '-'"),
        ] {
            let error = TopicPattern::new(pattern).unwrap_err();
            let message = error.message();
            assert!(
                message.starts_with(&format!("{pattern:?} is no pattern of topics: ")) && message.contains(why),
                "{message}"
            );
        }
        assert!(TopicPattern::new(&"a".repeat(1_001)).is_err());
    }
}
