//! Every request and answer, field by field, against another implementation of Kafka's protocol: the crate `kafka-protocol`, which
//! is generated from Kafka's schemas. And answers that are broken: they are refused, and never need more memory than allowed.

mod answers;
mod api_versions;
mod batches;
mod hostile;
mod init_producer_id;
mod metadata;
mod produce;
mod support;
