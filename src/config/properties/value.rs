//! Checks the value of a property. librdkafka parses numbers as C does: it accepts `5ms` as 5 and `010` as 8.

use super::property::Kind;

/// Longer values are cut to this number of characters when shown. Only numbers, flags and choices are shown, because
/// texts may be secret.
const SHOWN: usize = 40;

/// What is wrong (a phrase that follows "which") and what to do.
pub(in crate::config) struct Fault {
    pub(in crate::config) problem: String,
    pub(in crate::config) cure: String,
}

fn fault(problem: impl Into<String>, cure: impl Into<String>) -> Result<(), Fault> {
    Err(Fault { problem: problem.into(), cure: cure.into() })
}

pub(in crate::config) fn check(kind: &Kind, value: &str) -> Result<(), Fault> {
    match kind {
        Kind::Text => text(value),
        Kind::Flag => flag(value).map_or_else(
            || fault(format!("{} is neither true nor false", shown(value)), "write true or false"),
            |_| Ok(()),
        ),
        Kind::Whole(least, most) => match whole(value) {
            Some(number) if (*least..=*most).contains(&number) => Ok(()),
            Some(number) => fault(format!("{number} is out of range"), format!("librdkafka allows {least} to {most}")),
            None => fault(
                format!("expected a whole number, got {}", shown(value)),
                format!("write one from {least} to {most}, without a unit"),
            ),
        },
        Kind::Float(least, most) => match value.parse::<f64>() {
            Ok(number) if number >= *least && number <= *most => Ok(()),
            _ => fault(
                format!("expected a number from {least} to {most}, got {}", shown(value)),
                "write it with digits and a point, without a unit",
            ),
        },
        Kind::OneOf(known) if known.iter().any(|one| one.eq_ignore_ascii_case(value)) => Ok(()),
        Kind::Exactly(known) if known.contains(&value) => Ok(()),
        Kind::OneOf(known) | Kind::Exactly(known) => {
            fault(format!("unknown value {}", shown(value)), format!("use one of {}", known.join(", ")))
        }
        Kind::SomeOf(known) => match value.split(',').find(|one| !is_switch(known, one)) {
            None => Ok(()),
            Some(one) => fault(format!("unknown value {}", shown(one)), format!("use any of {}", known.join(","))),
        },
        Kind::Version if is_version(value) => Ok(()),
        Kind::Version => fault(
            format!("expected a Kafka version of 0.8 or newer, got {}", shown(value)),
            "write it like 2.4.0, or remove the property, because brokers report their version",
        ),
    }
}

fn text(value: &str) -> Result<(), Fault> {
    if value.contains('\0') { fault("its value has a NUL character", "remove the character") } else { Ok(()) }
}

/// Parses a number that C reads the same way.
pub(crate) fn whole(value: &str) -> Option<i64> {
    if is_whole(value) { value.parse().ok() } else { None }
}

pub(in crate::config) fn is_whole(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let digits_only = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits_only && (value == "0" || !digits.starts_with('0'))
}

/// librdkafka knows the first three spellings of each line; it gets `true` or `false` in place of the others.
pub(crate) fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

fn is_switch(known: &[&str], one: &str) -> bool {
    let one = one.trim_start();
    let name = one.strip_prefix(['+', '-']).unwrap_or(one);
    one.is_empty() || known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn is_version(value: &str) -> bool {
    let mut numbers = value.split('.').map(|part| whole(part).filter(|number| *number >= 0));
    let at_least = match (numbers.next(), numbers.next()) {
        (Some(Some(0)), Some(Some(minor))) => minor >= 8,
        (Some(Some(_)), Some(Some(_))) => true,
        _ => false,
    };
    at_least && numbers.all(|number| number.is_some())
}

pub(in crate::config) fn shown(value: &str) -> String {
    if value.chars().count() <= SHOWN {
        return format!("{value:?}");
    }
    let start: String = value.chars().take(SHOWN).collect();
    format!("{start:?}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(kind: &Kind, value: &str) -> bool {
        check(kind, value).is_ok()
    }

    #[test]
    fn numbers_read_the_same_in_c() {
        let kind = Kind::Whole(-1, 1000);
        for good in ["-1", "0", "7", "1000"] {
            assert!(ok(&kind, good), "{good}");
        }
        for bad in ["", "-", "5ms", "0x10", "010", " 5", "5 ", "+5", "5.0", "-2", "1001", "99999999999999999999", "٥"]
        {
            assert!(!ok(&kind, bad), "{bad}");
        }
        let kind = Kind::Float(0.0, 900.0);
        for (value, good) in [("0", true), ("0.5", true), ("900.1", false), ("NaN", false), ("5ms", false), ("", false)]
        {
            assert_eq!(ok(&kind, value), good, "{value}");
        }
    }

    #[test]
    fn choices_and_switches() {
        assert!(ok(&Kind::OneOf(&["ssl", "sasl_ssl"]), "SASL_SSL"));
        assert!(!ok(&Kind::OneOf(&["ssl"]), " ssl"));
        assert!(!ok(&Kind::Exactly(&["PLAIN"]), "plain"));
        let debug = Kind::SomeOf(&["all", "eos", "msg"]);
        for (value, good) in
            [("all", true), ("", true), ("eos, MSG", true), ("all,-msg", true), ("eos ,msg", false), ("x", false)]
        {
            assert_eq!(ok(&debug, value), good, "{value:?}");
        }
        for (value, good) in
            [("true", true), ("T", true), ("0", true), ("Yes", true), ("off", true), ("maybe", false), ("", false)]
        {
            assert_eq!(ok(&Kind::Flag, value), good, "{value:?}");
        }
        for (value, good) in
            [("2.4.0", true), ("0.8.2", true), ("0.7.2", false), ("4", false), ("2.x", false), ("", false)]
        {
            assert_eq!(ok(&Kind::Version, value), good, "{value:?}");
        }
    }

    #[test]
    fn a_text_is_not_shown_and_a_long_value_is_cut() {
        assert!(!check(&Kind::Text, "hunter2\0").unwrap_err().problem.contains("hunter2"));
        assert!(check(&Kind::Flag, &"x".repeat(10_000)).unwrap_err().problem.len() < 100);
    }
}
