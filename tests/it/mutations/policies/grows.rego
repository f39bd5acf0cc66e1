# METADATA
# scope: package
# title: Never settles
# custom:
#   match: {kinds: [ConfigMap], operations: [CREATE]}
package portcullis.grows

patch contains {"op": "add", "path": "/data/n", "value": sprintf("%sx", [object.get(input.request.object.data, "n", "")])}
