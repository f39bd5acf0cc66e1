# METADATA
# scope: package
# title: Images of Pods
# description: >-
#   Every image that a Pod runs or mounts, with its parts. What names no registry is of Docker Hub, as the runtime reads
#   it.
# related_resources:
# - https://github.com/distribution/reference
package portcullis.lib.images

import data.portcullis.lib.objects
import data.portcullis.lib.pods

# `{who, field, image}`; an image that is left out or no text is empty.
of(pod) := [found |
	some c in pods.containers(pod)
	found := {
		"who": sprintf("container `%s`", [c.name]),
		"field": concat(".", [c.field, "image"]),
		"image": text(objects.value(c.container, "image")),
	}
]

mounted(pod) := [found |
	some i, volume in objects.items(pods.spec(pod), "volumes")
	reference := objects.value(objects.child(volume, "image"), "reference")
	reference != null
	found := {
		"who": sprintf("volume `%s`", [text(objects.value(volume, "name"))]),
		"field": sprintf("spec.volumes[%d].image.reference", [i]),
		"image": text(reference),
	}
]

all(pod) := array.concat(of(pod), mounted(pod))

text(value) := value if is_string(value)

text(value) := "" if not is_string(value)

# The parts of a reference: `{registry, repository, tag, digest}`, empty where there is none.
parts(image) := {"registry": registry, "repository": repository, "tag": tag, "digest": digest} if {
	halves := split(image, "@")
	digest := concat("@", array.slice(halves, 1, count(halves)))
	segments := split(halves[0], "/")
	last := split(segments[count(segments) - 1], ":")
	tag := concat(":", array.slice(last, 1, count(last)))
	path := array.concat(array.slice(segments, 0, count(segments) - 1), [last[0]])
	registry := registry_of(segments)
	repository := repository_of(registry, path)
}

# The first segment is a registry when it could not be a repository's name.
named_registry(segments) if {
	count(segments) > 1
	first := segments[0]
	some sign in [".", ":"]
	contains(first, sign)
}

named_registry(segments) if {
	count(segments) > 1
	segments[0] == "localhost"
}

registry_of(segments) := hub(lower(segments[0])) if named_registry(segments)

registry_of(segments) := "docker.io" if not named_registry(segments)

hub(name) := "docker.io" if name in {"index.docker.io", "registry-1.docker.io"}

hub(name) := name if not name in {"index.docker.io", "registry-1.docker.io"}

repository_of("docker.io", path) := concat("/", ["library", path[0]]) if count(path) == 1

else := concat("/", ["library", path[1]]) if {
	count(path) == 2
	named_registry(path)
} else := concat("/", path) if not named_registry(path)

else := concat("/", array.slice(path, 1, count(path)))

repository_of(registry, path) := concat("/", array.slice(path, 1, count(path))) if registry != "docker.io"

# Whether an image is of a registry, or of a registry and the beginning of a path.
within(p, places) if {
	some place in places
	name := concat("/", [p.registry, p.repository])
	startswith(concat("/", [name, ""]), concat("/", [trim_suffix(place, "/"), ""]))
}
