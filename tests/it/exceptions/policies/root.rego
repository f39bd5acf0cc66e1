# METADATA
# scope: package
# title: No root
# custom:
#   severity: high
#   onUpdate: all
#   match: {kinds: [Pod]}
package portcullis.root

deny contains {"msg": sprintf("container `%s` runs as root", [c.name]), "field": sprintf("spec.containers[%d].securityContext", [i])} if {
	some i, c in input.request.object.spec.containers
	c.securityContext.runAsUser == 0
}

warn contains "the Pod says nothing of users" if not input.request.object.spec.securityContext
