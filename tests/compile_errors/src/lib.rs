//! What the compiler says about code that does not fit kafka-tower: see `tests/`.
