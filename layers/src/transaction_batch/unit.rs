use kafka_tower_core::{ConsumerGroup, Record, TopicOffset};

/// Records and consumed offsets that are committed together or not at all, by
/// [`TransactionBatch::join`](super::TransactionBatch::join). See [units](super#units).
#[derive(Clone, Debug)]
#[must_use = "a unit is sent by `join`"]
pub struct Unit {
    pub(super) records: Vec<Record>,
    pub(super) offsets: Vec<TopicOffset>,
    /// Set if there are offsets.
    pub(super) group: Option<ConsumerGroup>,
}

impl Unit {
    /// Creates a unit of these records. It may have none, if it has offsets: then its input made no output.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        Self { records: records.into_iter().collect(), offsets: Vec::new(), group: None }
    }

    /// Sets the consumed offsets (of the **next** record to consume), and the consumer's metadata.
    ///
    /// `group` is the metadata with which the input was consumed. Do not take it again later: after a rebalance the newer
    /// metadata would commit offsets of a partition that has another owner.
    pub fn with_offsets(mut self, offsets: impl IntoIterator<Item = TopicOffset>, group: ConsumerGroup) -> Self {
        self.offsets = offsets.into_iter().collect();
        self.group = (!self.offsets.is_empty()).then_some(group);
        self
    }

    /// Its name in errors.
    pub(super) fn name(&self) -> String {
        let (records, group) = (self.records.len(), self.group.as_ref().map(|group| &group.group_id));
        match (self.records.first(), group) {
            (Some(first), _) if records == 1 => format!("{} (a unit of 1 record)", first.topic),
            (Some(first), _) => format!("{} (a unit of {records} records)", first.topic),
            (None, Some(group)) => format!("the group {group} (a unit without records)"),
            (None, None) => "no topic (an empty unit)".to_owned(),
        }
    }
}
