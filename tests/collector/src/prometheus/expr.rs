//! Parses queries. Unknown syntax is an error, so that a query with a typo is not mistaken for one without data.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::Error;

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A constant.
    Number(f64),
    /// The last value of each series.
    Last(Selector),
    /// `rate(…[…])`, `deriv(…[…])` or `increase(…[…])`.
    Rate(Selector, /* a second */ bool),
    /// `sum by (…) (…)` or `max by (…) (…)`.
    Aggregate(/* sum, else max */ bool, Vec<String>, Box<Self>),
    /// `histogram_quantile(…, …)`.
    Quantile(f64, Box<Self>),
    /// Two of them with `/`, `*`, `>`, `>=`, `<` or `and`.
    Binary(String, Box<Self>, Box<Self>),
}

/// Series by the name of their metric and their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The metric.
    pub metric: String,
    /// Label, whether it must be equal, and the value.
    pub matchers: Vec<(String, bool, String)>,
}

type Words = Peekable<IntoIter<String>>;

impl Expr {
    /// Parses a query.
    ///
    /// # Errors
    ///
    /// If it contains unknown syntax.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut words = words(text).into_iter().peekable();
        let expr = binary(&mut words).and_then(|expr| match words.next() {
            None => Ok(expr),
            Some(word) => Err(Error::new(format!("unexpected `{word}`"))),
        });
        expr.map_err(Error::with(format!("the query {text}")))
    }

    /// Returns the metrics in the query, and the labels that it names for each.
    #[must_use]
    pub fn asks_for(&self) -> Vec<(String, Vec<String>)> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Last(selector) | Self::Rate(selector, _) => {
                let labels = selector.matchers.iter().map(|(label, ..)| label.clone()).collect();
                vec![(selector.metric.clone(), labels)]
            }
            Self::Aggregate(_, by, inner) => {
                let mut asked = inner.asks_for();
                asked.iter_mut().for_each(|(_, labels)| labels.extend(by.iter().cloned()));
                asked
            }
            Self::Quantile(_, inner) => inner.asks_for(),
            Self::Binary(_, left, right) => [left.asks_for(), right.asks_for()].concat(),
        }
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut word = letter.to_string();
        let goes_on: fn(char) -> bool = match letter {
            letter if letter.is_whitespace() => continue,
            '"' => |c| c != '"',
            letter if is_name(letter) => is_name,
            '!' | '>' | '<' | '=' => |c| c == '=' || c == '~',
            _ => |_| false,
        };
        while let Some(more) = letters.next_if(|letter| goes_on(*letter)) {
            word.push(more);
        }
        if letter == '"' {
            letters.next();
        }
        words.push(word);
    }
    words
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':' | '.' | '$')
}

fn binary(words: &mut Words) -> Result<Expr, Error> {
    let mut left = operand(words)?;
    while let Some(operator) = words.next_if(|word| matches!(word.as_str(), "/" | "*" | ">" | ">=" | "<" | "and")) {
        // From left to right: the queries need no precedence.
        left = Expr::Binary(operator, Box::new(left), Box::new(operand(words)?));
    }
    Ok(left)
}

fn operand(words: &mut Words) -> Result<Expr, Error> {
    let word = words.next().ok_or_else(|| Error::new("unexpected end"))?;
    match word.as_str() {
        "(" => {
            let inner = binary(words)?;
            expect(words, ")").map(|()| inner)
        }
        "rate" | "increase" | "deriv" => {
            expect(words, "(")?;
            let metric = words.next().unwrap_or_default();
            let selector = selector(metric, words)?;
            expect(words, "[")?;
            words.next();
            expect(words, "]")?;
            expect(words, ")")?;
            Ok(Expr::Rate(selector, word != "increase"))
        }
        "sum" | "max" => {
            let by = if words.next_if(|word| word == "by").is_some() { names(words)? } else { Vec::new() };
            expect(words, "(")?;
            let inner = binary(words)?;
            expect(words, ")")?;
            Ok(Expr::Aggregate(word == "sum", by, Box::new(inner)))
        }
        "histogram_quantile" => {
            expect(words, "(")?;
            let quantile = words.next().unwrap_or_default().parse().map_err(Error::with("the quantile"))?;
            expect(words, ",")?;
            let inner = binary(words)?;
            expect(words, ")").map(|()| Expr::Quantile(quantile, Box::new(inner)))
        }
        number if number.parse::<f64>().is_ok() => number.parse().map(Expr::Number).map_err(Error::new),
        name if name.starts_with(is_name) => Ok(Expr::Last(selector(word, words)?)),
        other => Err(Error::new(format!("`{other}` is not known"))),
    }
}

fn selector(metric: String, words: &mut Words) -> Result<Selector, Error> {
    let mut matchers = Vec::new();
    if words.next_if(|word| word == "{").is_some() {
        while words.next_if(|word| word == "}").is_none() {
            let (label, operator, value) = (words.next(), words.next(), words.next());
            let (Some(label), Some(operator), Some(value)) = (label, operator, value) else {
                return Err(Error::new("incomplete matcher"));
            };
            let equal = match operator.as_str() {
                "=" => true,
                "!=" => false,
                other => return Err(Error::new(format!("`{other}` between a label and its value"))),
            };
            matchers.push((label, equal, value.trim_start_matches('"').to_owned()));
            words.next_if(|word| word == ",");
        }
    }
    Ok(Selector { metric, matchers })
}

fn names(words: &mut Words) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    expect(words, "(")?;
    loop {
        match words.next().as_deref() {
            Some(")") => return Ok(names),
            Some(",") => {}
            Some(name) => names.push(name.to_owned()),
            None => return Err(Error::new("`)` is missing")),
        }
    }
}

fn expect(words: &mut Words, word: &str) -> Result<(), Error> {
    match words.next() {
        Some(found) if found == word => Ok(()),
        found => Err(Error::new(format!("`{}` in place of `{word}`", found.unwrap_or_default()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may fail

    use super::*;

    #[test]
    fn a_query_is_read() {
        let text = r#"histogram_quantile(0.99, sum by (le, topic) (rate(x_bucket{type!="", a="b c"}[5m]))) > 1.5"#;
        let Expr::Binary(operator, left, right) = Expr::parse(text).unwrap() else { panic!("not binary") };
        assert_eq!((operator.as_str(), *right), (">", Expr::Number(1.5)));
        assert_eq!(
            left.asks_for(),
            [("x_bucket".to_owned(), ["type", "a", "le", "topic"].map(str::to_owned).to_vec())]
        );
    }

    #[test]
    fn an_unknown_query_is_rejected() {
        for text in ["sum(", "rate(x[5m]", "x y", "avg(x)", r#"x{a=~"b"}"#, "sum by (le rate(x)", "", "x{a}"] {
            assert!(Expr::parse(text).is_err(), "{text}");
        }
    }
}
