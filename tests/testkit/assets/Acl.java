import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** BOOTSTRAP allow|revoke PRINCIPAL RESOURCE-TYPE RESOURCE-NAME OPERATION... */
class Acl {
    public static void main(String[] args) throws Exception {
        ResourcePattern resource =
                new ResourcePattern(ResourceType.fromString(args[3]), args[4], PatternType.LITERAL);
        List<AclBinding> bindings = new ArrayList<>();
        for (int i = 5; i < args.length; i++) {
            bindings.add(new AclBinding(resource, new AccessControlEntry(
                    args[2], "*", AclOperation.fromString(args[i]), AclPermissionType.ALLOW)));
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            if (args[1].equals("allow")) {
                admin.createAcls(bindings).all().get();
            } else {
                admin.deleteAcls(bindings.stream().map(AclBinding::toFilter).toList()).all().get();
            }
            // The controller has it; a broker follows.
            for (AclBinding binding : bindings) {
                while (admin.describeAcls(binding.toFilter()).values().get().isEmpty() == args[1].equals("allow")) {
                    Thread.sleep(10);
                }
            }
        }
    }
}
