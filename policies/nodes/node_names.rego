# METADATA
# scope: package
# title: Pods of tenants name no node
# description: >-
#   In a tenant's namespace no Pod and no template of one names its node (`nodeName`): that would go past the scheduler, and
#   past the taints that keep tenants apart. What a kubelet says of its static Pods passes, and so does what was there: a
#   Pod that the scheduler has placed names its node ever after.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-39", "NIST 800-53 AC-4", "SOC 2 CC6.1", "PCI DSS A1.1.3"]
#   match:
#     kinds: [Pod]
#     podTemplates: true
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#   parametersSchema:
#     tenantLabel: {minLength: 1}
package portcullis.node_names

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

node_of(pod) := objects.value(pods.spec(pod), "nodeName")

deny contains violation if {
	tenants.owner
	node := node_of(input.request.object)
	not node in {null, "", node_of(input.request.oldObject)}
	not requester.among({"groups": ["system:nodes"]})
	violation := {
		"msg": sprintf("the Pod names node `%s`, past the scheduler and all taints", [objects.shown(node)]),
		"field": "spec.nodeName",
		"fix": "leave nodeName out",
	}
}
