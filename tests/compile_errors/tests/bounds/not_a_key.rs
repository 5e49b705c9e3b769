use kafka_tower::SinkMessage;

struct Money(f64);

fn main() {
    let _ = SinkMessage::new("paid").with_key(1.5);
    let _ = SinkMessage::new("paid").with_key(Money(1.5));
    let _ = SinkMessage::new("paid").with_key(&Money(1.5));
}
