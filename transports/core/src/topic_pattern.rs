//! Regular expressions over the names of topics.

use std::fmt;
use std::sync::Arc;

use crate::{Error, ErrorKind, Result};

/// Longest pattern, in characters.
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
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPattern {
    text: Arc<str>,
    steps: Arc<[Step]>,
}

/// A step of matching. Steps follow each other; the others go to a place relative to their own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    One(Set),
    Both(isize, isize),
    Go(isize),
}

/// Characters, as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is none, or has something that not all implementations understand alike.
    pub fn new(text: &str) -> Result<Self> {
        let inner = text.strip_prefix('^').unwrap_or(text);
        let inner = inner.strip_suffix('$').filter(|inner| !inner.ends_with('\\')).unwrap_or(inner);
        let mut parser = Parser { rest: inner };
        let steps = if text.len() > MAX_LENGTH { Err("it is too long") } else { parser.alternatives() };
        let steps = steps.and_then(|steps| if parser.rest.is_empty() { Ok(steps) } else { Err("a `)` has no `(`") });
        let steps = steps.map_err(|why| no_pattern(text, why))?;
        Ok(Self { text: inner.into(), steps: steps.into() })
    }

    /// The pattern without `^` and `$`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches a name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut at = vec![false; self.steps.len() + 1];
        self.go(0, &mut at);
        for c in name.chars() {
            let mut next = vec![false; at.len()];
            for (index, step) in self.steps.iter().enumerate() {
                if matches!(step, Step::One(set) if at[index] && set.has(c)) {
                    self.go(index + 1, &mut next);
                }
            }
            at = next;
        }
        at[self.steps.len()]
    }

    /// Marks the places that are reached from here without a character.
    fn go(&self, from: usize, at: &mut [bool]) {
        let mut all = vec![from];
        while let Some(index) = all.pop() {
            if std::mem::replace(&mut at[index], true) {
                continue;
            }
            let mut push = |by: isize| all.push(index.wrapping_add_signed(by));
            match self.steps.get(index) {
                Some(Step::Both(first, second)) => [*first, *second].into_iter().for_each(&mut push),
                Some(Step::Go(by)) => push(*by),
                Some(Step::One(_)) | None => {}
            }
        }
    }
}

fn no_pattern(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(100).collect();
    Error::new(ErrorKind::Config, format!("{shown:?} is no pattern of topics: {why}"))
        .with_help("use characters, `.`, `[a-z]`, `*`, `+`, `?`, `|`, parentheses, and `\\` before `.`")
        .without_record()
}

impl Set {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != self.negated
    }
}

type Parsed = std::result::Result<Vec<Step>, &'static str>;

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.take();
        }
        found
    }

    fn alternatives(&mut self) -> Parsed {
        let first = self.sequence()?;
        if !self.eat('|') {
            return Ok(first);
        }
        let second = self.alternatives()?;
        let mut steps = vec![Step::Both(1, first.len() as isize + 2)];
        steps.extend(first);
        steps.push(Step::Go(second.len() as isize + 1));
        steps.extend(second);
        Ok(steps)
    }

    fn sequence(&mut self) -> Parsed {
        let mut steps = Vec::new();
        while !matches!(self.peek(), None | Some('|' | ')')) {
            steps.extend(self.repeated()?);
        }
        if steps.is_empty() { Err("a part of it is empty") } else { Ok(steps) }
    }

    fn repeated(&mut self) -> Parsed {
        let mut one = self.one()?;
        let length = one.len() as isize;
        let repeat = self.peek().filter(|c| matches!(c, '*' | '+' | '?'));
        if repeat.is_some() {
            self.take();
            if matches!(self.peek(), Some('*' | '+' | '?')) {
                return Err("two of `*`, `+` and `?` follow each other");
            }
        }
        match repeat {
            Some('+') => one.push(Step::Both(-length, 1)),
            Some('?') => one.insert(0, Step::Both(1, length + 1)),
            Some(_) => {
                one.insert(0, Step::Both(1, length + 2));
                one.push(Step::Go(-(length + 1)));
            }
            None => {}
        }
        Ok(one)
    }

    fn one(&mut self) -> Parsed {
        let set = match self.take() {
            Some('(') => {
                let inner = self.alternatives()?;
                return if self.eat(')') { Ok(inner) } else { Err("a `(` has no `)`") };
            }
            Some('[') => self.set()?,
            Some('.') => Set { negated: true, ranges: Vec::new() },
            Some('\\') => match self.take() {
                Some(c) if c.is_ascii_punctuation() => Set { negated: false, ranges: vec![(c, c)] },
                _ => return Err("a `\\` has to stand before `.` or another special character"),
            },
            Some('*' | '+' | '?') => return Err("there is nothing to repeat"),
            Some('^' | '$' | '{' | '}' | ']') => return Err("`^`, `$`, `{`, `}` and `]` are not understood by all"),
            Some(c) => Set { negated: false, ranges: vec![(c, c)] },
            None => return Err("a part of it is empty"),
        };
        Ok(vec![Step::One(set)])
    }

    fn set(&mut self) -> std::result::Result<Set, &'static str> {
        let mut set = Set { negated: self.eat('^'), ranges: Vec::new() };
        loop {
            match self.take() {
                Some(']') if !set.ranges.is_empty() => return Ok(set),
                Some(first) if first.is_ascii_alphanumeric() || matches!(first, '.' | '_' | '-') => {
                    let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
                    let last = if is_range { self.rest.chars().nth(1).unwrap_or(first) } else { first };
                    if is_range {
                        self.take();
                        self.take();
                    }
                    if last < first || !(last.is_ascii_alphanumeric() || last == first) {
                        return Err("a range of a `[…]` is wrong");
                    }
                    set.ranges.push((first, last));
                }
                Some(_) => return Err("a `[…]` has something else than letters, digits, '.', '_' and '-'"),
                None => return Err("a `[` has no `]`"),
            }
        }
    }
}

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
            ("(a", "a `(` has no `)`"),
            ("a)", "a `)` has no `(`"),
            ("*a", "there is nothing to repeat"),
            ("a+?", "two of `*`, `+` and `?` follow each other"),
            ("a{2}", "`^`, `$`, `{`, `}` and `]` are not understood by all"),
            ("(^a)", "`^`, `$`, `{`, `}` and `]` are not understood by all"),
            (r"\d+", "a `\\` has to stand before `.` or another special character"),
            ("[", "a `[` has no `]`"),
            ("[z-a]", "a range of a `[…]` is wrong"),
            ("[[:alpha:]]", "a `[…]` has something else than letters, digits, '.', '_' and '-'"),
        ] {
            let error = TopicPattern::new(pattern).unwrap_err();
            assert_eq!(error.message(), format!("{pattern:?} is no pattern of topics: {why}"));
        }
        assert!(TopicPattern::new(&"a".repeat(1_001)).is_err());
    }
}
