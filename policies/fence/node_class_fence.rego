# METADATA
# scope: package
# title: Nodes start with the network closed
# description: >-
#   A NodeClass of EKS Auto Mode says `networkPolicy: DefaultDeny`, so a Pod has no network until its policies are in
#   place, and `networkPolicyEventLogs: Enabled`, so what was cut off is on record. Left out, both mean the opposite.
# related_resources:
# - https://docs.aws.amazon.com/eks/latest/userguide/create-node-class.html
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-7(5)", "NIST 800-53 AU-12", "PCI DSS 1.2.1", "PCI DSS 10.2.1"]
#   match:
#     rules:
#     - {apiGroups: [eks.amazonaws.com], apiVersions: ["*"], resources: [nodeclasses], operations: [CREATE, UPDATE]}
#   parameters:
#     # Node classes that are let be: EKS makes and owns `default`.
#     exempt: [default]
#   parametersSchema:
#     exempt: {items: {type: string, minLength: 1}}
package portcullis.node_class_fence

import data.portcullis.lib.objects

wanted := {"networkPolicy": "DefaultDeny", "networkPolicyEventLogs": "Enabled"}

spec := objects.child(input.request.object, "spec")

deny contains violation if {
	not input.request.name in input.parameters.exempt
	some key, value in wanted
	said := objects.value(spec, key)
	said != value
	violation := {
		"msg": sprintf("node class `%s` has %s %s", [input.request.name, key, objects.shown(said)]),
		"field": sprintf("spec.%s", [key]),
		"fix": sprintf("set it to %s", [value]),
	}
}
