//! The format of Java's properties files.

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Number of the line where it begins, from 1.
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// Reads the lines. The second list has what is wrong.
pub(super) fn parse(text: &str) -> (Vec<Line>, Vec<String>) {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text.split('\n').enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.trim_start_matches(BLANK).to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while goes_on(&line) {
            line.pop();
            let Some((_, next)) = lines.next() else { break };
            line.push_str(next.trim_start_matches(BLANK));
        }
        let number = index + 1;
        let (name, value) = split(&line);
        match (unescaped(name), unescaped(value)) {
            (Some(name), Some(value)) => found.push(Line { number, name, value: value.trim_end().to_owned() }),
            _ => faults.push(format!(
                "line {number} has `\\u` without four hexadecimal digits that are a character: write `\\\\` for a backslash"
            )),
        }
    }
    (found, faults)
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

/// Whether the line ends in a backslash that is not escaped.
fn goes_on(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// A name ends at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || BLANK.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, rest.trim_start_matches(BLANK))
}

/// `None` for a `\u` that is no character.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits =
                        chars.as_str().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
                    units.push(u16::from_str_radix(digits, 16).ok()?);
                    chars = chars.as_str()[4..].chars();
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(usize, String, String)> {
        let (lines, faults) = parse(text);
        assert!(faults.is_empty(), "{faults:?}");
        lines.into_iter().map(|line| (line.number, line.name, line.value)).collect()
    }

    /// The examples of `java.util.Properties.load`, and those of files that are handed out.
    #[test]
    fn lines_are_read_as_by_java() {
        let text = "# a comment \\\n! another\n\n  Truth = Beauty\n  Truth:Beauty\nTruth \t:Beauty\r\nfruits  apple, banana, \\\n    pear, \\\n  # kiwi\ncheeses\na\\:b\\ c=d\\\\\nu=\\u00e9\\ud83d\\ude00\nend=\\";
        let of = |number, name: &str, value: &str| (number, name.to_owned(), value.to_owned());
        assert_eq!(
            all(text),
            [
                of(4, "Truth", "Beauty"),
                of(5, "Truth", "Beauty"),
                of(6, "Truth", "Beauty"),
                of(7, "fruits", "apple, banana, pear, # kiwi"),
                of(10, "cheeses", ""),
                of(11, "a:b c", "d\\"),
                of(12, "u", "é😀"),
                of(13, "end", ""),
            ]
        );
        assert_eq!(all("\u{feff}a==b\rc=d=e "), [of(1, "a", "=b"), of(2, "c", "d=e")]);
    }

    #[test]
    fn an_escape_that_is_no_character_is_refused() {
        for text in ["a=\\u12", "a=\\u+123", "a=\\ud83d", "\\uzzzz=b"] {
            let (lines, faults) = parse(text);
            assert!(lines.is_empty() && faults.len() == 1 && faults[0].starts_with("line 1 has `\\u`"), "{faults:?}");
        }
    }
}
