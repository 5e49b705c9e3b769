//! The guides, in the order in which a reader needs them.
//!
//! | guide | what it answers |
//! |---|---|
//! | [Configuration](config) | how a sink is configured, and how a configuration is tried |
//! | [Managed Kafka](managed_kafka) | the settings and the code for Confluent Cloud, Amazon MSK, Azure Event Hubs and Aiven |
//! | [Several types on one client](client) | how types and topics share one producer |
//! | [Which layer where](layers) | what each layer does, and where one of yours belongs |
//! | [Errors](errors) | what an error says, and what to do about it |
//! | [HTTP time-outs and budgets](timeouts) | how the limits of a request and of a send fit together, and which status a caller gets |
//! | [Shutdown](shutdown) | how a service ends without losing records |
//! | [Reading](source) | how messages are read, handled and committed |
//! | [Transactions](transactions) | how messages are written all or none, and exactly once |
//! | [Testing](testing) | how to test an application without a broker, and with one |
//! | [Observability](observability) | spans, metrics, logs, a dashboard and alerts |
//! | [Troubleshooting](troubleshooting) | what to look at when something does not work |
//! | [The command `kafka-tower`](cli) | how to check settings, send lines, read topics, and look for lost records |
//! | [The native transport](native) | what it can do, and how it differs from librdkafka |
//! | [A transport of your own](transport) | how to write a transport and prove it |
//! | [Proving a stack](proving) | how a stack's guarantee is checked under random faults |
//!
//! Each page is a file of the same name in `docs/` of the repository.

// Links of the pages are reference links. The definitions in `links.md` come first and take precedence over those of the file, so
// that a link leads to a file on GitHub and to a page here. The test `documents` writes `links.md`. The code of a page is run as
// tests if the crate has the features that it needs.
macro_rules! guide {
    ($name:ident: $file:literal $(, $feature:literal)*) => {
        #[cfg_attr(
            any(
                not(doctest),
                all(feature = "json", feature = "memory", feature = "rdkafka" $(, feature = $feature)*)
            ),
            doc = include_str!("links.md"),
            doc = include_str!(concat!("../../docs/", $file))
        )]
        pub mod $name {}
    };
}

guide!(cli: "cli.md");
guide!(client: "client.md", "derive");
guide!(config: "config.md");
guide!(errors: "errors.md");
guide!(layers: "layers.md");
guide!(managed_kafka: "managed-kafka.md", "aws-msk-iam", "oidc");
guide!(native: "native.md", "native");
guide!(observability: "observability.md", "opentelemetry");
guide!(proving: "proving.md", "sim");
guide!(shutdown: "shutdown.md");
guide!(source: "source.md");
guide!(testing: "testing.md");
guide!(timeouts: "timeouts.md");
guide!(transactions: "transactions.md");
guide!(transport: "transport.md");
guide!(troubleshooting: "troubleshooting.md");
