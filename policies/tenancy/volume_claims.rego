# METADATA
# scope: package
# title: A claim takes no volume of another tenant
# description: >-
#   A volume claim in a tenant's namespace names a volume only when `data.inventory` knows it to be the tenant's, by the
#   tenant label or because it is reserved for a namespace of the tenant (`claimRef`). Otherwise a claim could take a
#   volume that another tenant gave back, with what is on it. The controllers that bind claims are not asked.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-4", "NIST 800-53 AC-4", "HIPAA 164.312(a)(1)", "SOC 2 CC6.1", "PCI DSS A1.1.3"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [persistentvolumeclaims], operations: [CREATE, UPDATE]}
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#     # Binds claims to volumes.
#     controllers:
#       groups: ["system:serviceaccounts:kube-system"]
#       users: ["system:kube-controller-manager"]
#       userPrefixes: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
package portcullis.volume_claims

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

volume_of(claim) := objects.value(objects.child(claim, "spec"), "volumeName")

volume := volume_of(input.request.object)

deny contains violation if {
	not volume in {null, "", volume_of(input.request.oldObject)}
	tenants.owner
	not binding
	not own(volume)
	violation := {
		"msg": sprintf("the claim names volume `%s`, which is not known to be of tenant `%s`", [volume, tenants.owner]),
		"field": "spec.volumeName",
		"fix": "leave it out, or have the platform reserve the volume for this claim (`claimRef`) or label it with the tenant",
	}
}

# The binder says which volume a claim has got. A claim that a controller makes says what a tenant's template says.
binding if {
	input.request.operation == "UPDATE"
	requester.controller
}

known(name) := data.inventory.cluster.v1.PersistentVolume[name]

own(name) if tenants.tenant_in(objects.labels(known(name))) == tenants.owner

own(name) if known(name).spec.claimRef.namespace == tenants.namespace

own(name) if tenants.of_namespace(known(name).spec.claimRef.namespace) == tenants.owner
