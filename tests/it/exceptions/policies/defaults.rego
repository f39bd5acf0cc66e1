# METADATA
# scope: package
# title: Default user
# custom:
#   match: {kinds: [Pod], operations: [CREATE]}
package portcullis.defaults

patch := [{"op": "add", "path": "/spec/securityContext/runAsNonRoot", "value": true}] if {
	not input.request.object.spec.securityContext.runAsNonRoot
}
