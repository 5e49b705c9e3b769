use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
#[kafka(topic = "orders")]
struct Fields {
    #[kafka(key)]
    tenant: u32,
    #[kafka(key)]
    id: u64,
}

#[derive(KafkaMessage)]
#[kafka(topic = "orders", key_from = Self::key)]
struct FieldAndFunction(#[kafka(key)] u32);

#[derive(KafkaMessage)]
#[kafka(topic = "orders")]
struct Twice(#[kafka(key, key)] u32);

impl FieldAndFunction {
    fn key(&self) -> u32 {
        self.0
    }
}

fn main() {}
