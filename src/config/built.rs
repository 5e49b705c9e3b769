/// Options that librdkafka is built with, from the cargo features of this crate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Built {
    pub(super) zstd: bool,
    pub(super) tls: bool,
    pub(super) gssapi: bool,
    /// Client credentials make a provider of tokens, as librdkafka does with libcurl.
    pub(super) oidc: bool,
}

impl Built {
    /// Options of this build. Without the feature `rdkafka` no option counts as missing.
    pub(super) const HERE: Self = Self {
        zstd: cfg!(any(feature = "zstd", not(feature = "rdkafka"))),
        // `gssapi` implies OpenSSL.
        tls: cfg!(any(feature = "ssl", feature = "ssl-vendored", feature = "gssapi", not(feature = "rdkafka"))),
        gssapi: cfg!(any(feature = "gssapi", not(feature = "rdkafka"))),
        // They are taken out of the properties where these are read, and cannot be used later.
        oidc: false,
    };

    /// A build with every option.
    pub(super) const WHOLE: Self = Self { zstd: true, tls: true, gssapi: true, oidc: false };

    pub(super) const ZSTD: &'static str = "enable the cargo feature `zstd` of kafka-tower, or use lz4";
    pub(super) const TLS: &'static str = "enable the cargo feature `ssl` or `ssl-vendored` of kafka-tower";
    pub(super) const GSSAPI: &'static str = "enable the cargo feature `gssapi` of kafka-tower";
}
