import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.utils.Utils;

/** Reads keys in hex, one a line, and prints the hash that Kafka's default partitioner takes of each. */
class Murmur2 {
    public static void main(String[] args) {
        // All of the input first: nobody reads our output before that.
        List<String> keys = new BufferedReader(new InputStreamReader(System.in)).lines().toList();
        for (String key : keys) {
            System.out.println(Utils.murmur2(HexFormat.of().parseHex(key)));
        }
    }
}
