import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads a topic and decodes its values: once, then prints "ready" with the first records, and goes on after a line of input. */
class Reader {
    record Received(String service, @JsonProperty("avg_latency") double averageLatency, long count, String detail) {}

    static final ObjectReader READER = new ObjectMapper().readerFor(Received.class);
    static long sum;

    public static void main(String[] args) throws Exception {
        int records = Integer.parseInt(args[3]);
        read(args, args[2] + "-1", records, false);
        read(args, args[2] + "-2", records, true);
    }

    static void read(String[] args, String group, int records, boolean measured) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("isolation.level", "read_committed");
        var deserializer = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<byte[], byte[]>(properties, deserializer, deserializer)) {
            consumer.subscribe(List.of(args[1]));
            boolean waits = measured;
            for (int read = 0; read < records; ) {
                ConsumerRecords<byte[], byte[]> some = consumer.poll(Duration.ofMillis(100));
                if (waits && !some.isEmpty()) {
                    waits = false;
                    System.out.println("ready");
                    System.in.read();
                }
                for (ConsumerRecord<byte[], byte[]> record : some) {
                    Received received = READER.readValue(record.value());
                    sum += received.count();
                    read++;
                }
            }
            if (measured) {
                System.out.println("done");
            }
        }
    }
}
