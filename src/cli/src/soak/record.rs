//! Numbered records.

use std::fmt::Write as _;

/// Makes and recognizes the records of one run.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    run: String,
    keys: u64,
    size: usize,
}

/// What a record of a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The record of this number.
    Number(u64),
    /// A record of this run whose key or value is not what was sent.
    Damaged,
    /// A record of someone else.
    Foreign,
}

impl Records {
    pub(crate) fn new(run: String, keys: u32, size: usize) -> Self {
        Self { run, keys: keys.into(), size }
    }

    /// The number of a record's key.
    pub(crate) fn lane(&self, number: u64) -> u64 {
        number % self.keys
    }

    pub(crate) fn key(&self, number: u64) -> String {
        format!("{}-{}", self.run, self.lane(number))
    }

    pub(crate) fn value(&self, number: u64) -> String {
        let mut value = format!("{} {number} ", self.prefix());
        let missing = self.size.saturating_sub(value.len());
        // A string can be written to.
        let _ = write!(value, "{:.<missing$}", "");
        value
    }

    fn prefix(&self) -> String {
        format!("kafka-tower-soak {}", self.run)
    }

    pub(crate) fn find(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Found {
        let text = value.and_then(|value| std::str::from_utf8(value).ok());
        let prefix = self.prefix();
        let Some(rest) = text.and_then(|text| text.strip_prefix(&prefix)?.strip_prefix(' ')) else {
            let is_ours = key.is_some_and(|key| key.starts_with(format!("{}-", self.run).as_bytes()));
            return if is_ours { Found::Damaged } else { Found::Foreign };
        };
        let number = rest.split(' ').next().and_then(|number| number.parse().ok());
        match number {
            Some(number) if text == Some(&self.value(number)) && key == Some(self.key(number).as_bytes()) => {
                Found::Number(number)
            }
            _ => Found::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_its_key_and_value() {
        let records = Records::new("r1".into(), 3, 60);
        let find = |key: &str, value: &str| records.find(Some(key.as_bytes()), Some(value.as_bytes()));
        for number in [0, 7, u64::MAX] {
            let value = records.value(number);
            assert!(value.len() >= 60 && (number > 7 || value.len() == 60), "{value}");
            assert_eq!(find(&records.key(number), &value), Found::Number(number));
        }
        assert_eq!(find(&records.key(1), &records.value(2)), Found::Damaged, "another key");
        assert_eq!(find(&records.key(1), &records.value(1)[..50]), Found::Damaged, "cut");
        assert_eq!(records.find(Some(b"r1-1"), None), Found::Damaged);
        let other = Records::new("r10".into(), 3, 0);
        assert_eq!(find(&other.key(1), &other.value(1)), Found::Foreign);
        assert_eq!(records.find(None, Some(b"x")), Found::Foreign);
        assert_eq!(records.find(None, Some(&[0xff])), Found::Foreign);
    }
}
