//! `KafkaSource::transactional`: what a user sees, each row of its table, planted defects, and random runs.

mod behaviour;
mod ends;
mod groups;
mod letters;
mod planted;
mod random;
mod support;
