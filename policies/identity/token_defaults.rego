# METADATA
# scope: package
# title: Pods of tenants get no shared token
# description: >-
#   A new Pod in a tenant's namespace under the service account `default` that does not say whether it wants a token gets
#   none: `automountServiceAccountToken: false`, and what the API server has put in for it already (the volume
#   `kube-api-access-` and its mounts) is taken out. Pods with an account of their own stay as they are.
# custom:
#   severity: low
#   enforcement: deny
#   controls: ["CIS Kubernetes 5.1.6", "NIST 800-53 AC-6"]
#   match:
#     kinds: [Pod]
#     operations: [CREATE]
#     podTemplates: false
#   parameters:
#     tenantLabel: tenant
#   parametersSchema:
#     tenantLabel: {minLength: 1}
package portcullis.token_defaults

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

pod := input.request.object

spec := pods.spec(pod)

silent if {
	tenants.owner
	count(pods.faults(pod)) == 0
	objects.value(spec, "automountServiceAccountToken") == null
	objects.value(spec, "serviceAccountName") in {null, "", "default"}
	objects.value(spec, "serviceAccount") in {null, "", "default"}
}

patch contains {"op": "add", "path": "/spec/automountServiceAccountToken", "value": false} if silent

# Each list has one of them at most, so one removal does not move another.
patch contains {"op": "remove", "path": sprintf("/spec/volumes/%d", [i])} if {
	silent
	some i, volume in objects.items(spec, "volumes")
	injected(volume)
}

patch contains {"op": "remove", "path": sprintf("/spec/%s/%d/volumeMounts/%d", [list, i, j])} if {
	silent
	some list in ["initContainers", "containers"]
	some i, container in objects.items(spec, list)
	some j, mount in objects.items(container, "volumeMounts")
	injected(mount)
}

injected(thing) if startswith(thing.name, "kube-api-access-")
