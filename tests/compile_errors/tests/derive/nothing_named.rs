use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
struct Order {
    id: u64,
}

fn main() {}
