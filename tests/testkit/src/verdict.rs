//! What the run of a law has shown, and the definition of the types that name laws.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::NotApplicable;
use crate::laws::Applied;

/// Result of a law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The transport keeps the law.
    Kept,
    /// The law cannot run for this transport, and the fixture [lists](crate::Fixture::not_applicable) it.
    NotApplicable(NotApplicable),
    /// The transport breaks the law, or the fixture's list does not agree with the run. The text says how.
    Broken(String),
}

/// Compares the result of a run that did not panic with the list of a `fixture`.
pub(crate) fn verdict(law: &impl fmt::Display, applied: Applied, is_listed: bool, fixture: &str) -> Verdict {
    match (applied, is_listed) {
        (Ok(()), false) => Verdict::Kept,
        (Err(why), true) => Verdict::NotApplicable(why),
        (Err(why), false) => Verdict::Broken(format!(
            "the law `{law}` cannot run: {why}. If that is right, list the law in `{fixture}::not_applicable`"
        )),
        (Ok(()), true) => Verdict::Broken(format!(
            "the law `{law}` is kept, but the fixture lists it as not applicable: remove it from \
             `{fixture}::not_applicable`"
        )),
    }
}

/// Runs a law. A panic becomes its text.
pub(crate) async fn caught(run: impl Future<Output = Applied>) -> Result<Applied, String> {
    AssertUnwindSafe(run).catch_unwind().await.map_err(|panic| text_of(&*panic))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "it panicked".into())
}

/// Panics if the law is broken.
pub(crate) fn assert_kept(law: &impl fmt::Display, verdict: Verdict) {
    match verdict {
        Verdict::Kept => {}
        Verdict::NotApplicable(why) => {
            // Past the test harness's capture, because a test that passes shows nothing.
            let _ = writeln!(std::io::stderr(), "*** NOT APPLICABLE: {law}: {why}");
        }
        Verdict::Broken(text) => panic!("{text}"),
    }
}

/// Defines the type that names the laws of a fixture. The functions of the laws are in a module.
macro_rules! define_laws {
    ([$(#[$attribute:meta])* $name:ident $fixture:ident in $module:ident] $(($variant:ident $law:ident $demand:literal))*) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $(
                #[doc = concat!("Demands: ", $demand, ".")]
                $variant,
            )*
        }

        impl $name {
            /// All laws, in their order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of the law's function and test.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($law),)*
                }
            }

            /// What the law demands, in one clause.
            #[must_use]
            pub const fn demand(self) -> &'static str {
                match self {
                    $(Self::$variant => $demand,)*
                }
            }

            /// Runs the law. It panics if the transport breaks it.
            ///
            /// # Errors
            ///
            /// [`NotApplicable`](crate::NotApplicable), if it cannot run for this transport.
            pub async fn run<F: $fixture>(self, fixture: &F) -> $crate::laws::Applied {
                match self {
                    $(Self::$variant => $module::$law(fixture).await,)*
                }
            }

            /// Runs the law and returns the verdict, also where it is broken. The panic hook runs.
            pub async fn judge<F: $fixture>(self, fixture: &F) -> $crate::Verdict {
                match $crate::verdict::caught(self.run(fixture)).await {
                    Ok(applied) => self.verdict(applied, fixture),
                    Err(panic) => $crate::Verdict::Broken(panic),
                }
            }

            fn verdict<F: $fixture>(self, applied: $crate::laws::Applied, fixture: &F) -> $crate::Verdict {
                let is_listed = fixture.not_applicable().contains(&self);
                $crate::verdict::verdict(&self, applied, is_listed, stringify!($fixture))
            }

            /// Runs the law as a test.
            ///
            /// # Panics
            ///
            /// If the law is broken, if it cannot run and the fixture does not list it in `not_applicable`, or if it is
            /// listed and can run.
            pub async fn assert<F: $fixture>(self, fixture: &F) {
                let applied = self.run(fixture).await;
                $crate::verdict::assert_kept(&self, self.verdict(applied, fixture));
            }
        }

        /// Prints the name.
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

pub(crate) use define_laws;
