# METADATA
# scope: package
# title: Nobody goes into PHI Pods but in an emergency
# description: >-
#   `exec`, `attach`, `port-forward`, the API server's proxy to Pods and Services, and ephemeral containers are refused for
#   Pods that are marked PHI, or that are in a namespace marked PHI; which Pods are behind a Service is not looked at. Those of the contract's `breakGlass` may, and those of the parameter `breakGlass` everywhere: the
#   decision log has who it was. The platform may not, nor `system:masters`. A Pod's label is known from `data.inventory`;
#   where the Pod is not there, in the namespace of a tenant that may have PHI, `whenUnknown` decides.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["HIPAA 164.312(a)(1)", "HIPAA 164.312(a)(2)(ii)", "NIST 800-53 AC-3", "NIST 800-53 AC-17", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy], operations: [CONNECT]}
#     - {apiGroups: [""], apiVersions: [v1], resources: [pods/ephemeralcontainers], operations: [UPDATE]}
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#     # Key of the label that says how sensitive data is, and its values that mean PHI.
#     label: classification
#     phiLevels: [phi]
#     # Who may go in everywhere in an emergency.
#     breakGlass: {groups: [], users: []}
#     # For Pods that nothing is known of: `warn`, `deny` or `allow`.
#     whenUnknown: warn
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     label: {minLength: 1}
#     phiLevels: {items: {type: string, minLength: 1}}
#     breakGlass:
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users]}
#     whenUnknown: {enum: [warn, deny, allow]}
package portcullis.phi_access

import data.portcullis.lib.objects
import data.portcullis.lib.phi
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

parameters := input.parameters

request := input.request

way := {
	"exec": "exec into",
	"attach": "attach to",
	"portforward": "forward ports of",
	"proxy": "reach through the API server",
	"ephemeralcontainers": "add a container to",
}[request.subResource]

what := {true: "Service", false: "Pod"}[objects.value(request.resource, "resource") == "services"]

emergency if requester.among(objects.child(parameters, "breakGlass"))

emergency if requester.breaks_glass(tenants.owner)

marked if phi.namespace

# A Pod that is there already, as the inventory has it.
standing := tenants.in_namespace(tenants.namespace, "v1", "Pod")

marked if {
	what == "Pod"
	some name, pod in standing
	name == tenants.name
	phi.marked(objects.labels(pod))
}

# An ephemeral container comes with its Pod.
marked if {
	request.subResource == "ephemeralcontainers"
	phi.marked(objects.labels(request.oldObject))
}

fix := "ask those who may break the glass for the tenant (`breakGlass` of the contract)"

deny contains violation if {
	marked
	not emergency
	violation := {"msg": sprintf("nobody may %s %s `%s`, which handles PHI, but in an emergency", [way, what, tenants.name]), "fix": fix}
}

unknown if {
	request.operation == "CONNECT"
	not marked
	not emergency
	not known
	some level in objects.items(objects.child(tenants.contract, "classification"), "allowed")
	level in parameters.phiLevels
}

known if {
	what == "Pod"
	tenants.name in object.keys(standing)
}

unknown_violation := {
	"msg": sprintf("nothing is known of %s `%s`, and tenant `%s` may have PHI", [what, tenants.name, tenants.owner]),
	"fix": "give Portcullis the Pods in its inventory",
}

deny contains unknown_violation if {
	parameters.whenUnknown == "deny"
	unknown
}

warn contains unknown_violation if {
	parameters.whenUnknown == "warn"
	unknown
}
