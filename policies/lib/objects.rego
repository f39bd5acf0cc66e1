# METADATA
# scope: package
# title: Reading objects of any shape
# description: >-
#   Builtin errors fail a policy, and a reference to what is not there makes a rule silently undefined. These functions
#   have neither: whatever an object looks like, they give something that can be asked further.
package portcullis.lib.objects

as_object(value) := value if is_object(value)

as_object(value) := {} if not is_object(value)

as_array(value) := value if is_array(value)

as_array(value) := [] if not is_array(value)

# The object below `key`; empty when it is missing, null or something else.
child(obj, key) := as_object(object.get(as_object(obj), key, {}))

# The list below `key`, likewise.
items(obj, key) := as_array(object.get(as_object(obj), key, []))

# The value below `key`; null when it is missing, so that missing and null are one.
value(obj, key) := object.get(as_object(obj), key, null)

labels(obj) := child(child(obj, "metadata"), "labels")

annotations(obj) := child(child(obj, "metadata"), "annotations")

# Path of `key` below `parent` as messages name it: `metadata.labels.tenant`, `metadata.labels["acme.io/tenant"]`.
field(parent, key) := concat(".", [parent, key]) if regex.match(`^[A-Za-z0-9_-]+$`, key)

field(parent, key) := concat("", [parent, "[\"", key, "\"]"]) if not regex.match(`^[A-Za-z0-9_-]+$`, key)

# A value in a message: text as it is, anything else as JSON.
shown(value) := value if is_string(value)

shown(value) := json.marshal(value) if not is_string(value)

# What cannot be read in an object's metadata. The API server lets none of it through; a policy that met it anyway
# would otherwise take it for "no labels".
metadata_faults(obj) := {fault |
	some key in ["labels", "annotations"]
	found := value(child(obj, "metadata"), key)
	found != null
	not is_object(found)
	fault := {"msg": sprintf("metadata.%s is not an object", [key]), "field": sprintf("metadata.%s", [key])}
} | {fault |
	found := value(obj, "metadata")
	found != null
	not is_object(found)
	fault := {"msg": "metadata is not an object", "field": "metadata"}
}
