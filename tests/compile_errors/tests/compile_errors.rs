//! Programs that must not compile, and what the compiler says about each. `TRYBUILD=overwrite` writes the texts anew.
#![allow(clippy::print_stderr)]

/// The compiler with which the texts of `bounds/` were written: each version words its own part of them in another way.
const COMPILER: &str = "rustc 1.95.";

/// The errors of the derive macro, which are the same with any compiler.
#[test]
fn of_the_derive_macro() {
    trybuild::TestCases::new().compile_fail("tests/derive/*.rs");
}

/// Values, layers and types that do not fit.
#[test]
fn of_bounds() {
    let version = std::process::Command::new("rustc").arg("--version").output().map(|output| output.stdout);
    let version = String::from_utf8(version.unwrap_or_default()).unwrap_or_default();
    if version.starts_with(COMPILER) {
        trybuild::TestCases::new().compile_fail("tests/bounds/*.rs");
    } else {
        eprintln!("skipped: the texts are those of {COMPILER}x, and this is {version}");
    }
}
