# METADATA
# scope: package
# title: Pods have a default user
# custom:
#   match: {kinds: [Pod], operations: [CREATE]}
package portcullis.defaults

patch := [{"op": "add", "path": "/spec/securityContext/runAsUser", "value": 1000}] if {
	not input.request.object.spec.securityContext.runAsUser
}
