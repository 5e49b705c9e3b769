//! Values that there are only with the feature `opentelemetry`.

/// Evaluates an expression with the value of such an option, and another one without. Builds without the
/// feature do not compile the first one.
macro_rules! with {
    ($option:expr, |$value:ident| $some:expr, else $none:expr) => {
        match $option {
            #[cfg(feature = "opentelemetry")]
            Some($value) => $some,
            #[cfg(not(feature = "opentelemetry"))]
            Some(_) => unreachable!("there is no telemetry"),
            None => $none,
        }
    };
    ($option:expr, |$value:ident| $some:expr) => {
        with!($option, |$value| $some, else ())
    };
}

pub(crate) use with;
