//! The value of `sasl.jaas.config`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A login module and its options.
#[derive(Debug)]
pub(super) struct Login {
    /// Name of its class, without the package.
    pub(super) module: String,
    pub(super) options: BTreeMap<String, String>,
}

impl Login {
    /// Reads the value. The error names no part of it, because it contains secrets.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut words = words(text)?.into_iter();
        let mut next = || words.next().ok_or("ends without `;`");
        let Word::Plain(class) = next()? else { return Err("does not begin with a login module") };
        match next()? {
            Word::Plain(flag) if FLAGS.contains(&&*flag.to_ascii_lowercase()) => {}
            _ => return Err("has no `required` behind its login module"),
        }
        let mut options = BTreeMap::new();
        loop {
            let name = match next()? {
                Word::End => break,
                Word::Plain(name) | Word::Quoted(name) => name,
                Word::Equals => return Err("has a `=` without a name before it"),
            };
            let Word::Equals = next()? else { return Err("has an option without `=`") };
            let (Word::Plain(value) | Word::Quoted(value)) = next()? else {
                return Err("has an option without a value");
            };
            options.insert(name, value);
        }
        if next().is_ok() {
            return Err("has more than one login module");
        }
        let module = class.rsplit('.').next().unwrap_or_default().to_owned();
        Ok(Self { module, options })
    }
}

const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

const UNENDED: &str = "has a quotation mark without its end";

enum Word {
    Plain(String),
    Quoted(String),
    Equals,
    End,
}

fn words(text: &str) -> Result<Vec<Word>, &'static str> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '=' => words.push(Word::Equals),
            ';' => words.push(Word::End),
            '"' | '\'' => words.push(Word::Quoted(quoted(&mut chars, c).ok_or(UNENDED)?)),
            c if c.is_whitespace() => {}
            c => {
                let mut plain = String::from(c);
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !['=', ';', '"', '\''].contains(c)) {
                    plain.push(c);
                }
                words.push(Word::Plain(plain));
            }
        }
    }
    Ok(words)
}

/// Reads up to the quotation mark that ends the text, as Java's `StreamTokenizer` does. `None` if there is none on the line.
fn quoted(chars: &mut Peekable<Chars<'_>>, mark: char) -> Option<String> {
    let mut text = String::new();
    loop {
        text.push(match chars.next()? {
            end if end == mark => return Some(text),
            '\n' | '\r' => return None,
            '\\' => escaped(chars)?,
            other => other,
        });
    }
}

fn escaped(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    Some(match chars.next()? {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        first @ '0'..='7' => {
            // `\377` is the highest: of `\477` the last digit does not belong to it.
            let more = if first <= '3' { 2 } else { 1 };
            let mut code = first.to_digit(8)?;
            for _ in 0..more {
                let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                chars.next();
                code = code * 8 + digit;
            }
            char::from_u32(code)?
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are those of Java 17's `StreamTokenizer`.
    #[test]
    fn escapes_are_those_of_java() {
        for (written, meant) in [
            (r#""a\tb\n\r\f\b\a\vz""#, "a\tb\n\r\u{c}\u{8}\u{7}\u{b}z"),
            (r#""\101\0\7x\1018\477\377\18""#, "A\0\u{7}xA8'7\u{ff}\u{1}8"),
            (r#"'it\'s "q" \\ \q \u0041 é'"#, "it's \"q\" \\ q u0041 é"),
            ("'\\\n'", "\n"),
        ] {
            let login = Login::parse(&format!("a.B required x={written};")).unwrap();
            assert_eq!(login.options["x"], meant, "{written}");
        }
        assert_eq!(
            Login::parse("a.B required x=\"a\nb\";").unwrap_err(),
            UNENDED,
            "Java ends the text at the line's end"
        );
    }

    #[test]
    fn a_login_is_read() {
        let text = r#"org.apache.kafka.common.security.plain.PlainLoginModule   Required
            username="$ConnectionString" password='a;b="c\\\'' x=1 ; "#;
        let login = Login::parse(text).unwrap();
        assert_eq!(login.module, "PlainLoginModule");
        let options: Vec<_> = login.options.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(options, [("password", "a;b=\"c\\'"), ("username", "$ConnectionString"), ("x", "1")]);
    }

    #[test]
    fn what_is_wrong_is_named_without_the_secret() {
        for (text, wrong) in [
            ("", "ends without `;`"),
            ("a.B required username=\"x\"", "ends without `;`"),
            ("\"a.B\" required;", "does not begin with a login module"),
            ("a.B username=\"x\";", "has no `required` behind its login module"),
            ("a.B required username;", "has an option without `=`"),
            ("a.B required username=;", "has an option without a value"),
            ("a.B required =x;", "has a `=` without a name before it"),
            ("a.B required username=\"x;", "has a quotation mark without its end"),
            ("a.B required; c.D required;", "has more than one login module"),
        ] {
            assert_eq!(Login::parse(text).unwrap_err(), wrong, "{text}");
        }
    }
}
