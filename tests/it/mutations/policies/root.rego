# METADATA
# scope: package
# title: No root
# custom:
#   match: {kinds: [Pod]}
package portcullis.root

deny contains "root is not let in" if input.request.object.spec.securityContext.runAsUser == 0
