# METADATA
# scope: package
# title: Namespaces have an owner
# custom:
#   onUpdate: all
#   match: {kinds: [Namespace]}
package portcullis.owner

deny contains "no owner" if not input.request.object.metadata.labels.owner
