# METADATA
# scope: package
# title: A tenant's new namespace carries its contract
# description: >-
#   Gives a new namespace with a tenant the labels that it left out: owner, cost centre and classification, as the
#   tenant's contract has them. What is set stays as it is.
# custom:
#   severity: low
#   enforcement: deny
#   controls: ["NIST 800-53 CM-8"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [namespaces], operations: [CREATE], scope: Cluster}
#   parameters:
#     # Keys of the labels.
#     tenantLabel: tenant
#     ownerLabel: owner
#     costCentreLabel: cost-centre
#     classificationLabel: classification
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     ownerLabel: {minLength: 1}
#     costCentreLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
package portcullis.namespace_defaults

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

labels := objects.labels(input.request.object)

contract := tenants.of(tenants.tenant_in(labels))

patch contains {"op": "add", "path": path, "value": agreed} if {
	some key, agreed in {
		parameters.ownerLabel: objects.value(contract, "owner"),
		parameters.costCentreLabel: objects.value(contract, "costCentre"),
		parameters.classificationLabel: objects.value(objects.child(contract, "classification"), "default"),
	}
	is_string(agreed)
	objects.value(labels, key) == null
	path := concat("/", ["/metadata/labels", objects.pointer_token(key)])
}
