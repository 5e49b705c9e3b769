use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
#[kafka(topic = "orders", key)]
struct Order {
    id: u64,
}

#[derive(KafkaMessage)]
struct Payment {
    #[kafka(topic = "payments")]
    id: u64,
}

#[derive(KafkaMessage)]
#[kafka(topic = "events")]
enum Event {
    #[kafka(key)]
    Created { id: u64 },
}

fn main() {}
