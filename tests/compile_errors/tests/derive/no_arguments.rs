use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
#[kafka]
struct Order;

#[derive(KafkaMessage)]
#[kafka(topic)]
struct Payment;

fn main() {}
