//! Finds the code that a text of librdkafka stands for.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::codes;
use crate::ffi;

/// Finds a code by librdkafka's text for it, or by its name.
pub(crate) fn code_of(text: &str) -> Option<i32> {
    // Not a `HashMap`: it points into the middle of its allocation, which memcheck reports as lost.
    static CODES: OnceLock<BTreeMap<String, i32>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        codes::all().flat_map(|row| [(ffi::text_of(row.code), row.code), (row.name.to_owned(), row.code)]).collect()
    });
    // librdkafka's text for a code that it does not know: "Err-200?".
    let unknown =
        || text.strip_prefix("Err-").and_then(|rest| rest.strip_suffix('?')).and_then(|code| code.parse().ok());
    codes.get(text).copied().or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_by_librdkafkas_text_and_by_name() {
        for (text, code) in [
            ("Broker: Not enough in-sync replicas", Some(19)),
            ("COORDINATOR_NOT_AVAILABLE", Some(15)),
            ("Err-200?", Some(200)),
            ("Err-x?", None),
            ("something", None),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
        for code in [2, 6, 7, 19, 20, 56, 87, -195] {
            assert_eq!(code_of(&ffi::text_of(code)), Some(code));
        }
    }
}
