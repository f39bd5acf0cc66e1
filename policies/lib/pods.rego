# METADATA
# scope: package
# title: Reading Pods of any shape
# description: >-
#   All containers of a Pod with their paths, and what in a Pod cannot be read. Never errs, whatever the Pod looks like.
package portcullis.lib.pods

import data.portcullis.lib.objects

container_lists := ["initContainers", "containers", "ephemeralContainers"]

spec(pod) := objects.child(pod, "spec")

# Every container of the Pod, of all three lists: `{name, field, container}`. `field` is its path in the Pod.
containers(pod) := [found |
	some list in container_lists
	some i, container in objects.items(spec(pod), list)
	found := {
		"name": name(container, i),
		"field": sprintf("spec.%s[%d]", [list, i]),
		"container": objects.as_object(container),
	}
]

name(container, _) := objects.as_object(container).name if is_string(objects.as_object(container).name)

name(container, i) := sprintf("#%d", [i]) if not is_string(objects.value(container, "name"))

# A Windows Pod by its own declaration, the only one which the API server enforces.
windows(pod) if objects.child(spec(pod), "os").name == "windows"

# What cannot be read in a Pod: `{msg, field}`. The API server lets none of it through. A policy that met it anyway
# (in a manifest on a laptop) must not take it for "nothing there".
faults(pod) := ((spec_faults(pod) | list_faults(pod)) | container_faults(pod)) | objects.metadata_faults(pod)

spec_faults(pod) := {fault |
	not is_object(objects.value(pod, "spec"))
	fault := {"msg": "the Pod has no spec that can be read", "field": "spec"}
} | {fault |
	some key in ["securityContext", "os"]
	found := objects.value(spec(pod), key)
	found != null
	not is_object(found)
	fault := {"msg": sprintf("spec.%s is not an object", [key]), "field": sprintf("spec.%s", [key])}
}

list_faults(pod) := {fault |
	some list in container_lists
	found := objects.value(spec(pod), list)
	found != null
	not is_array(found)
	fault := {"msg": sprintf("spec.%s is not a list", [list]), "field": sprintf("spec.%s", [list])}
}

container_faults(pod) := {fault |
	some list in container_lists
	some i, container in objects.items(spec(pod), list)
	not is_object(container)
	field := sprintf("spec.%s[%d]", [list, i])
	fault := {"msg": sprintf("%s is not an object", [field]), "field": field}
} | {fault |
	some c in containers(pod)
	found := objects.value(c.container, "securityContext")
	found != null
	not is_object(found)
	field := concat(".", [c.field, "securityContext"])
	fault := {"msg": sprintf("%s is not an object", [field]), "field": field}
}
