import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;

/** BOOTSTRAP CLIENT-ID BYTES-PER-SECOND */
class Quota {
    public static void main(String[] args) throws Exception {
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, args[1]));
        ClientQuotaAlteration.Op rate =
                new ClientQuotaAlteration.Op("producer_byte_rate", Double.parseDouble(args[2]));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(rate)))).all().get();
        }
    }
}
