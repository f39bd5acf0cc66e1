# METADATA
# scope: package
# title: Pods of tenants are sent to the tenant's nodes
# description: >-
#   A new Pod in a namespace of a tenant whose contract has `nodePools` gets the tenant's label as node selector and a
#   toleration of the tenant's taint, as the tenant's NodePools have them (node_pools). What is set stays as it is: a Pod
#   that selects a pool or a tenant keeps its selector, one that tolerates the taint already gets no other toleration. Pods
#   that the controller of DaemonSets makes, which are bound to their nodes, and Pods that name a node, are left alone; so
#   are templates.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 SC-39", "NIST 800-53 SC-6"]
#   match:
#     kinds: [Pod]
#     operations: [CREATE]
#     podTemplates: false
#   parameters:
#     # Key of the label and of the taint that say whose a node is.
#     tenantLabel: tenant
#     # Key of the label that names the pool of a node.
#     poolLabel: karpenter.sh/nodepool
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     poolLabel: {minLength: 1}
package portcullis.node_defaults

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

key := input.parameters.tenantLabel

pod := input.request.object

spec := pods.spec(pod)

tenant := tenants.owner if {
	input.request.operation == "CREATE"
	count(objects.items(tenants.contract, "nodePools")) > 0
	objects.value(spec, "nodeName") in {null, ""}
	not of_daemon_set
	# Nothing is put into what cannot be read; the API server refuses such a Pod.
	count(pods.faults(pod)) == 0
}

# Anybody may write an owner; the controller alone binds Pods to nodes.
of_daemon_set if {
	input.request.userInfo.username in {"system:serviceaccount:kube-system:daemon-set-controller", "system:kube-controller-manager"}
	some owner in objects.items(objects.child(pod, "metadata"), "ownerReferences")
	owner.kind == "DaemonSet"
	owner.controller == true
}

selector := objects.child(spec, "nodeSelector")

patch contains {"op": "add", "path": path, "value": tenant} if {
	tenant
	objects.value(spec, "nodeSelector") in {null, selector}
	objects.value(selector, key) == null
	objects.value(selector, input.parameters.poolLabel) == null
	path := concat("/", ["/spec/nodeSelector", objects.pointer_token(key)])
}

tolerations := objects.items(spec, "tolerations")

toleration := {"key": key, "operator": "Equal", "value": tenant}

tolerated if {
	some one in tolerations
	objects.value(one, "key") in {null, ""}
}

tolerated if {
	some one in tolerations
	one.key == key
	one.operator == "Exists"
}

tolerated if {
	some one in tolerations
	one.key == key
	one.value == tenant
}

patch contains {"op": "add", "path": "/spec/tolerations", "value": [toleration]} if {
	tenant
	objects.value(spec, "tolerations") in {null, []}
}

patch contains {"op": "add", "path": "/spec/tolerations/-", "value": toleration} if {
	tenant
	count(tolerations) > 0
	not tolerated
}
