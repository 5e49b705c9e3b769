use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
#[kafka(topik = "orders")]
struct Order;

#[derive(KafkaMessage)]
#[kafka(topic = "orders")]
struct Line {
    #[kafka(header)]
    from: String,
}

fn main() {}
