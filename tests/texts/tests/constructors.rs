//! Lists every place in the library that makes an error, with the test that checks its texts. A new place fails here
//! until it is in such a test and in `constructors.txt`, whose lines are "number of places, file, file of the test".
//! `KAFKA_TOWER_BLESS=1` rewrites the numbers.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LIBRARIES: [&str; 6] = [
    "src",
    "layers/src",
    "transports/core/src",
    "transports/memory/src",
    "transports/native/src",
    "transports/rdkafka/src",
];
/// Calls that make this project's errors: not those of the standard library or serde, since `new` of ours begins with a
/// kind.
const MAKES: [&str; 5] =
    ["Error::new(", "Self::new(ErrorKind", "Error::serialization(", "Error::refused(", "codes::error("];
/// The crate whose functions check texts.
const CHECKS: &str = "kafka_tower_test_texts";

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                files(&path, into);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("tests.rs") {
            into.push(path);
        }
    }
}

/// Counts places outside of comments and of the tests, which are last in a file.
fn constructors(source: &str) -> usize {
    let source = source.replace("\r\n", "\n");
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    // Not the end of a longer name, as in `RecentError::new(`.
    let whole_word = |line: &str, at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let of = |line: &str, make: &str| line.match_indices(make).filter(|(at, _)| whole_word(line, *at)).count();
    lines.map(|line| MAKES.iter().map(|make| of(line, make)).sum::<usize>()).sum()
}

/// Number of places and file of the test, by file.
fn listed(list: &str) -> BTreeMap<String, (usize, String)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (count, file) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        Some((file, (count, words.next().unwrap_or_default().to_owned())))
    };
    list.lines().filter_map(line).collect()
}

#[test]
fn every_file_that_makes_errors_is_known_and_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all = Vec::new();
    LIBRARIES.iter().for_each(|folder| files(&root.join(folder), &mut all));
    let mut found = BTreeMap::new();
    for path in all {
        let count = constructors(&fs::read_to_string(&path).unwrap());
        if count > 0 {
            found.insert(path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/"), count);
        }
    }
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("constructors.txt");
    let known = listed(&fs::read_to_string(&list).unwrap_or_default());
    if std::env::var_os("KAFKA_TOWER_BLESS").is_some() {
        let line = |(file, count): (&String, &usize)| {
            let by = known.get(file).map(|(_, by)| by.as_str()).unwrap_or_default();
            format!("{count} {file} {by}").trim_end().to_owned() + "\n"
        };
        fs::write(list, found.iter().map(line).collect::<String>()).unwrap();
        return;
    }
    let mut faults = Vec::new();
    for file in known.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        let now = found.get(file).copied().unwrap_or_default();
        let (before, by) = known.get(file).map(|(count, by)| (*count, by.as_str())).unwrap_or_default();
        if now != before {
            faults.push(format!(
                "{file} makes errors in {now} places, {before} are known: let a test call the new one (the others are called in \
                 {}) and check it with `kafka_tower_test_texts::assert_consistent`, then correct tests/texts/constructors.txt \
                 (KAFKA_TOWER_BLESS=1 writes its numbers)",
                if by.is_empty() { "no test" } else { by }
            ));
        } else if !fs::read_to_string(root.join(by)).is_ok_and(|test| test.contains(CHECKS)) {
            faults
                .push(format!("{file}: tests/texts/constructors.txt names no test that checks its errors, but {by:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn tests_and_comments_do_not_count() {
    let source =
        "/// Error::new(\nfn a() { Error::new(x); Error::new(y) }\n#[cfg(test)]\nmod tests {\n Error::new(z) }";
    assert_eq!(constructors(source), 2);
}
