//! kafka-tower.
