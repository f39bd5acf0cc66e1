# METADATA
# scope: package
# title: Reading objects of any shape
# description: >-
#   Builtin errors fail a policy, and a reference to what is not there makes a rule silently undefined. These functions
#   have neither: whatever an object looks like, they give something that can be asked further.
package portcullis.lib.objects

# A reference into what is no object is undefined, so each of these asks once and has an answer for the rest.

as_object(value) := value if is_object(value)

else := {}

# The object below `key`; empty when it is missing, null or something else.
child(obj, key) := found if {
	found := obj[key]
	is_object(found)
} else := {}

# The list below `key`, likewise.
items(obj, key) := found if {
	found := obj[key]
	is_array(found)
} else := []

# The value below `key`; null when it is missing, so that missing and null are one.
value(obj, key) := found if {
	found := obj[key]
	is_object(obj)
} else := null

# The value at a path of keys; null when it is missing.
at(obj, path) := object.get(as_object(obj), path, null)

labels(obj) := child(child(obj, "metadata"), "labels")

annotations(obj) := child(child(obj, "metadata"), "annotations")

# Path of `key` below `parent` as messages name it: `metadata.labels.tenant`, `metadata.labels["acme.io/tenant"]`.
field(parent, key) := concat(".", [parent, key]) if regex.match(`^[A-Za-z0-9_-]+$`, key)

else := concat("", [parent, "[\"", key, "\"]"])

# A key as a token of a JSON pointer (RFC 6901).
pointer_token(key) := replace(replace(key, "~", "~0"), "/", "~1")

# A value in a message: text as it is, anything else as JSON.
shown(value) := value if is_string(value)

else := json.marshal(value)

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
